//! What a create shows of its account and its model, and what their breakers make of that. Pure, but for the log.
//!
//! Only trouble that passes by no wait of our own opens a breaker: an account or a model that needs a person, and a service that
//! does not answer. That the account sends too much is a plain pause, and a network that is down says nothing about anybody.

use std::time::Duration;

use job::{AccountName, Model};
use tracing::{info, warn};

use crate::ports::{Became, PausedCall, Turn};

/// What a create has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Finding {
    /// It works: there is a task, or a judgement on the request.
    Works,
    /// Nothing: it was not sent.
    Nothing,
    /// Nothing for certain: there was no answer. Once may be chance.
    NoAnswer {
        /// Whether it was one too many in a row.
        too_many: bool,
        /// For people.
        why: String,
    },
    /// The account does not work until a person acts.
    AccountAtFault {
        /// The service's code.
        code: String,
        /// For people.
        why: String,
    },
    /// The account works, and this model does not.
    ModelAtFault {
        /// The service's code.
        code: String,
        /// For people.
        why: String,
        /// How long the service wants to be left alone.
        wait_min: Duration,
    },
}

/// What the breakers of the account and of the model are to be told. A probe tells each of them something, or they would wait
/// for its window; any other create can only open one.
pub(crate) fn turns(finding: Finding, model: Model, probe: bool) -> Vec<(PausedCall, Turn)> {
    let (account, model) = (PausedCall::Create, PausedCall::CreateModel(model));
    let open = |code, why, wait_min| Some(Turn::Open { code, why, wait_min });
    let (of_account, of_model) = match finding {
        Finding::Works => (Some(Turn::Close), Some(Turn::Close)),
        Finding::Nothing => (None, None),
        Finding::NoAnswer { too_many, why } if too_many || probe => {
            (open("NoAnswer".to_owned(), why, Duration::ZERO), None)
        }
        Finding::NoAnswer { .. } => (None, None),
        Finding::AccountAtFault { code, why } => (open(code, why, Duration::ZERO), None),
        Finding::ModelAtFault { code, why, wait_min } => (Some(Turn::Close), open(code, why, wait_min)),
    };
    [(account, of_account), (model, of_model)]
        .into_iter()
        .map(|(call, turn)| (call, turn.unwrap_or(Turn::Release)))
        .filter(|(_, turn)| probe || matches!(turn, Turn::Open { .. }))
        .collect()
}

/// Logs what became of a breaker, once, by whom it was turned.
pub(crate) fn say(account: &AccountName, call: PausedCall, turn: &Turn, became: Became) {
    let calls = match call {
        PausedCall::Create => "creates".to_owned(),
        PausedCall::CreateModel(model) => format!("creates of {model}"),
        PausedCall::Query => "queries".to_owned(),
    };
    match (became, turn) {
        (Became::Opened, Turn::Open { code, why, .. }) => {
            warn!(account = %account, code, "The breaker for {calls} of account {account} is open: {why}");
        }
        (Became::Reopened, Turn::Open { code, why, .. }) => {
            warn!(account = %account, code, "A probe failed; the breaker for {calls} of account {account} stays open: {why}");
        }
        (Became::Closed, _) => {
            info!(account = %account, "The breaker for {calls} of account {account} is closed: a probe did well");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODEL: Model = Model::Wan27Image;

    fn finding() -> impl Strategy<Value = Finding> {
        let text = || "[a-z]{1,5}";
        prop_oneof![
            Just(Finding::Works),
            Just(Finding::Nothing),
            (any::<bool>(), text()).prop_map(|(too_many, why)| Finding::NoAnswer { too_many, why }),
            (text(), text()).prop_map(|(code, why)| Finding::AccountAtFault { code, why }),
            (text(), text(), 0u64..5).prop_map(|(code, why, wait)| Finding::ModelAtFault {
                code,
                why,
                wait_min: Duration::from_secs(wait)
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_probe_tells_each_breaker_one_thing_and_nobody_else_closes_any(finding in finding(), probe: bool) {
            let turns = turns(finding.clone(), MODEL, probe);
            let calls: Vec<PausedCall> = turns.iter().map(|(call, _)| *call).collect();
            if probe {
                prop_assert_eq!(calls, [PausedCall::Create, PausedCall::CreateModel(MODEL)]);
            } else {
                prop_assert!(turns.iter().all(|(_, turn)| matches!(turn, Turn::Open { .. })), "{:?}", turns);
                prop_assert!(turns.len() <= 1);
            }
            let opened = turns.iter().filter(|(_, turn)| matches!(turn, Turn::Open { .. })).count();
            let bad = match finding {
                Finding::Works | Finding::Nothing => false,
                Finding::NoAnswer { too_many, .. } => too_many || probe,
                Finding::AccountAtFault { .. } | Finding::ModelAtFault { .. } => true,
            };
            prop_assert_eq!(opened, usize::from(bad));
        }
    }

    #[test]
    fn a_model_at_fault_shows_that_the_account_works_and_not_the_other_way_round() {
        let (code, why) = ("Model.AccessDenied".to_owned(), "not opened".to_owned());
        let told = turns(Finding::ModelAtFault { code, why, wait_min: Duration::ZERO }, MODEL, true);
        assert_eq!(told[0], (PausedCall::Create, Turn::Close));
        let account = Finding::AccountAtFault { code: "InvalidApiKey".into(), why: "wrong".into() };
        assert_eq!(turns(account, MODEL, true)[1], (PausedCall::CreateModel(MODEL), Turn::Release));
    }
}
