//! The account book: what was created, billed, asked for, refused.
//!
//! Plain data with serde in both directions, so that a test may read what `GET /_sim/ledger` returns. The world fills it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::fault::On;
use crate::model::Model;

/// A snapshot of everything the simulator remembers. All times are milliseconds since 1970-01-01 UTC by its own clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// The seed it runs with.
    pub seed: u64,
    /// When it started.
    pub started_ms: i64,
    /// When this snapshot was taken.
    pub now_ms: i64,
    /// Sums over everything.
    pub totals: Totals,
    /// Requests that arrived, by kind.
    pub requests: Requests,
    /// Calls that were refused for their rate or number, by kind.
    pub throttled: Throttled,
    /// What a correct client never does.
    pub violations: Violations,
    /// Slots and waiting tasks, by model.
    pub models: BTreeMap<Model, ModelEntry>,
    /// The scripted faults, in the order of the script.
    pub faults: Vec<FaultEntry>,
    /// Tasks by SHA-256 of the prompt as sent (hex). Empty in a snapshot without tasks.
    #[serde(default)]
    pub tasks_by_prompt: BTreeMap<String, u32>,
    /// Every task in order of creation. Empty in a snapshot without tasks.
    #[serde(default)]
    pub tasks: Vec<TaskEntry>,
}

/// Sums over all tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Tasks created, synchronous calls included.
    pub tasks_created: u64,
    /// Tasks that wait for a slot.
    pub pending: u64,
    /// Tasks in a slot.
    pub running: u64,
    /// Tasks that ended well.
    pub succeeded: u64,
    /// Tasks that ended FAILED.
    pub failed: u64,
    /// Tasks cancelled while PENDING.
    pub canceled: u64,
    /// Images of succeeded tasks: what the bill is made of.
    pub images_billed: u64,
    /// Different prompts, by digest.
    pub prompts: u64,
    /// The most tasks that any one prompt has.
    pub tasks_of_one_prompt_max: u32,
    /// Tasks whose prompt was cut.
    pub prompts_cut: u64,
    /// Whole images sent, each download counted.
    pub images_served: u64,
}

/// Requests that arrived, refused ones included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requests {
    /// Asynchronous create calls.
    pub creates: u64,
    /// Synchronous calls.
    pub sync_creates: u64,
    /// Queries of one task.
    pub queries: u64,
    /// Pages of the task list.
    pub lists: u64,
    /// Cancellations.
    pub cancels: u64,
    /// Downloads of results.
    pub results: u64,
    /// Calls of the limits endpoint.
    pub quotas: u64,
    /// Upload policies.
    pub upload_policies: u64,
    /// Uploads.
    pub uploads: u64,
}

/// Calls refused with 429 by a limit. Scripted refusals are counted with their fault instead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttled {
    /// Creations above the rate.
    pub create_rate: u64,
    /// Creations while as many tasks as allowed were PENDING.
    pub pending_full: u64,
    /// Queries, lists and cancels above their common rate.
    pub query_rate: u64,
    /// Upload policies above the rate.
    pub upload_rate: u64,
}

/// Calls that a correct client never makes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violations {
    /// The create endpoint without `X-DashScope-Async: enable`.
    pub async_header_missing: u64,
    /// That header on a call that must not have it.
    pub async_header_misplaced: u64,
    /// Calls without a key, or with one that is not accepted.
    pub bad_key: u64,
    /// Create calls whose body broke a documented limit.
    pub invalid_creates: u64,
    /// Downloads that carried `Authorization`: a key shown to the object host.
    pub results_with_authorization: u64,
    /// Downloads that carried `Content-Type`.
    pub results_with_content_type: u64,
    /// Downloads by a verb that the link is not signed for.
    pub results_by_other_verb: u64,
    /// Downloads whose query was not the signed one, byte for byte.
    pub results_with_altered_link: u64,
    /// Downloads after the link had expired.
    pub results_expired: u64,
}

/// Slots and queue of one model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelEntry {
    /// Tasks created.
    pub tasks_created: u64,
    /// Slots, 0 for no limit.
    pub slots: u32,
    /// The most tasks that ran at once.
    pub running_max: u32,
    /// The most tasks that were PENDING at once.
    pub pending_max: u32,
    /// Slot-milliseconds in use.
    pub busy_ms: u64,
    /// Slot-milliseconds free while at least one task was PENDING, the scheduling delay of an idle service included.
    pub idle_while_pending_ms: u64,
    /// From the first creation to the last end so far, in milliseconds. `busy_ms / (slots × span_ms)` is the utilisation.
    pub span_ms: u64,
}

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEntry {
    /// The task's id. Of a synchronous call, one that no answer ever showed.
    pub task_id: String,
    /// The id of the create call.
    pub request_id: String,
    /// The model.
    pub model: Model,
    /// SHA-256 of the prompt as sent, hex.
    pub prompt_sha256: String,
    /// Whether the prompt was cut.
    pub prompt_cut: bool,
    /// The key that created it.
    pub api_key_id: String,
    /// Whether it came from a synchronous call.
    pub sync: bool,
    /// PENDING, RUNNING, SUCCEEDED, FAILED or CANCELED.
    pub state: String,
    /// Images asked for.
    pub n: u8,
    /// Images billed so far: none before it ends well.
    pub images_billed: u8,
    /// `W*H` of its images.
    pub size: String,
    /// When it was created.
    pub created_ms: i64,
    /// When it got a slot.
    pub scheduled_ms: Option<i64>,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// How often it was queried.
    pub queries: u32,
    /// SHA-256 (hex) of each image, as it is when no fault alters it; `None` until it was downloaded.
    pub served_sha256: Vec<Option<String>>,
}

/// One scripted fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultEntry {
    /// Its label.
    pub name: Option<String>,
    /// Where it strikes.
    pub on: On,
    /// What it does.
    #[serde(rename = "do")]
    pub act: String,
    /// Candidates that came by.
    pub seen: u64,
    /// How often it struck.
    pub struck: u64,
}
