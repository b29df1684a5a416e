//! What can go wrong with the store, and what it means for the caller.

use std::{error::Error, fmt};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId,
};

use super::kind::{Operation, StoreErrorKind, classify};
use crate::cause::Cause;

/// A call to the store failed for good, after the SDK's own few tries.
///
/// Its text never holds a credential, a signature or a signed link.
#[derive(Debug)]
pub struct StoreError(Box<Details>);

/// Boxed, so that a `Result` with this error stays small.
#[derive(Debug)]
struct Details {
    operation: Operation,
    key: Option<String>,
    kind: StoreErrorKind,
    status: Option<u16>,
    /// The store's own code, such as `SlowDown`.
    store_code: Option<String>,
    request_id: Option<String>,
    cause: Option<Cause>,
}

impl StoreError {
    pub(crate) fn new(operation: Operation, key: Option<&str>, kind: StoreErrorKind) -> Self {
        Self(Box::new(Details {
            operation,
            key: key.map(str::to_owned),
            kind,
            status: None,
            store_code: None,
            request_id: None,
            cause: None,
        }))
    }

    pub(crate) fn with_cause(mut self, cause: Cause) -> Self {
        self.0.cause = Some(cause);
        self
    }

    /// Takes what matters out of an error of the SDK.
    pub(crate) fn of_sdk<E>(
        operation: Operation,
        key: Option<&str>,
        error: &SdkError<E, HttpResponse>,
    ) -> Self
    where
        E: Error + ProvideErrorMetadata + 'static,
        SdkError<E, HttpResponse>: RequestId,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let store_code = error.code().map(str::to_owned);
        let kind = match error {
            _ if chain_has_credentials_error(error) => StoreErrorKind::Credentials,
            SdkError::ConstructionFailure(_) => StoreErrorKind::Unsendable,
            SdkError::TimeoutError(_) => StoreErrorKind::Timeout,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => StoreErrorKind::Timeout,
            SdkError::DispatchFailure(failure) if failure.is_user() => StoreErrorKind::Unsendable,
            SdkError::DispatchFailure(_) => StoreErrorKind::Connection,
            SdkError::ResponseError(_) => StoreErrorKind::ServerFault,
            _ => classify(operation, status.unwrap_or(0), store_code.as_deref(), error.message()),
        };
        Self(Box::new(Details {
            operation,
            key: key.map(str::to_owned),
            kind,
            status,
            store_code,
            request_id: error.request_id().map(str::to_owned),
            // An answer says it best itself; below it are only the layers of the SDK.
            cause: Some(error.message().map_or_else(|| Cause::of(error), Cause::text)),
        }))
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.0.kind
    }

    /// The store's name for the request, for its operator.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// Whether the same call could succeed later without anybody's doing.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.kind().is_retryable()
    }

    /// Whether a person has to act before the same call can succeed. Unless it [lies in the object](Self::lies_in_object), the store
    /// as a whole is out of order: no single object is to blame, and all work that needs the store should wait.
    #[must_use]
    pub fn needs_operator(&self) -> bool {
        self.kind().needs_operator()
    }

    /// Whether it lies in the object that was to be read, and not in the way to it.
    #[must_use]
    pub fn lies_in_object(&self) -> bool {
        self.kind().lies_in_object()
    }

    /// Whether it would most likely meet a call for any other object as well: the store is away, or refuses us.
    #[must_use]
    pub fn lies_in_store(&self) -> bool {
        (self.is_retryable() || self.needs_operator()) && !self.lies_in_object()
    }

    /// Whether the call may have taken effect all the same.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        self.kind().may_have_happened()
    }

    /// A short name for records and metrics. Kept stable: it is stored.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind().code()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { operation, key, kind, status, store_code, .. } = &*self.0;
        write!(f, "the store could not {operation}")?;
        if let Some(key) = key {
            write!(f, " `{key}`")?;
        }
        write!(f, ": {kind}")?;
        match (status, store_code) {
            (Some(status), Some(code)) => write!(f, " (status {status}, {code})"),
            (Some(status), None) => write!(f, " (status {status})"),
            (None, _) => Ok(()),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_ref().map(|cause| cause as _)
    }
}

fn chain_has_credentials_error(error: &(dyn Error + 'static)) -> bool {
    let mut level = Some(error);
    while let Some(current) = level {
        if current.is::<CredentialsError>() {
            return true;
        }
        level = current.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_as_one_sentence_and_its_cause_follows() {
        let error = StoreError::new(Operation::Put, Some("b/1/0.png"), StoreErrorKind::Throttled)
            .with_cause(Cause::text("please reduce your request rate"));
        assert_eq!(error.to_string(), "the store could not take `b/1/0.png`: it asks to slow down");
        assert_eq!(error.source().unwrap().to_string(), "please reduce your request rate");
    }
}
