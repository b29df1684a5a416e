//! What a person can do about DashScope's errors.

use dashscope::ErrorClass;
use dashscope::error::AccountFault;

use crate::failure::Failure;

/// A failure with its hint, where there is one.
pub(super) fn with_hint(failure: Failure, hint: Option<&str>) -> Failure {
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// What a person can do about a class of error.
pub(super) fn hint_of(class: ErrorClass) -> Option<&'static str> {
    match class {
        ErrorClass::Moderation => {
            Some("the provider's content rules hold back the prompt, an input or the result")
        }
        ErrorClass::InputDownload => {
            Some("the service could not fetch an input image: is its link open to it?")
        }
        ErrorClass::AccountFault { kind: AccountFault::Key } => {
            Some("the key is wrong, or belongs to another region than the base URL")
        }
        ErrorClass::AccountFault { .. } => {
            Some("the account has to be put in order in the console of Model Studio")
        }
        ErrorClass::ModelNotOpened => {
            Some("this model has to be opened for the account, or the region does not have it")
        }
        ErrorClass::Throttled { .. } | ErrorClass::Capacity => Some("try again in a while"),
        _ => None,
    }
}
