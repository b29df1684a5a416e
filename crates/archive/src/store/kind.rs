//! The kinds of failure that stores have, and how their answers are told apart. Pure.

use std::fmt;

/// What was to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// To ask whether the bucket is there.
    CheckBucket,
    /// To store an object.
    Put,
    /// To ask about an object.
    Head,
    /// To read an object.
    Get,
    /// To copy an object within the bucket.
    Copy,
    /// To delete an object.
    Delete,
    /// To list objects.
    List,
    /// To make a link to an object.
    Presign,
}

/// What went wrong, as far as it matters to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The bucket does not exist.
    NoSuchBucket,
    /// We may not do this.
    AccessDenied,
    /// The store does not know us, or there are no credentials.
    Credentials,
    /// The bucket lives in another region.
    WrongRegion,
    /// The clocks of this machine and the store are too far apart.
    ClockSkew,
    /// The store has no room left.
    Full,
    /// The store asks to slow down.
    Throttled,
    /// The store failed.
    ServerFault,
    /// No answer in time. What was asked for may have happened.
    Timeout,
    /// The connection could not be made, or broke. What was asked for may have happened.
    Connection,
    /// Another writer was at the same key at the same time.
    Conflict,
    /// An upload in parts is no longer known: it was completed by a try whose answer was lost, or aborted.
    LostUpload,
    /// What arrived, or what now stands in the store, is not what was sent.
    Damaged,
    /// A different object stands at the key already.
    Occupied,
    /// The object to copy is not there.
    NoSuchObject,
    /// The object is larger than asked for.
    TooLarge {
        /// Its size, or what was read of it.
        bytes: u64,
        /// The size asked for.
        bytes_max: u64,
    },
    /// The object lies in an archive class and has to be brought back before it can be read.
    Archived,
    /// The object is encrypted with a key that only its writer has.
    Sealed,
    /// A condition of the request did not hold (412). Uploads never end with it: they look at what stands there.
    Precondition,
    /// The store does not know how to do this.
    NotImplemented,
    /// The store refuses it for another reason.
    Refused,
    /// The request could not be put together.
    Unsendable,
}

impl StoreErrorKind {
    /// Whether the same call could succeed later without anybody's doing.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self.consequence(), Consequence::TryAgain | Consequence::LookAndTryAgain)
    }

    /// Whether a person has to act before the same call can succeed. Unless it [lies in the object](Self::lies_in_object), the store
    /// as a whole is out of order: no single object is to blame, and all work that needs the store should wait.
    #[must_use]
    pub fn needs_operator(self) -> bool {
        self.consequence() == Consequence::CallAPerson
    }

    /// Whether it lies in the object that was to be read, and not in the way to it: others can be read, and this one cannot, until
    /// somebody brings it back or puts another one there.
    #[must_use]
    pub fn lies_in_object(self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::Archived | Self::Sealed)
    }

    /// Whether the call may have taken effect all the same.
    #[must_use]
    pub fn may_have_happened(self) -> bool {
        self.consequence() == Consequence::LookAndTryAgain
    }

    /// No `_` arm, so that a new kind has to answer.
    fn consequence(self) -> Consequence {
        use StoreErrorKind::*;
        match self {
            Throttled | Conflict | Damaged => Consequence::TryAgain,
            ServerFault | Timeout | Connection | LostUpload => Consequence::LookAndTryAgain,
            NoSuchBucket | AccessDenied | Credentials | WrongRegion | ClockSkew | Full | Archived => {
                Consequence::CallAPerson
            }
            Occupied
            | NoSuchObject
            | TooLarge { .. }
            | Sealed
            | Precondition
            | NotImplemented
            | Refused
            | Unsendable => Consequence::GiveUp,
        }
    }

    /// A short name for records and metrics. Kept stable: it is stored.
    #[must_use]
    pub fn code(self) -> &'static str {
        use StoreErrorKind::*;
        match self {
            NoSuchBucket => "store_no_bucket",
            AccessDenied => "store_denied",
            Credentials => "store_credentials",
            WrongRegion => "store_wrong_region",
            ClockSkew => "store_clock_skew",
            Full => "store_full",
            Throttled => "store_throttled",
            ServerFault => "store_fault",
            Timeout => "store_timeout",
            Connection => "store_connection",
            Conflict => "store_conflict",
            LostUpload => "store_lost_upload",
            Damaged => "store_damaged",
            Occupied => "store_occupied",
            NoSuchObject => "store_no_object",
            TooLarge { .. } => "store_too_large",
            Archived => "store_archived",
            Sealed => "store_sealed",
            Precondition => "store_precondition",
            NotImplemented => "store_not_implemented",
            Refused => "store_refused",
            Unsendable => "store_unsendable",
        }
    }
}

/// What a failure asks of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consequence {
    TryAgain,
    /// The call may have taken effect: look before trying again.
    LookAndTryAgain,
    CallAPerson,
    GiveUp,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CheckBucket => "be asked for the bucket",
            Self::Put => "take",
            Self::Head => "be asked about",
            Self::Get => "give",
            Self::Copy => "copy to",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Presign => "be linked to for",
        })
    }
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::TooLarge { bytes, bytes_max } => {
                return write!(f, "the object has {bytes} bytes or more, and {bytes_max} are allowed");
            }
            Self::NoSuchBucket => "the bucket does not exist",
            Self::AccessDenied => "access is denied",
            Self::Credentials => "the credentials are missing or not accepted",
            Self::WrongRegion => "the bucket is in another region",
            Self::ClockSkew => "this machine's clock is too far from the store's",
            Self::Full => "there is no room left",
            Self::Throttled => "it asks to slow down",
            Self::ServerFault => "it failed",
            Self::Timeout => "it did not answer in time",
            Self::Connection => "the connection failed",
            Self::Conflict => "another writer was at the same key",
            Self::LostUpload => "it no longer knows the upload in parts",
            Self::Damaged => "what arrived is not what was sent",
            Self::Occupied => "a different object stands at this key",
            Self::NoSuchObject => "the object is not there",
            Self::Archived => "the object lies in an archive class and has to be brought back first",
            Self::Sealed => "the object is encrypted with a key that only its writer has",
            Self::Precondition => "a condition did not hold",
            Self::NotImplemented => "it does not know how",
            Self::Refused => "it refused",
            Self::Unsendable => "the request cannot be put together",
        };
        f.write_str(text)
    }
}

fn speaks_of_encryption(message: &str) -> bool {
    message.to_ascii_lowercase().replace('-', " ").contains("server side encryption")
}

/// What an answer with an error status means: by the store's code first, by the status where there is no known code (a HEAD
/// has no body, so no code).
pub(super) fn classify(
    operation: Operation,
    status: u16,
    code: Option<&str>,
    message: Option<&str>,
) -> StoreErrorKind {
    use StoreErrorKind::*;
    let reads = matches!(operation, Operation::Get | Operation::Copy);
    match code.unwrap_or_default() {
        "NoSuchBucket" => NoSuchBucket,
        "NoSuchKey" => NoSuchObject,
        // Source: Amazon S3 API reference, GetObject and CopyObject.
        "InvalidObjectState" | "ObjectNotInActiveTierError" if reads => Archived,
        // Source: Amazon S3, whose message says so ("The object was stored using a form of Server Side Encryption. ..."). The code
        // alone stands for much else, also for what meets every object of a bucket.
        "InvalidRequest" if operation == Operation::Get && message.is_some_and(speaks_of_encryption) => {
            Sealed
        }
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "AuthorizationHeaderMalformed"
        | "InvalidSecurity" => Credentials,
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "Forbidden" => AccessDenied,
        "PermanentRedirect" | "TemporaryRedirect" | "IllegalLocationConstraintException" => WrongRegion,
        "RequestTimeTooSkewed" => ClockSkew,
        "QuotaExceeded" | "InsufficientStorage" | "XMinioStorageFull" | "QuotaExceededException" => Full,
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "ServiceUnavailable"
        | "TooManyRequests"
        | "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "Busy" => Throttled,
        "InternalError" | "InternalFailure" => ServerFault,
        "NoSuchUpload" => LostUpload,
        "RequestTimeout" => Timeout,
        "BadDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch" | "IncompleteBody" => {
            Damaged
        }
        "ConditionalRequestConflict" | "OperationAborted" => Conflict,
        "PreconditionFailed" => Precondition,
        "NotImplemented" => NotImplemented,
        _ => match status {
            301 | 307 => WrongRegion,
            401 => Credentials,
            403 => AccessDenied,
            404 if operation == Operation::CheckBucket => NoSuchBucket,
            404 => NoSuchObject,
            408 => Timeout,
            409 => Conflict,
            412 => Precondition,
            429 | 503 => Throttled,
            501 => NotImplemented,
            507 => Full,
            // Below 400: a refusal in the body of an answer that began as a success.
            ..=399 | 500..=599 => ServerFault,
            _ => Refused,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_of_a_store_has_its_meaning() {
        // Status, code; then the name, and whether to try again, to call a person, to look whether it happened.
        let cases = [
            (404, Some("NoSuchBucket"), "store_no_bucket", false, true, false),
            (403, Some("AccessDenied"), "store_denied", false, true, false),
            (403, None, "store_denied", false, true, false),
            (403, Some("InvalidAccessKeyId"), "store_credentials", false, true, false),
            (403, Some("SignatureDoesNotMatch"), "store_credentials", false, true, false),
            (400, Some("ExpiredToken"), "store_credentials", false, true, false),
            (401, None, "store_credentials", false, true, false),
            (301, Some("PermanentRedirect"), "store_wrong_region", false, true, false),
            (301, None, "store_wrong_region", false, true, false),
            (403, Some("RequestTimeTooSkewed"), "store_clock_skew", false, true, false),
            (507, None, "store_full", false, true, false),
            (503, Some("SlowDown"), "store_throttled", true, false, false),
            (503, None, "store_throttled", true, false, false),
            (429, None, "store_throttled", true, false, false),
            (500, Some("InternalError"), "store_fault", true, false, true),
            (200, Some("InternalError"), "store_fault", true, false, true),
            (200, Some("NeverSeenBefore"), "store_fault", true, false, true),
            (502, None, "store_fault", true, false, true),
            (400, Some("RequestTimeout"), "store_timeout", true, false, true),
            (404, Some("NoSuchUpload"), "store_lost_upload", true, false, true),
            (400, Some("BadDigest"), "store_damaged", true, false, false),
            (409, Some("ConditionalRequestConflict"), "store_conflict", true, false, false),
            (409, None, "store_conflict", true, false, false),
            (412, Some("PreconditionFailed"), "store_precondition", false, false, false),
            (412, None, "store_precondition", false, false, false),
            (501, Some("NotImplemented"), "store_not_implemented", false, false, false),
            (400, Some("InvalidRequest"), "store_refused", false, false, false),
            (404, Some("NoSuchKey"), "store_no_object", false, false, false),
            (404, None, "store_no_object", false, false, false),
        ];
        for (status, code, name, retryable, operator, happened) in cases {
            let kind = classify(Operation::Put, status, code, None);
            assert_eq!(
                (kind.code(), kind.is_retryable(), kind.needs_operator(), kind.may_have_happened()),
                (name, retryable, operator, happened),
                "{status} {code:?}"
            );
        }
        assert_eq!(classify(Operation::CheckBucket, 404, None, None), StoreErrorKind::NoSuchBucket);
    }

    #[test]
    fn what_lies_in_one_object_is_told_from_what_lies_in_the_way_to_it() {
        let sealed = "The object was stored using a form of Server Side Encryption. The correct parameters must be provided.";
        let of_get = |status, code| classify(Operation::Get, status, code, None);
        for operation in [Operation::Get, Operation::Copy] {
            let of = |code| classify(operation, 403, Some(code), None).lies_in_object();
            assert!(of("InvalidObjectState") && of("ObjectNotInActiveTierError"));
        }
        let invalid =
            |message| classify(Operation::Get, 400, Some("InvalidRequest"), Some(message)).lies_in_object();
        assert!(invalid(sealed) && invalid("needs server-side encryption headers"));
        assert!(!invalid("S3 Transfer Acceleration is not configured on this bucket"));
        assert!(!classify(Operation::Put, 403, Some("InvalidObjectState"), None).lies_in_object());
        assert!(StoreErrorKind::TooLarge { bytes: 2, bytes_max: 1 }.lies_in_object());
        for (status, code) in [
            (403, Some("AccessDenied")),
            (403, None),
            (400, Some("ExpiredToken")),
            (400, Some("KMS.DisabledException")),
            (400, None),
            (404, Some("NoSuchBucket")),
            (500, None),
        ] {
            assert!(!of_get(status, code).lies_in_object(), "{status} {code:?}");
        }
    }
}
