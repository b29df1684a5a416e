//! What a create without a task id means: for the job, and for the account's other creates. Pure.

use std::time::Duration;

use dashscope::error::ErrorClass;
use job::{Event, Failure, FailureClass, Model, Refusal};

use crate::ports::{Answer, CreateFault, PausedCall, Withheld};
use crate::streaks::{Pause, Trouble};

/// How long creates rest when nothing will work until a person acts: one try a minute notices that somebody did.
///
/// Source: ours; rate limits recover within a minute as well.
const UNTIL_SOMEBODY_ACTS: Duration = Duration::from_secs(60);

/// The longest pause that the service may ask for. An exhausted plan was seen to ask for three weeks.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// The longest wait of a single job; the account's pause does the rest.
const JOB_WAIT_MAX: Duration = Duration::from_secs(600);

/// From so many creates without an answer in a row on, the account's creates rest: each of them must be settled.
const NO_ANSWERS_MAX: u32 = 3;

/// What follows from a create without a task id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Consequence {
    /// For the job.
    pub(crate) event: Event,
    /// For the account.
    pub(crate) rest: Option<Rest>,
}

/// A call that is to be held back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rest {
    pub(crate) call: PausedCall,
    pub(crate) wait: Duration,
    /// For people: `status` shows it.
    pub(crate) why: String,
}

/// The streak that a fault belongs to.
pub(crate) fn trouble(fault: &CreateFault) -> Option<Trouble> {
    match fault {
        CreateFault::Withheld(Withheld::Stopping) | CreateFault::Invalid { .. } => None,
        // A connection that is never ready in time, or a lease that is never fresh, would cost a permit and a place every few
        // seconds, for nothing: it is as good as no connection.
        CreateFault::Withheld(Withheld::TooLate | Withheld::StaleLease)
        | CreateFault::NotConnected { .. } => Some(Trouble::Connection),
        CreateFault::Unknown { .. } => Some(Trouble::NoAnswer),
        CreateFault::Refused(answer) => is_throttle(answer.class).then_some(Trouble::Throttled),
    }
}

fn is_throttle(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::Throttled { .. } | ErrorClass::Capacity)
}

/// What follows from `fault`. `streak` is what its [`trouble`] has earned so far.
pub(crate) fn consequence(fault: CreateFault, model: Model, streak: Option<Pause>) -> Consequence {
    let only = |event| Consequence { event, rest: None };
    let not_ready = |code: &str, why: String| Consequence {
        event: Event::Refused(Refusal { code: code.to_owned(), retry_after: None }),
        rest: streak.map(|streak| Rest { call: PausedCall::Create, wait: streak.wait, why }),
    };
    match fault {
        CreateFault::Withheld(Withheld::Stopping) => only(Event::NotSent),
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
            let rest = streak.filter(|streak| streak.in_a_row >= NO_ANSWERS_MAX).map(|streak| Rest {
                call: PausedCall::Create,
                wait: streak.wait,
                why: format!("{} creates in a row got no answer ({cause})", streak.in_a_row),
            });
            Consequence { event: Event::NoAnswer { cause }, rest }
        }
        CreateFault::Refused(answer) => refused(answer, model, streak),
    }
}

fn refused(answer: Answer, model: Model, streak: Option<Pause>) -> Consequence {
    let asked = answer.retry_after.map(|wait| wait.min(PAUSE_MAX));
    let (call, wait) = match answer.class {
        ErrorClass::Throttled { .. } | ErrorClass::Capacity => {
            let wait = asked.or(streak.map(|streak| streak.wait)).unwrap_or(Duration::from_secs(1));
            (PausedCall::CreateModel(model), wait)
        }
        ErrorClass::AccountFault { .. } | ErrorClass::AccessDenied => {
            (PausedCall::Create, UNTIL_SOMEBODY_ACTS)
        }
        ErrorClass::ModelNotOpened | ErrorClass::NotFound => {
            (PausedCall::CreateModel(model), UNTIL_SOMEBODY_ACTS)
        }
        // The other classes speak of the job.
        class => {
            let Answer { code, message, request_id, .. } = answer;
            let failure = Failure { class: failure_class(class), code, message, request_id };
            return Consequence { event: Event::Rejected(failure), rest: None };
        }
    };
    let why = format!("HTTP {} {}: {}", answer.http_status, answer.code, answer.message);
    let retry_after = asked.map(|wait| wait.min(JOB_WAIT_MAX));
    Consequence {
        event: Event::Refused(Refusal { code: answer.code, retry_after }),
        rest: Some(Rest { call, wait, why }),
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
    use dashscope::error::{AccountFault, Throttle};

    use super::*;

    const MODEL: Model = Model::Wan27ImagePro;

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
        consequence(CreateFault::Refused(answer(http_status, class, code)), MODEL, streak)
    }

    #[test]
    fn a_throttled_create_spends_no_attempt_and_rests_the_model() {
        for class in [ErrorClass::Throttled { kind: Throttle::Rate }, ErrorClass::Capacity] {
            let Consequence { event, rest } = of(429, class, "Throttling");
            assert_eq!(event, Event::Refused(Refusal { code: "Throttling".into(), retry_after: None }));
            let rest = rest.unwrap();
            assert_eq!((rest.call, rest.wait), (PausedCall::CreateModel(MODEL), Duration::from_secs(1)));
            assert_eq!(rest.why, "HTTP 429 Throttling: said why");
        }
    }

    #[test]
    fn what_the_service_asks_for_is_granted_within_reason() {
        let mut refusal =
            answer(429, ErrorClass::Throttled { kind: Throttle::Quota }, "Throttling.AllocationQuota");
        refusal.retry_after = Some(Duration::from_secs(7));
        let granted = consequence(CreateFault::Refused(refusal.clone()), MODEL, None);
        assert_eq!(granted.rest.unwrap().wait, Duration::from_secs(7));
        refusal.retry_after = Some(Duration::from_secs(1_850_000));
        let Consequence { event, rest } = consequence(CreateFault::Refused(refusal), MODEL, None);
        assert_eq!(rest.unwrap().wait, PAUSE_MAX);
        assert!(matches!(event, Event::Refused(Refusal { retry_after: Some(JOB_WAIT_MAX), .. })));
    }

    #[test]
    fn an_account_fault_rests_the_account_and_leaves_the_job_queued() {
        for kind in [AccountFault::Key, AccountFault::Overdue, AccountFault::Plan, AccountFault::Workspace] {
            let Consequence { event, rest } = of(401, ErrorClass::AccountFault { kind }, "InvalidApiKey");
            assert!(matches!(event, Event::Refused(_)), "{event:?}");
            assert_eq!(rest.unwrap().call, PausedCall::Create);
        }
        assert_eq!(of(403, ErrorClass::AccessDenied, "AccessDenied").rest.unwrap().call, PausedCall::Create);
    }

    #[test]
    fn a_model_that_is_not_opened_rests_alone() {
        for class in [ErrorClass::ModelNotOpened, ErrorClass::NotFound] {
            let Consequence { event, rest } = of(403, class, "Model.AccessDenied");
            assert!(matches!(event, Event::Refused(_)), "{event:?}");
            assert_eq!(rest.unwrap().call, PausedCall::CreateModel(MODEL));
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
            let Consequence { event, rest } = of(400, class, "X");
            let Event::Rejected(failure) = event else { panic!("{event:?}") };
            assert_eq!((failure.class, failure.code.as_str()), (expected, "X"));
            assert_eq!((failure.message.as_str(), failure.request_id.as_deref()), ("said why", Some("r-1")));
            assert_eq!(rest, None);
        }
    }

    #[test]
    fn a_create_that_may_have_happened_is_never_sent_again_blindly() {
        let fault = CreateFault::Unknown { cause: "timeout".into() };
        let once =
            consequence(fault.clone(), MODEL, Some(Pause { in_a_row: 2, wait: Duration::from_secs(2) }));
        assert_eq!(once.event, Event::NoAnswer { cause: "timeout".into() });
        assert_eq!(once.rest, None);
        let again = consequence(fault, MODEL, Some(Pause { in_a_row: 3, wait: Duration::from_secs(4) }));
        assert_eq!(again.rest.unwrap().call, PausedCall::Create);
    }

    #[test]
    fn what_was_not_sent_goes_back_and_a_lost_network_rests_the_account() {
        let stopping = CreateFault::Withheld(Withheld::Stopping);
        assert_eq!(trouble(&stopping), None);
        let kept = consequence(stopping, MODEL, None);
        assert_eq!(kept, Consequence { event: Event::NotSent, rest: None });
        let fault = CreateFault::NotConnected { message: "connection refused".into() };
        assert_eq!(trouble(&fault), Some(Trouble::Connection));
        let streak = Pause { in_a_row: 4, wait: Duration::from_secs(8) };
        let Consequence { event, rest } = consequence(fault, MODEL, Some(streak));
        assert_eq!(event, Event::Refused(Refusal { code: "NotConnected".into(), retry_after: None }));
        assert_eq!(rest.unwrap().wait, Duration::from_secs(8));
    }
    #[test]
    fn a_create_that_is_never_ready_in_time_waits_longer_and_longer_instead_of_going_round() {
        let cases = [(Withheld::TooLate, "ConnectTooSlow"), (Withheld::StaleLease, "LeaseTooOld")];
        for (reason, expected) in cases {
            let fault = CreateFault::Withheld(reason);
            assert_eq!(trouble(&fault), Some(Trouble::Connection));
            let streak = Pause { in_a_row: 3, wait: Duration::from_secs(4) };
            let Consequence { event, rest } = consequence(fault, MODEL, Some(streak));
            assert_eq!(event, Event::Refused(Refusal { code: expected.into(), retry_after: None }));
            let rest = rest.unwrap();
            assert_eq!((rest.call, rest.wait), (PausedCall::Create, streak.wait));
        }
    }
}
