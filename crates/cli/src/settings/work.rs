//! `[worker]`, `[settle]`, `[retention]`: what a worker does, and how much of it at once.

use queue::Retention;
use worker::{SettleConfig, WorkerConfig};

use super::layers::section;
use super::value::{Rate, Span, Whole, choice};

section! {
    /// Workers. Limits of the account are shared by all of them; these are each worker's own.
    WorkerSection {
        /// Begins the names of a worker's stages in logs.
        name: String = defaults().name;
        /// Create calls at once.
        submit_concurrency: Whole<1, 10_000> = count(defaults().submit_concurrency);
        /// Queries at once.
        poll_concurrency: Whole<1, 10_000> = count(defaults().poll_concurrency);
        /// Jobs whose images are copied at once, at the most: fewer where more are no faster, or where the store asks for less.
        archive_concurrency: Whole<1, 10_000> = count(defaults().archive_concurrency);
        /// Images of one job that are copied at once.
        images_at_once: Whole<1, 12> = count(defaults().images_at_once);
        /// How often leases are renewed: at least twice in `redis.lease`.
        renew_every: Span<50> = Span(defaults().renew_every);
        /// A create is not sent when the last renewal of its lease is older than this.
        renewal_age_max: Span<100> = Span(defaults().renewal_age_max);
        /// How often leases that ran out are looked for.
        rescue_every: Span<50> = Span(defaults().rescue_every);
        /// How long after its claim a create may be sent.
        send_within: Span<100> = Span(defaults().send_within);
        /// How long a create call may take before its outcome counts as unknown.
        create_timeout: Span<100> = Span(job::Rules::default().create_timeout);
        /// How long after a create call timed out the provider may still act on it.
        held_request_timeout: Span<0> = Span(job::Rules::default().held_request_timeout);
        /// Workers that may vanish over one step of a job before it is run alone; if that worker vanishes as well, it is held.
        rescues_max: Whole<1, 100> = Whole(u64::from(job::Rules::default().rescues_max));
        /// How long one pass of the sweep takes that looks for index entries which are lost, and rebuilds them from the records.
        sweep_every: Span<100> = Span(defaults().sweep_every);
        /// Whether a Redis that can lose jobs (no AOF, or an eviction policy) is used all the same.
        unsafe_redis: bool = false;
    }
}

section! {
    /// Create calls whose answer never came: they may have made a task that will be billed.
    SettleSection {
        /// `settle`: decide from the provider's task list, and hold the job where it does not show for certain.
        /// `hold`: hold it at once. `resubmit-may-pay-twice`: send it again without looking.
        ambiguous: Ambiguous = Ambiguous::Settle;
        /// Whether a task that fits may be taken for the job's: `auto` or `never`.
        adopt: Adopt = Adopt::Auto;
        /// How late the provider's list may show a task: one of ours that was created so much later than the provider may still act
        /// on the call shows that the list is up to date.
        lag: Span<0> = Span(SettleConfig::default().settle_lag);
        /// On an account that creates nothing else: how long after the call an older task of ours is proof enough.
        idle_control: Span<0> = Span(SettleConfig::default().idle_control);
        /// How far the provider's clock may be from Redis's.
        clock_margin: Span<0> = Span(SettleConfig::default().clock_margin);
        /// The first wait between two looks; later ones grow by `factor` up to `cap`.
        first: Span<50> = Span(SettleConfig::default().looks.first);
        /// What each wait is multiplied by.
        factor: Rate = Rate(SettleConfig::default().looks.factor);
        /// The longest wait between two looks.
        cap: Span<50> = Span(SettleConfig::default().looks.cap);
        /// How long after the call a person is asked.
        give_up_after: Span<0> = Span(SettleConfig::default().give_up_after);
        /// Pages of the provider's list that are read for one look.
        pages_max: Whole<1, 1_000_000> = Whole(u64::from(SettleConfig::default().pages_max));
        /// How often tasks with our key that no job owns are counted, for `imagemill status`: each count reads the whole list.
        orphans_every: Span<1_000> = Span(SettleConfig::default().orphans_every);
    }
}

choice! {
    /// `settle.ambiguous`.
    Ambiguous {
        /// From evidence.
        Settle = "settle",
        /// By a person.
        Hold = "hold",
        /// Blindly.
        Resubmit = "resubmit-may-pay-twice",
    }
}

choice! {
    /// `settle.adopt`.
    Adopt {
        /// Where nothing speaks against it.
        Auto = "auto",
        /// Never.
        Never = "never",
    }
}

section! {
    /// What is kept of work that has ended. Images are never removed.
    RetentionSection {
        /// How long records of ended batches and single jobs are kept.
        age: Span<60_000> = Span(Retention::default().age);
        /// How many ended batches and single jobs are kept at most.
        ended_max: Whole<1, 100_000_000> = Whole(Retention::default().ended_max);
        /// How long a removed job's id is remembered, so that the same file is not paid for again.
        tombstones: Span<60_000> = Span(Retention::default().tombstones);
        /// How often a worker looks for what is to go.
        every: Span<1_000> = Span(defaults().retain_every);
    }
}

fn defaults() -> WorkerConfig {
    WorkerConfig::new(Vec::new())
}

fn count<const MAX: u64>(number: usize) -> Whole<1, MAX> {
    Whole(number as u64)
}

impl SettleSection {
    /// For the worker.
    pub(crate) fn config(&self) -> SettleConfig {
        SettleConfig {
            ambiguous: match self.ambiguous.value {
                Ambiguous::Settle => worker::Ambiguous::Settle,
                Ambiguous::Hold => worker::Ambiguous::Hold,
                Ambiguous::Resubmit => worker::Ambiguous::ResubmitMayPayTwice,
            },
            adopt: match self.adopt.value {
                Adopt::Auto => worker::Adopt::Auto,
                Adopt::Never => worker::Adopt::Never,
            },
            settle_lag: self.lag.value.0,
            idle_control: self.idle_control.value.0,
            clock_margin: self.clock_margin.value.0,
            looks: job::Curve {
                first: self.first.value.0,
                factor: self.factor.value.0,
                cap: self.cap.value.0,
            },
            give_up_after: self.give_up_after.value.0,
            pages_max: self.pages_max.value.small(),
            orphans_every: self.orphans_every.value.0,
        }
    }
}

impl RetentionSection {
    /// For the worker.
    pub(crate) fn policy(&self) -> Retention {
        Retention {
            age: self.age.value.0,
            ended_max: self.ended_max.value.0,
            tombstones: self.tombstones.value.0,
        }
    }
}
