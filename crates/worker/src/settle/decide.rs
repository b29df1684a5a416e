//! What the evidence says about a create without an answer. Pure.
//!
//! Two mistakes cost money: sending again what was created (paid twice), and taking a task that belongs to somebody else. So
//! "not created" needs a list that proves itself up to date and holds nothing that could be the attempt's task, and a task is
//! taken only if it is the only one that nobody owns. Anything else waits, and in the end a person decides.

use std::time::Duration;

use dashscope::TaskStatus;
use dashscope::limits::LIST_WINDOW_MAX;
use job::{Attempt, HeldReason, Rules, TaskId, Timestamp};

use crate::config::{Adopt, Ambiguous, SettleConfig};
use crate::release::has_ended;

/// How long before the claim a task that nobody owns may have been created, by the provider's clock, and still forbids to send
/// again.
///
/// Source: ours. It is far above [`SettleConfig::clock_margin`], which must be narrow to keep us from taking a stranger's task.
/// To send again is the costlier mistake, and a provider's clock was never promised to be within seconds of ours.
pub(crate) const COULD_BE_OURS: Duration = Duration::from_secs(15 * 60);

/// What is known when a decision is due.
#[derive(Debug, Clone)]
pub(crate) struct Evidence {
    /// The attempt in question.
    pub(crate) attempt: Attempt,
    /// When the list was asked for, by Redis's clock.
    pub(crate) now: Timestamp,
    /// Looks so far, this one not counted.
    pub(crate) looks: u16,
    /// How long after `send_by` the service may still hold, and act on, the request.
    pub(crate) held_for: Duration,
    /// What the provider lists.
    pub(crate) listing: Listing,
    /// Whether other attempts of the account and model may have created what is found: open ones, claimed at about the time.
    pub(crate) rivals: bool,
}

/// The provider's list of an account's tasks of one model, with our marks.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Listing {
    /// Whether it is known to be whole.
    pub(crate) whole: bool,
    /// Its tasks.
    pub(crate) tasks: Vec<Listed>,
}

/// A task of the list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listed {
    /// The task.
    pub(crate) task: TaskId,
    /// When it was created, by the provider's clock; `None` if it does not say.
    pub(crate) created_at: Option<Timestamp>,
    /// Where the provider says it is.
    pub(crate) status: TaskStatus,
    /// Whose it is.
    pub(crate) owner: Owner,
}

/// Whose a listed task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A job of ours owns it.
    Ours,
    /// Nobody here owns it, and one of our keys may have created it.
    Nobody,
    /// Another key created it.
    Foreign,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The attempt created this task.
    Found(TaskId),
    /// The attempt created nothing.
    NotCreated,
    /// Look again after this.
    LookAgain(Duration),
    /// A person has to decide.
    Undecidable {
        /// Why.
        reason: HeldReason,
        /// Whether the attempt is known to hold no place at the provider.
        slot_free: bool,
    },
}

/// What the policy says before anything is looked at.
pub(crate) fn by_policy(policy: Ambiguous) -> Option<Verdict> {
    match policy {
        Ambiguous::Settle => None,
        Ambiguous::Hold => Some(Verdict::Undecidable { reason: HeldReason::Policy, slot_free: false }),
        Ambiguous::ResubmitMayPayTwice => Some(Verdict::NotCreated),
    }
}

/// When, by the provider's clock, the attempt's own task can have been created: a request is answered, or given up, within the
/// create timeout.
pub(crate) fn window(
    attempt: &Attempt,
    create_timeout: Duration,
    margin: Duration,
) -> (Timestamp, Timestamp) {
    (attempt.claimed_at - margin, attempt.send_by + create_timeout + margin)
}

/// Judges. `chance` places the next look inside its jitter.
pub(crate) fn decide(evidence: &Evidence, config: &SettleConfig, rules: &Rules, chance: f64) -> Verdict {
    let Evidence { attempt, now, listing, .. } = evidence;
    let (from, to) = window(attempt, rules.create_timeout, config.clock_margin);
    if *now >= from + list_covers(rules) {
        // The list forgets: that it does not show a task proves nothing any more.
        return cannot_tell(evidence);
    }
    let nobodys: Vec<&Listed> = listing.tasks.iter().filter(|task| task.owner == Owner::Nobody).collect();
    // Whatever was created from the claim on, even late, even at an unknown time, could be this attempt's.
    let since = attempt.claimed_at - COULD_BE_OURS.max(config.clock_margin);
    let could_be_ours = nobodys.iter().any(|task| task.created_at.is_none_or(|created| created >= since));

    if listing.whole && !could_be_ours && is_up_to_date(evidence, config) {
        return Verdict::NotCreated;
    }
    if listing.whole && !evidence.rivals && config.adopt == Adopt::Auto {
        // A second one, at whatever time of the last day, would mean that things happen on this account that we do not know of.
        if let [only] = nobodys[..]
            && only.created_at.is_some_and(|created| (from..=to).contains(&created))
        {
            return Verdict::Found(only.task.clone());
        }
    }
    if waited(attempt, *now) >= config.give_up_after.max(evidence.held_for + config.settle_lag) {
        return cannot_tell(evidence);
    }
    Verdict::LookAgain(config.looks.wait_with_jitter(evidence.looks.into(), chance))
}

/// A person has to decide; until then the attempt keeps its place only if there may be something in it.
fn cannot_tell(evidence: &Evidence) -> Verdict {
    let Evidence { attempt, now, listing, .. } = evidence;
    let at_work = |task: &Listed| task.owner == Owner::Nobody && !task.status.is_final();
    let slot_free = has_ended(attempt, *now) || (listing.whole && !listing.tasks.iter().any(at_work));
    Verdict::Undecidable { reason: HeldReason::CannotTell, slot_free }
}

/// What follows when there is no evidence, because the provider or the queue could not be asked. An outage is no reason to
/// bother a person for each job, as long as the list still shows what it has to show.
pub(crate) fn without_evidence(
    attempt: &Attempt,
    looks: u16,
    now: Timestamp,
    config: &SettleConfig,
    rules: &Rules,
    chance: f64,
) -> Verdict {
    if waited(attempt, now) >= list_covers(rules) {
        return Verdict::Undecidable { reason: HeldReason::CannotTell, slot_free: has_ended(attempt, now) };
    }
    Verdict::LookAgain(config.looks.wait_with_jitter(looks.into(), chance))
}

fn waited(attempt: &Attempt, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(attempt.send_by)).unwrap_or_default()
}

/// For how long the list shows a task, with an hour of a day to spare: clocks differ, and reading a long list takes its time.
fn list_covers(rules: &Rules) -> Duration {
    LIST_WINDOW_MAX.min(rules.task_retention) / 24 * 23
}

/// Whether the list proves that it would show the attempt's task: it shows one of ours that was created later. On an account
/// that creates nothing it is enough that it shows an older one of ours, long after the attempt.
fn is_up_to_date(evidence: &Evidence, config: &SettleConfig) -> bool {
    let lag = config.settle_lag.max(evidence.held_for);
    let mut ours = evidence.listing.tasks.iter().filter(|task| task.owner == Owner::Ours).peekable();
    let idle_long_enough =
        evidence.now >= evidence.attempt.send_by + config.idle_control.max(lag + config.settle_lag);
    if idle_long_enough && ours.peek().is_some() {
        return true;
    }
    // The task's time is the provider's, the attempt's is Redis's.
    let shown_until = evidence.attempt.send_by + lag + config.clock_margin;
    ours.any(|task| task.created_at.is_some_and(|created| created >= shown_until))
}
