//! Which pairs of state and event can be, by asking `apply` itself.

use std::collections::BTreeSet;
use std::time::Duration;

use job::{
    AccountName, AskedFor, Attempt, CanceledBy, Doubt, Event, Failure, FailureClass, HeldReason, Job, JobId,
    JobState, Micros, Priority, Refusal, Rules, StateName, TaskId, TaskPhase, Timestamp,
};

use super::setup::MODEL;

const AT: Timestamp = Timestamp::UNIX_EPOCH;

fn attempt() -> Attempt {
    let account = AccountName::parse("a").expect("a letter is a name");
    Attempt { number: 1, account, claimed_at: AT, send_by: AT, cost_max: Micros(0) }
}

fn task() -> TaskId {
    "t".parse().expect("a letter is a task id")
}

/// A state of each kind; Held twice: a person decides other things where a task is known than where it is not.
fn states() -> Vec<JobState> {
    let (attempt, task, at) = (attempt(), task(), AT);
    vec![
        JobState::Queued { due: at, cause: None },
        JobState::Submitting { attempt: attempt.clone() },
        JobState::Settling { attempt: attempt.clone(), due: at, looks: 0, cause: "timeout".to_owned() },
        JobState::Polling {
            attempt: attempt.clone(),
            task: task.clone(),
            created_at: at,
            due: at,
            polls: 0,
            unknowns: 0,
            phase: TaskPhase::Pending,
            running_since: None,
        },
        JobState::Archiving {
            attempt: attempt.clone(),
            task: task.clone(),
            created_at: at,
            due: at,
            deadline: at,
            images: 1,
            tries: 0,
            refetches: 0,
        },
        JobState::Succeeded { task: task.clone(), at, partial: false },
        JobState::Failed { at, class: FailureClass::Service, code: "InternalError".to_owned() },
        JobState::Canceled { at, by: CanceledBy::User },
        JobState::Expired { at, task: task.clone() },
        JobState::Held {
            since: at,
            reason: HeldReason::CannotTell,
            attempt: attempt.clone(),
            unsettled: true,
            slot_free: false,
            task: None,
        },
        JobState::Held {
            since: at,
            reason: HeldReason::DoubtfulAdoption,
            attempt,
            unsettled: false,
            slot_free: true,
            task: Some(task),
        },
    ]
}

/// An event of each kind.
fn events() -> Vec<Event> {
    let failure = || Failure {
        class: FailureClass::Service,
        code: "InternalError".to_owned(),
        message: "m".to_owned(),
        request_id: None,
    };
    let doubt =
        || Doubt { why: "nothing shows that the list is up to date".to_owned(), candidates: Vec::new() };
    vec![
        Event::TaskCreated {
            attempt: attempt(),
            task: "other".parse().expect("a word is a task id"),
            request_id: None,
        },
        Event::Rejected(failure()),
        Event::Refused(Refusal::ours("NotConnected", "there was no connection")),
        Event::NotSent,
        Event::NoAnswer { cause: "timeout".to_owned() },
        Event::TaskFound { task: task() },
        Event::NotCreated,
        Event::LookAgain { due: AT },
        Event::Undecidable { reason: HeldReason::CannotTell, slot_free: false, doubt: doubt() },
        Event::StillGoing { phase: TaskPhase::Running, began_after: None },
        Event::TaskSucceeded { images: 1, billed: 1, cost: Micros(1), deadline: AT },
        Event::TaskDoubtful { billed: 1, cost: Micros(1), why: "another size".to_owned() },
        Event::TaskFailed(failure()),
        Event::TaskCanceled,
        Event::TaskUnknown,
        Event::PollUnanswered { retry_after: None },
        Event::Copied { stored: 1, lost: 0, retry_after: Some(Duration::ZERO) },
        Event::FreshLinks { deadline: AT },
        Event::LinksDead,
        Event::GivenBack,
        Event::Rescued,
        Event::TaskTakenBack { task: task() },
        Event::SlotReleased,
        Event::CancelRequested,
        Event::RetryRequested,
        Event::Replaced(asked()),
        Event::MissingRequested { job: JobId::fresh(0, 2), images: 1 },
        Event::ResolvedAdopt { task: task() },
        Event::ResolvedDeliver { task: task(), images: 1, deadline: AT },
        Event::ResolvedResubmit,
        Event::ResolvedFail,
    ]
}

fn asked() -> AskedFor {
    AskedFor {
        model: MODEL,
        pinned_to: None,
        images_max: 1,
        shape: "2k".parse().expect("a size class is a shape"),
        priority: Priority::default(),
        not_before: None,
        digest: "another".to_owned(),
    }
}

/// Every pair of state and event that `apply` takes, but for one event: the twins hold no specs that could be replaced, and what follows
/// is what follows from `RetryRequested`. `../../../../../tests/it/queue/replace.rs` replaces jobs in every state.
///
/// # Panics
///
/// Never: the names in here are names.
pub fn legal_pairs() -> BTreeSet<(StateName, &'static str)> {
    let rules = Rules::default();
    let mut legal = BTreeSet::new();
    for state in states() {
        let priority = Priority::default();
        let job = Job::queued(JobId::fresh(0, 1), None, MODEL, None, 1, priority, "d".to_owned(), AT);
        let job = Job { state, attempts: 1, tasks: 1, claimed: true, ..job };
        for event in events() {
            let name = event.name();
            if name != "Replaced" && job.apply(event, AT, &rules, 0.5).is_ok() {
                legal.insert((job.state_name(), name));
            }
        }
    }
    legal
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Event::name` is one match over all events, so that a new one cannot be forgotten there; here it can.
    #[test]
    fn there_is_a_sample_of_every_state_and_of_every_event() {
        let states: BTreeSet<_> = states().iter().map(JobState::name).collect();
        assert_eq!(states.len(), StateName::ALL.len());
        let source = include_str!("../../../../job/src/event.rs");
        let names: BTreeSet<_> = events().iter().map(Event::name).collect();
        assert_eq!(names.len(), source.matches(" => \"").count());
    }
}
