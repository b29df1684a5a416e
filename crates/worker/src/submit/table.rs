//! What a create without a task id means: for the job, and for the account's other creates. Pure.

use std::time::Duration;

use dashscope::error::{ErrorClass, Throttle};
use job::{Event, Failure, FailureClass, Refusal};

use super::breakers::Finding;
use crate::ports::{Answer, CreateFault, Withheld};
use crate::streaks::{Pause, Trouble};

/// The longest pause that the service may ask for. An exhausted plan was seen to ask for three weeks: that opens the model's
/// breaker, whose probes notice when somebody has bought another.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// From so many creates without an answer in a row on, the account's breaker opens: each of them must be settled.
///
/// Source: ours. One or two may be chance; each costs 5 minutes and a person's attention if it cannot be settled.
const NO_ANSWERS_MAX: u32 = 3;

/// What follows from a create without a task id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Consequence {
    /// For the job.
    pub(crate) event: Event,
    /// For the account's calls, for a moment.
    pub(crate) rest: Option<Rest>,
    /// Whether the service holds too many tasks of the account: then fewer places may be taken, and where that can be, nothing has
    /// to rest but for as long as the service asks.
    pub(crate) crowded: bool,
    /// For the breakers of the account and the model.
    pub(crate) finding: Finding,
}

/// Creates that are to be held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rest {
    pub(crate) whose: Whose,
    pub(crate) wait: Duration,
    /// For people: `status` shows it.
    pub(crate) why: String,
}

/// Whose creates rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// This worker's, of every model: the trouble may be its own.
    Ours,
    /// Every worker's, of the model.
    Everybodys {
        /// Whether the service named the time: then it is kept, whatever else is done.
        asked: bool,
    },
}

/// The streak that a fault belongs to.
pub(crate) fn trouble(fault: &CreateFault) -> Option<Trouble> {
    match fault {
        CreateFault::Withheld(Withheld::Stopping | Withheld::Missed | Withheld::HeldBack)
        | CreateFault::Invalid { .. } => None,
        // A connection that is never ready in time, or a lease that is never fresh, would cost a permit and a place every few
        // seconds, for nothing: it is as good as no connection.
        CreateFault::Withheld(Withheld::TooLate | Withheld::StaleLease)
        | CreateFault::NotConnected { .. } => Some(Trouble::Connection),
        CreateFault::Unknown { .. } => Some(Trouble::NoAnswer),
        CreateFault::Refused(answer) => match answer.class {
            ErrorClass::Throttled { kind: Throttle::Rate | Throttle::Concurrency } => {
                Some(Trouble::Throttled)
            }
            ErrorClass::Throttled { .. } | ErrorClass::Capacity => Some(Trouble::Exhausted),
            _ => None,
        },
    }
}

/// What follows from `fault`. `streak` is what its [`trouble`] has earned so far.
pub(crate) fn consequence(fault: CreateFault, streak: Option<Pause>) -> Consequence {
    let only = |event| Consequence { event, rest: None, crowded: false, finding: Finding::Nothing };
    let not_ready = |code: &str, why: String| Consequence {
        // Another worker may be ready at once.
        event: Event::Refused(Refusal { account_waits: true, ..Refusal::ours(code, why.as_str()) }),
        rest: streak.map(|streak| Rest { whose: Whose::Ours, wait: streak.wait, why }),
        crowded: false,
        finding: Finding::Nothing,
    };
    match fault {
        CreateFault::Withheld(Withheld::Stopping | Withheld::Missed | Withheld::HeldBack) => {
            only(Event::NotSent)
        }
        CreateFault::Withheld(Withheld::TooLate) => {
            not_ready("ConnectTooSlow", "no connection was ready in time".to_owned())
        }
        CreateFault::Withheld(Withheld::StaleLease) => {
            not_ready("LeaseTooOld", "a worker could not renew its leases in time".to_owned())
        }
        CreateFault::Invalid { message } => only(Event::Rejected(Failure {
            class: FailureClass::InvalidRequest,
            code: "InvalidRequest".to_owned(),
            message,
            request_id: None,
        })),
        CreateFault::NotConnected { message } => not_ready("NotConnected", message),
        CreateFault::Unknown { cause } => {
            let in_a_row = streak.map_or(1, |streak| streak.in_a_row);
            let why = match in_a_row {
                1 => format!("a create got no answer ({cause})"),
                _ => format!("{in_a_row} creates in a row got no answer ({cause})"),
            };
            let finding = Finding::NoAnswer { too_many: in_a_row >= NO_ANSWERS_MAX, why };
            Consequence { event: Event::NoAnswer { cause }, rest: None, crowded: false, finding }
        }
        CreateFault::Refused(answer) => refused(answer, streak),
    }
}

fn refused(answer: Answer, streak: Option<Pause>) -> Consequence {
    let why = format!("HTTP {} {}: {}", answer.http_status, answer.code, answer.message);
    let (class, asked) = (answer.class, answer.retry_after);
    let Answer { code, message, request_id, .. } = answer;
    let refused = |code: String, retry_after, account_waits| {
        let (message, request_id) = (message.clone(), request_id.clone());
        Event::Refused(Refusal { code, message, request_id, retry_after, account_waits })
    };
    let refusal = |code: String| refused(code, None, false);
    match class {
        // Not a throttle that passes but a plan that is used up: no job is to sleep for weeks.
        ErrorClass::Throttled { .. } | ErrorClass::Capacity if asked.is_some_and(|wait| wait > PAUSE_MAX) => {
            let finding = Finding::ModelAtFault { code: code.clone(), why, wait_min: PAUSE_MAX };
            Consequence { event: refusal(code), rest: None, crowded: false, finding }
        }
        ErrorClass::Throttled { .. } | ErrorClass::Capacity => {
            let wait = asked.or(streak.map(|streak| streak.wait)).unwrap_or(Duration::from_secs(1));
            let rest = Some(Rest { whose: Whose::Everybodys { asked: asked.is_some() }, wait, why });
            // Also where a wait is asked for: when that is over, just as many tasks would be too many again.
            let crowded = class == ErrorClass::Throttled { kind: Throttle::Concurrency };
            // Who is throttled is let in.
            Consequence { event: refused(code, asked, true), rest, crowded, finding: Finding::Works }
        }
        ErrorClass::AccountFault { .. } | ErrorClass::AccessDenied => {
            let finding = Finding::AccountAtFault { code: code.clone(), why };
            Consequence { event: refusal(code), rest: None, crowded: false, finding }
        }
        ErrorClass::ModelNotOpened | ErrorClass::NotFound => {
            let finding = Finding::ModelAtFault { code: code.clone(), why, wait_min: Duration::ZERO };
            Consequence { event: refusal(code), rest: None, crowded: false, finding }
        }
        // The other classes speak of the job.
        _ => {
            let failure = Failure { class: failure_class(class), code, message, request_id };
            Consequence {
                event: Event::Rejected(failure),
                rest: None,
                crowded: false,
                finding: Finding::Works,
            }
        }
    }
}

/// The kind of failure that a trouble of the service is for a job.
pub(crate) fn failure_class(class: ErrorClass) -> FailureClass {
    match class {
        ErrorClass::Moderation => FailureClass::Moderation,
        ErrorClass::InvalidRequest | ErrorClass::NotCancellable => FailureClass::InvalidRequest,
        ErrorClass::InputDownload => FailureClass::InputDownload,
        ErrorClass::ServiceTimeout => FailureClass::ServiceTimeout,
        ErrorClass::Transport => FailureClass::Transport,
        // An unknown trouble of a task that cost nothing may pass.
        _ => FailureClass::Service,
    }
}

#[cfg(test)]
mod tests {
    use dashscope::error::AccountFault;

    use super::*;

    fn answer(http_status: u16, class: ErrorClass, code: &str) -> Answer {
        Answer {
            http_status,
            class,
            code: code.to_owned(),
            message: "said why".to_owned(),
            request_id: Some("r-1".to_owned()),
            retry_after: None,
        }
    }

    fn of(http_status: u16, class: ErrorClass, code: &str) -> Consequence {
        let streak = Some(Pause { in_a_row: 1, wait: Duration::from_secs(1) });
        consequence(CreateFault::Refused(answer(http_status, class, code)), streak)
    }

    #[test]
    fn a_throttled_create_spends_no_attempt_and_rests_the_model() {
        let kinds = [Throttle::Rate, Throttle::Burst, Throttle::Concurrency, Throttle::Quota];
        let classes = kinds.map(|kind| ErrorClass::Throttled { kind });
        for class in classes.into_iter().chain([ErrorClass::Capacity]) {
            let Consequence { event, rest, crowded, finding } = of(429, class, "Throttling");
            assert_eq!(crowded, class == ErrorClass::Throttled { kind: Throttle::Concurrency });
            let Event::Refused(refusal) = event else { panic!("{event:?}") };
            assert!(refusal.account_waits, "the job keeps its turn");
            assert_eq!((refusal.code.as_str(), refusal.message.as_str()), ("Throttling", "said why"));
            assert_eq!((refusal.request_id.as_deref(), refusal.retry_after), (Some("r-1"), None));
            let rest = rest.unwrap();
            assert_eq!((rest.whose, rest.wait), (Whose::Everybodys { asked: false }, Duration::from_secs(1)));
            assert_eq!(rest.why, "HTTP 429 Throttling: said why");
            assert_eq!(finding, Finding::Works);
        }
    }

    #[test]
    fn too_many_tasks_at_once_take_fewer_places_also_where_a_wait_is_asked_for() {
        let class = ErrorClass::Throttled { kind: Throttle::Concurrency };
        let mut refusal = answer(429, class, "Throttling.Concurrency");
        refusal.retry_after = Some(Duration::from_secs(3));
        let Consequence { rest, crowded, .. } = consequence(CreateFault::Refused(refusal), None);
        assert!(crowded);
        let rest = rest.unwrap();
        assert_eq!((rest.whose, rest.wait), (Whose::Everybodys { asked: true }, Duration::from_secs(3)));
    }

    #[test]
    fn what_the_service_asks_for_is_granted_within_reason_and_beyond_it_opens_the_models_breaker() {
        let mut refusal =
            answer(429, ErrorClass::Throttled { kind: Throttle::Quota }, "Throttling.AllocationQuota");
        for seconds in [7, 600] {
            refusal.retry_after = Some(Duration::from_secs(seconds));
            let granted = consequence(CreateFault::Refused(refusal.clone()), None);
            assert_eq!(granted.rest.unwrap().wait, Duration::from_secs(seconds));
        }
        refusal.retry_after = Some(Duration::from_secs(1_850_000));
        let Consequence { event, rest, finding, .. } = consequence(CreateFault::Refused(refusal), None);
        assert!(matches!(event, Event::Refused(Refusal { retry_after: None, .. })), "{event:?}");
        assert_eq!(rest, None);
        assert!(matches!(finding, Finding::ModelAtFault { wait_min: PAUSE_MAX, .. }), "{finding:?}");
    }

    #[test]
    fn an_account_fault_opens_the_accounts_breaker_and_leaves_the_job_queued() {
        let kinds = [AccountFault::Key, AccountFault::Overdue, AccountFault::Plan, AccountFault::Workspace];
        let classes = kinds.map(|kind| ErrorClass::AccountFault { kind });
        for class in classes.into_iter().chain([ErrorClass::AccessDenied]) {
            let Consequence { event, rest, finding, .. } = of(401, class, "InvalidApiKey");
            assert!(matches!(event, Event::Refused(_)), "{event:?}");
            assert_eq!(rest, None);
            let why = "HTTP 401 InvalidApiKey: said why".to_owned();
            assert_eq!(finding, Finding::AccountAtFault { code: "InvalidApiKey".into(), why });
        }
    }

    #[test]
    fn a_model_that_is_not_opened_has_a_breaker_of_its_own() {
        for class in [ErrorClass::ModelNotOpened, ErrorClass::NotFound] {
            let Consequence { event, finding, .. } = of(403, class, "Model.AccessDenied");
            assert!(matches!(event, Event::Refused(_)), "{event:?}");
            assert!(matches!(finding, Finding::ModelAtFault { wait_min: Duration::ZERO, .. }), "{finding:?}");
        }
    }

    #[test]
    fn a_fault_of_the_request_is_the_jobs_and_keeps_the_services_words() {
        let cases = [
            (ErrorClass::Moderation, FailureClass::Moderation),
            (ErrorClass::InvalidRequest, FailureClass::InvalidRequest),
            (ErrorClass::InputDownload, FailureClass::InputDownload),
            (ErrorClass::Unknown, FailureClass::Service),
        ];
        for (class, expected) in cases {
            let Consequence { event, rest, .. } = of(400, class, "X");
            let Event::Rejected(failure) = event else { panic!("{event:?}") };
            assert_eq!((failure.class, failure.code.as_str()), (expected, "X"));
            assert_eq!((failure.message.as_str(), failure.request_id.as_deref()), ("said why", Some("r-1")));
            assert_eq!(rest, None);
        }
    }

    #[test]
    fn a_create_that_may_have_happened_is_never_sent_again_blindly() {
        let fault = CreateFault::Unknown { cause: "timeout".into() };
        let after = |in_a_row| {
            let streak = Pause { in_a_row, wait: Duration::from_secs(2) };
            consequence(fault.clone(), Some(streak))
        };
        for (in_a_row, expected) in [(2, false), (3, true), (4, true)] {
            let Consequence { event, finding, .. } = after(in_a_row);
            assert_eq!(event, Event::NoAnswer { cause: "timeout".into() });
            assert!(
                matches!(finding, Finding::NoAnswer { too_many, .. } if too_many == expected),
                "{finding:?}"
            );
        }
    }

    #[test]
    fn what_was_not_sent_goes_back_and_a_worker_without_a_network_rests() {
        let stopping = CreateFault::Withheld(Withheld::Stopping);
        assert_eq!(trouble(&stopping), None);
        let kept = consequence(stopping, None);
        assert_eq!(
            kept,
            Consequence { event: Event::NotSent, rest: None, crowded: false, finding: Finding::Nothing }
        );
        let fault = CreateFault::NotConnected { message: "connection refused".into() };
        assert_eq!(trouble(&fault), Some(Trouble::Connection));
        let streak = Pause { in_a_row: 4, wait: Duration::from_secs(8) };
        let Consequence { event, rest, .. } = consequence(fault, Some(streak));
        let refusal = Refusal { account_waits: true, ..Refusal::ours("NotConnected", "connection refused") };
        assert_eq!(event, Event::Refused(refusal), "another worker may have a network");
        let rest = rest.unwrap();
        assert_eq!((rest.wait, rest.whose), (Duration::from_secs(8), Whose::Ours));
    }

    #[test]
    fn a_create_that_is_never_ready_in_time_waits_longer_and_longer_instead_of_going_round() {
        let cases = [(Withheld::TooLate, "ConnectTooSlow"), (Withheld::StaleLease, "LeaseTooOld")];
        for (reason, expected) in cases {
            let fault = CreateFault::Withheld(reason);
            assert_eq!(trouble(&fault), Some(Trouble::Connection));
            let streak = Pause { in_a_row: 3, wait: Duration::from_secs(4) };
            let Consequence { event, rest, .. } = consequence(fault, Some(streak));
            assert!(matches!(event, Event::Refused(refusal) if refusal.code == expected));
            let rest = rest.unwrap();
            assert_eq!((rest.whose, rest.wait), (Whose::Ours, streak.wait));
        }
    }
}
