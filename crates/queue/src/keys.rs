//! Every Redis key, as a function: its type, its members, its lifetime.
//!
//! All keys but one begin with the namespace in braces, so that they share one hash slot. The scripts compute the keys of jobs, specs
//! and lanes under the same prefix; every other key is handed to them from here.

use job::{AccountName, BatchName, JobId, Model, PinnedTo, Priority, ScheduleName};

/// The namespace, and the keys in it.
#[derive(Debug, Clone)]
pub struct Keys {
    prefix: String,
    namespace: String,
}

/// What a lane of waiting jobs is called inside its `turns`: `<priority>:<batch>`, with `-` for jobs without a batch.
///
/// No batch name begins with `-`, so the two never meet.
pub(crate) fn lane_member(priority: Priority, batch: Option<&BatchName>) -> String {
    format!("{priority}:{}", batch.map_or("-", BatchName::as_str))
}

/// What a lane is called among those of its batch: `<model>:<place>:<priority>`.
pub(crate) fn lane_name(model: Model, pinned_to: Option<&PinnedTo>, priority: Priority) -> String {
    format!("{model}:{}:{priority}", lane_place(pinned_to))
}

/// The place that a lane's jobs wait for: an account by its name, `@` and a region, or `any`. No account is called so, since names of
/// accounts have no `@` and are not `any`.
pub(crate) fn lane_place(pinned_to: Option<&PinnedTo>) -> String {
    match pinned_to {
        None => "any".to_owned(),
        Some(PinnedTo::Account(account)) => account.to_string(),
        Some(PinnedTo::Region(region)) => format!("@{region}"),
    }
}

impl Keys {
    /// The keys of `namespace`.
    pub fn new(namespace: &str) -> Self {
        Self { prefix: format!("{{{namespace}}}:"), namespace: namespace.to_owned() }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What every key begins with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn key(&self, rest: &str) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// STRING. What a job asks for: JSON, replaced only while nobody works on the job. Lives as long as the job.
    pub fn spec(&self, id: JobId) -> String {
        self.key(&format!("spec:{id}"))
    }

    /// HASH. A job's record, in fields of at most 64 bytes so that it stays a listpack. Lives until retention.
    pub fn job(&self, id: JobId) -> String {
        self.key(&format!("job:{id}"))
    }

    /// LIST. A job's history, a JSON line for each attempt, failure and decision, newest last, at most 100. Lives as long as the job.
    pub fn tries(&self, id: JobId) -> String {
        self.key(&format!("tries:{id}"))
    }

    /// STRING. What a job's task brought ([`job::Outcome`]): its links until they are copied, its objects after. Lives as long as the job.
    pub fn outcome(&self, id: JobId) -> String {
        self.key(&format!("outcome:{id}"))
    }

    /// ZSET job → seq. Jobs that wait for a claim, in one lane. Gone when empty.
    pub fn ready(&self, model: Model, pinned_to: Option<&PinnedTo>, lane: &str) -> String {
        self.key(&format!("ready:{model}:{}:{lane}", lane_place(pinned_to)))
    }

    /// ZSET lane → priority class and virtual time: whose turn it is. A paused lane is not in it; one that ran empty is, until its
    /// turn has come.
    pub fn turns(&self, model: Model, pinned_to: Option<&PinnedTo>) -> String {
        self.key(&format!("turns:{model}:{}", lane_place(pinned_to)))
    }

    /// ZSET `<model>:<place>:<priority>` → 0, or for a lane that a pause or a budget has out of its turns the virtual time that it had come to,
    /// and 1. The lanes that a
    /// batch has ever had: few, so that all of them can be paused at once. Lives as long as the batch.
    pub fn lanes(&self, batch: Option<&BatchName>) -> String {
        self.key(&format!("lanes:{}", batch.map_or("-", BatchName::as_str)))
    }

    /// HASH `all`, `model:<model>`, `account:<account>`, `account:<account>:<model>`, `batch:<batch>` → JSON: who, why, since. What people
    /// have paused, until they resume it.
    pub fn paused(&self) -> String {
        self.key("paused")
    }

    /// HASH. How far each set of turns of a model has come, in each class, as scores of the set: `<class>` for `any`, `<place>:<class>`
    /// for the others; and `<place>:<class>:behind`, what the scores of that set lack to be compared with those of `any`.
    pub fn virtual_time(&self, model: Model) -> String {
        self.key(&format!("vtime:{model}"))
    }

    /// ZSET job → due ms. Queued jobs that must wait; promoted into their lanes in chunks.
    pub fn delayed(&self) -> String {
        self.key("delayed")
    }

    /// ZSET job → due ms. Tasks of one account to be asked: one account's pause does not block another's.
    pub fn due_poll(&self, account: &AccountName) -> String {
        self.key(&format!("due:poll:{account}"))
    }

    /// ZSET job → due ms. Attempts without an answer, to be looked into.
    pub fn due_settle(&self) -> String {
        self.key("due:settle")
    }

    /// ZSET job → due ms. Copies that must wait; promoted in chunks.
    pub fn wait_archive(&self) -> String {
        self.key("wait:archive")
    }

    /// ZSET job → link expiry ms. Copies that may be made now, the most urgent first.
    pub fn ready_archive(&self) -> String {
        self.key("ready:archive")
    }

    /// ZSET job → link expiry ms. Every job whose images are not all copied, wherever it stands: for counts, not for claims.
    pub fn links(&self) -> String {
        self.key("links")
    }

    /// HASH begin of 10 s → jobs. How many were copied then: the pace of late. Fields are dropped after 10 minutes.
    pub fn copied(&self) -> String {
        self.key("copied")
    }

    /// ZSET `<job>:<fence>` → lease expiry ms. The fence in the member keeps a zombie from prolonging its successor's lease.
    pub fn leases(&self) -> String {
        self.key("leases")
    }

    /// ZSET job → due ms. Jobs that lost their workers again and again, whatever their next step: each is run alone.
    pub fn quarantine(&self) -> String {
        self.key("quarantine")
    }

    /// STRING, expires. Held by the worker that runs jobs of the quarantine.
    pub fn quarantine_turn(&self) -> String {
        self.key("quarantine_turn")
    }

    /// ZSET job → since ms. Jobs that wait for a person.
    pub fn held(&self) -> String {
        self.key("held")
    }

    /// ZSET `<job>:<attempt>` → claimed ms. An account's places at the provider that are, or may be, taken.
    pub fn slots(&self, account: &AccountName, model: Model) -> String {
        self.key(&format!("slots:{account}:{model}"))
    }

    /// HASH task → `<job>:<attempt>:<claimed ms>`, in older entries without the time. Every task that is ours; written once, unless the
    /// create of another job is answered with it. Entries live at least 25 h, whatever retention says.
    pub fn tasks(&self, account: &AccountName) -> String {
        self.key(&format!("tasks:{account}"))
    }

    /// ZSET task → created ms. Dates the entries of [`Self::tasks`], so that old ones can be dropped.
    pub fn tasks_by_time(&self, account: &AccountName) -> String {
        self.key(&format!("tasks_at:{account}"))
    }

    /// HASH task → JSON. Tasks that exist and that no job can take ([`crate::ExtraTask`]). Entries live 30 days from their end.
    pub fn extras(&self, account: &AccountName) -> String {
        self.key(&format!("extra:{account}"))
    }

    /// HASH task → `<job>:<attempt>…`. Tasks that were adopted for this job and then turned out to be another's. Entries live until the
    /// job was told.
    pub fn taken(&self, account: &AccountName) -> String {
        self.key(&format!("taken:{account}"))
    }

    /// STRING, JSON. The last count of tasks that nobody owns ([`crate::Orphans`]). Lives until the next.
    pub fn orphans(&self, account: &AccountName) -> String {
        self.key(&format!("orphans:{account}"))
    }

    /// STRING, expires. Held by the worker that counts an account's orphans.
    pub fn orphans_turn(&self, account: &AccountName) -> String {
        self.key(&format!("orphans_turn:{account}"))
    }

    /// STRING, expires. Held by the worker that asks the provider for an account's quotas, and while its answer is fresh.
    pub fn quotas_turn(&self, account: &AccountName) -> String {
        self.key(&format!("quotas_turn:{account}"))
    }

    /// ZSET nonce → ms. Creates of commands that run without the queue, from before they are sent until their outcome is known:
    /// a task that appears meanwhile may be theirs. Entries are dropped after 25 h.
    pub fn strays(&self, account: &AccountName, model: Model) -> String {
        self.key(&format!("strays:{account}:{model}"))
    }

    /// STRING, expires when full. The GCRA time of one of an account's calls: `create:<model>` or `query`; `query:ahead` is that of
    /// queries that go before polls.
    pub fn permits(&self, account: &AccountName, call: &str) -> String {
        self.key(&format!("permits:{account}:{call}"))
    }

    /// HASH. An account's shared state: `reserved` images, and `reserved_cost`, what they cost; for `query` and each `create:<model>` a `pause` (until ms) with its `why`; for
    /// these and `create` a breaker:
    /// `open` (no probe before ms), `since`, `code`, `reason`, `row` (bad probes in a row), `probe` (what is out), and `opened`,
    /// how often it has opened, which stays. Each field is `<name>:<call>`;
    /// `seen:<model>` is when (ms) a worker last asked for a job of the model, within a second.
    /// For a model whose creates the provider refused for their number: `places` that may be taken, `places_at` ms of the last change,
    /// `places_row` (tries of more in a row that were refused), `places_up` (how many more the last change tried, if it was a try),
    /// `places_since` and `places_least` (when the storm began, and what it leaves); `<name>:<model>`.
    /// `quotas` is what the provider says of its limits (JSON).
    pub fn account(&self, account: &AccountName) -> String {
        self.key(&format!("account:{account}"))
    }

    /// HASH `<call>:<worker>` → JSON. What single workers let rest, until when and why. Expires a little after the longest rest.
    pub fn rests(&self, account: &AccountName) -> String {
        self.key(&format!("rests:{account}"))
    }

    /// HASH. A batch: counts by state, images, cost, what of both is lost, `extra_images` and `extra_cost` of tasks that no job can take, `left` (not final), `sealed`, `paused`, times; `ends`: how often it has
    /// ended, `undelivered`: how many of these are still to be delivered; its own `budget`
    /// in millionths or `none`, what its attempts under way have of it (`reserved_cost`), and since when (ms) jobs wait for it (`waits_since`);
    /// `base:<digest>`: the seq before the first line of a source of many jobs. `-` stands for jobs without a batch.
    pub fn batch(&self, batch: Option<&BatchName>) -> String {
        self.key(&format!("batch:{}", batch.map_or("-", BatchName::as_str)))
    }

    /// ZSET job → place in the batch. A batch's members.
    pub fn members(&self, batch: Option<&BatchName>) -> String {
        self.key(&format!("members:{}", batch.map_or("-", BatchName::as_str)))
    }

    /// ZSET batch → ms of the last look. Batches of which lanes are out of their turns, since their budget has no room for the next job.
    pub fn waiting_batches(&self) -> String {
        self.key("waits:budget")
    }

    /// ZSET batch → created ms.
    pub fn batches(&self) -> String {
        self.key("batches")
    }

    /// HASH. Jobs by state, over everything; `reserved_cost`: what the attempts under way may cost; `to_copy`: images that wait to be copied; `lost`, `lost_cost`: images that were billed and
    /// could not be had, since the beginning.
    pub fn counts(&self) -> String {
        self.key("counts")
    }

    /// ZSET `batch:<name>` or `job:<id>` → ended ms. What retention looks at.
    pub fn ended(&self) -> String {
        self.key("final")
    }

    /// ZSET `batch:<name>:<began ms>:<end>` or `hook:<webhook>:<batch>:<began ms>:<end>` → due ms, or until when its lease lasts. What must be delivered; written
    /// by the script that ends a batch. An entry leaves it once it is delivered, or given up.
    pub fn outbox(&self) -> String {
        self.key("outbox")
    }

    /// HASH entry → JSON: when the batch ended, what is sent, how often that was tried. Lives as long as the entry.
    pub fn outbox_entries(&self) -> String {
        self.key("outbox_entries")
    }

    /// HASH entry → nonce of the call that leased it.
    pub fn outbox_leases(&self) -> String {
        self.key("outbox_leases")
    }

    /// HASH `<webhook>:<end>` → JSON ([`crate::Delivery`]), of the last ends. What became of what a batch's ends sent. Lives as long as the
    /// batch.
    pub fn deliveries(&self, batch: Option<&BatchName>) -> String {
        self.key(&format!("deliveries:{}", batch.map_or("-", BatchName::as_str)))
    }

    /// HASH `<webhook>:delivered`, `<webhook>:given_up` → number; `<webhook>:error` → JSON, the last one. Since the beginning.
    pub fn webhooks(&self) -> String {
        self.key("webhooks")
    }

    /// HASH. What was billed on one UTC day (`YYYY-MM-DD`), see [`crate::LedgerLine`]: `images:` and `cost:` of
    /// `<account>:<model>:<batch>`, `-` for none; their sums `images:<account>`, `cost:<account>`, `cost`; `extra_images:` and `extra_cost:` of
    /// `<account>:<model>`, the part of it that no job has. Kept for good: some hundred bytes a batch and day.
    pub fn ledger(&self, day: &str) -> String {
        self.key(&format!("ledger:{day}"))
    }

    /// ZSET job → removed ms. Jobs that retention removed: a repeated file must not pay for them again. 400 days.
    pub fn tombstones(&self) -> String {
        self.key("tombstones")
    }

    /// STREAM, capped. Hints: wake workers, feed `watch`. Losing one loses nothing.
    pub fn events(&self) -> String {
        self.key("events")
    }

    /// STRING. The counter behind `seq`.
    pub fn seq(&self) -> String {
        self.key("seq")
    }

    /// STRING, 10 minutes unless held again. The namespace that an API key, named by its digest, works for. The one key outside of
    /// the namespace: it is what namespaces share.
    pub fn api_key(&self, digest: &str) -> String {
        format!("imagemill:api_key:{digest}")
    }

    /// STRING. How many claims for submit there were: a worker that has seen more knows that Redis went back in time.
    pub fn claims(&self) -> String {
        self.key("claims")
    }

    /// HASH. `word`, a random name that changes when Redis went back in time, and `since` ms; `run`, the Redis process that was
    /// last claimed from; `held`, until when (ms) nothing is claimed for submit, be it after a start of Redis or (`until`) because it went back.
    pub fn incarnation(&self) -> String {
        self.key("incarnation")
    }

    /// HASH. The last time that Redis went back in time: `at` ms, and how many tasks were `written` down again, `taken` by their
    /// jobs, `extra`.
    pub fn restored(&self) -> String {
        self.key("restored")
    }

    /// STRING, expires. Held by the worker that took the last step of the sweep, until the next one.
    pub fn sweep_turn(&self) -> String {
        self.key("sweep_turn")
    }

    /// STRING. Where the sweep goes on: a cursor of SCAN.
    pub fn sweep_cursor(&self) -> String {
        self.key("sweep")
    }

    /// HASH kind → number. Index entries that the sweep put right, since the beginning; in normal runs there is none.
    pub fn repairs(&self) -> String {
        self.key("repairs")
    }

    /// STRING. The last write that replicas were waited for with.
    pub fn replicated(&self) -> String {
        self.key("replicated")
    }

    /// HASH `<model>:<shape>:<step>` → number. How long tasks ran: see [`job::Durations`]. Halved now and then.
    pub fn durations(&self) -> String {
        self.key("durations")
    }

    /// STRING, expires. Held for as long as the list of an account's tasks of a model need not be read again.
    pub fn list_turn(&self, account: &AccountName, model: Model) -> String {
        self.key(&format!("list_turn:{account}:{model}"))
    }

    /// HASH. A schedule: `last` tick that has ended (ms); the `tick` that is begun, with its `owner`, `lease` until (ms) and `fence`, or
    /// `retry` (ms), `tries`, its `batch`, and `hand` = 1
    /// if a person asked for it; `since:<expression>` (ms), since when schedulers know it, and
    /// `seen:<expression>` (ms), when one last looked by it; `paused` (JSON: who, why, since); `noted`, the tick of
    /// the newest line of its history; the last `nonce`. Lives for ever.
    pub fn schedule(&self, name: &ScheduleName) -> String {
        self.key(&format!("schedule:{name}"))
    }

    /// LIST, newest first, at most 100. What came of a schedule's ticks, as JSON ([`crate::RunNote`]).
    pub fn schedule_runs(&self, name: &ScheduleName) -> String {
        self.key(&format!("schedule_runs:{name}"))
    }

    /// HASH custom_id → job. The last job that each item of a collection was refreshed by. Lives for ever: the job may be gone.
    /// `-`: no collection, and never there.
    pub fn items(&self, collection: Option<&BatchName>) -> String {
        self.key(&format!("items:{}", collection.map_or("-", BatchName::as_str)))
    }

    /// STRING, 10 minutes. The first answer to a call, for its repetition.
    pub fn reply(&self, nonce: &str) -> String {
        self.key(&format!("reply:{nonce}"))
    }
}
