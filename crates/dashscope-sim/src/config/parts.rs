//! The parts of the settings: keys, limits, durations, lifetimes, pictures. Each default with its source.

use serde::{Deserialize, Serialize};

use crate::latency::Latency;
use crate::model::{Model, SizeClass};

/// An API key of the account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// The key itself.
    pub key: String,
    /// What the task list shows for it.
    pub api_key_id: String,
    /// The region it belongs to; absent: this one. A key of another region is refused with 401.
    #[serde(default)]
    pub region: Option<String>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key")
            .field("key", &"[redacted]")
            .field("api_key_id", &self.api_key_id)
            .field("region", &self.region)
            .finish()
    }
}

/// The limits of the account, shared by all its keys. 0 stands for "no limit" everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Creations a second, per model, synchronous ones included.
    /// Default 5. Source: Model Studio, "Rate limits", Wan series.
    pub creates_per_second: u32,
    /// Over how many milliseconds the creation rate is counted. Default 1000. Smaller refuses bursts that the whole
    /// second would allow; Model Studio warns that limits may be enforced over shorter times.
    pub create_window_ms: u32,
    /// Tasks processed at once, per model. Default 5. Source: Model Studio, "Rate limits", Wan series.
    pub tasks_at_once: u32,
    /// Tasks PENDING at once, per model; one more is refused with 429. Default 50. The quotas endpoint has such a
    /// figure (`async_user_queue_limit`), but no page states it for these models.
    pub pending_max: u32,
    /// Queries, lists and cancels a second, together. Default 20. Source: Model Studio, "Manage asynchronous tasks".
    pub queries_per_second: u32,
    /// Upload policies a second. Default 100. Source: Model Studio, "Upload local files", per account and model; the
    /// simulator counts both models together.
    pub upload_policies_per_second: u32,
    /// The largest page of the task list; more is cut to it. Default 100; no page states one.
    pub list_page_max: u32,
    /// How long after its creation a task appears in the list, in milliseconds. Default 0; no page states one.
    pub list_lag_ms: u64,
    /// The `Retry-After` of a refused call, in seconds; 0 (the default) sends none. It is undocumented but seen.
    pub retry_after_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            creates_per_second: 5,
            create_window_ms: 1_000,
            tasks_at_once: 5,
            pending_max: 50,
            queries_per_second: 20,
            upload_policies_per_second: 100,
            list_page_max: 100,
            list_lag_ms: 0,
            retry_after_s: 0,
        }
    }
}

impl Limits {
    /// No limit of any kind but on tasks processed at once: for measuring a client at full speed.
    pub fn unlimited(tasks_at_once: u32) -> Self {
        Self {
            creates_per_second: 0,
            tasks_at_once,
            pending_max: 0,
            queries_per_second: 0,
            upload_policies_per_second: 0,
            list_page_max: 1_000,
            ..Self::default()
        }
    }
}

/// Limits of one model where they differ from [`Limits`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelLimits {
    /// See [`Limits::creates_per_second`].
    pub creates_per_second: Option<u32>,
    /// See [`Limits::tasks_at_once`].
    pub tasks_at_once: Option<u32>,
    /// See [`Limits::pending_max`].
    pub pending_max: Option<u32>,
}

/// How long tasks run once they have a slot, and how long they wait for nothing but the scheduler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Durations {
    /// `wan2.7-image-pro`. Defaults: 2K as the samples of the API page (12 to 21 s); 1K and 4K estimated from it.
    pub pro: BySize,
    /// `wan2.7-image`, "faster generation speed". Estimated.
    pub standard: BySize,
    /// Each further image of a set lengthens its task by this share. Default 0.5, which puts sets of four between the
    /// two samples of the API page (25 s and 60 s).
    pub set_image_share: f64,
    /// From creation to the earliest start, in milliseconds. Default 45. Source: `scheduled_time` minus `submit_time` in
    /// the samples of the API page (37 to 53 ms).
    pub schedule_ms: u64,
    /// Multiplies all of the above but `schedule_ms`. Default 1; a demonstration may set 0.05.
    pub scale: f64,
}

impl Default for Durations {
    fn default() -> Self {
        let spread = |p5_ms, p95_ms| Latency::LogNormal { p5_ms, p95_ms };
        Self {
            pro: BySize { k1: spread(8_000, 15_000), k2: spread(12_000, 22_000), k4: spread(20_000, 60_000) },
            standard: BySize {
                k1: spread(5_000, 10_000),
                k2: spread(8_000, 15_000),
                k4: spread(8_000, 15_000),
            },
            set_image_share: 0.5,
            schedule_ms: 45,
            scale: 1.0,
        }
    }
}

impl Durations {
    /// Every task runs for `ms`, sets as well.
    pub fn fixed_ms(ms: u64) -> Self {
        let all = BySize::all(Latency::Fixed { ms });
        Self { pro: all.clone(), standard: all, set_image_share: 0.0, ..Self::default() }
    }

    pub(crate) fn of(&self, model: Model, size: SizeClass) -> Latency {
        let table = match model {
            Model::Pro => &self.pro,
            Model::Standard => &self.standard,
        };
        match size {
            SizeClass::K1 => table.k1,
            SizeClass::K2 => table.k2,
            SizeClass::K4 => table.k4,
        }
    }
}

/// Durations by picture size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BySize {
    /// Up to 1024×1024 pixels.
    #[serde(rename = "1k")]
    pub k1: Latency,
    /// Up to 2048×2048 pixels.
    #[serde(rename = "2k")]
    pub k2: Latency,
    /// More.
    #[serde(rename = "4k")]
    pub k4: Latency,
}

impl BySize {
    /// The same for every size.
    pub fn all(latency: Latency) -> Self {
        Self { k1: latency, k2: latency, k4: latency }
    }
}

/// How long the service keeps things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// From a task's creation until it answers UNKNOWN, in seconds.
    /// Default 86400. Source: the API page, "Task executed successfully" (24 hours).
    pub task_s: u64,
    /// From a task's end until its links die, in seconds. Default 86400. Source: the API page, `image` (24 hours).
    pub link_s: u64,
    /// Whether a query signs links anew, valid for `link_s` from then on. Default false; unknown for the service.
    pub resign_links: bool,
    /// How long an uploaded input lives, in seconds. Default 172800. Source: Model Studio, "Upload local files" (48 h).
    pub upload_s: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { task_s: 86_400, link_s: 86_400, resign_links: false, upload_s: 172_800 }
    }
}

/// The pictures that tasks end with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pictures {
    /// Bytes per pixel that each file is filled up to. 0 (the default) leaves the picture at its few kilobytes; 2 makes
    /// a 2048×2048 picture weigh 8.4 MB, about what a photograph-like PNG of that size weighs.
    pub bytes_per_pixel: f64,
}

impl Pictures {
    /// Files as heavy as real ones.
    pub const REAL_WEIGHT: Self = Self { bytes_per_pixel: 2.0 };
}

impl Default for Pictures {
    fn default() -> Self {
        Self { bytes_per_pixel: 0.0 }
    }
}
