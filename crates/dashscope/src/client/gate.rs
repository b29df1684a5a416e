//! The last moment before a paid request is on the wire.
//!
//! A request whose body comes through a [`GatedBody`] is written in this order: connection, head into a buffer, body, flush.
//! The body is asked for once a connection stands, and its answer decides: with the gate shut it fails, and the buffered
//! head is thrown away with the connection. So the gate's verdict is about the whole request, and whether it was passed tells,
//! after any failure, whether something may have been sent. Both sides of that question take one lock: a request given up on
//! cannot start later.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The caller decided at the last moment not to send. Nothing of the request was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotSent {
    /// Why, for people.
    pub reason: Cow<'static, str>,
}

impl NotSent {
    /// A refusal to send, with its reason.
    pub fn new(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reason: reason.into() }
    }
}

type Check = Box<dyn FnOnce() -> Result<(), NotSent> + Send>;

enum State {
    /// Nobody has asked for the body yet.
    Waiting(Check),
    /// The body was handed over: some of it may be on the wire.
    Passed,
    /// The caller's check refused.
    Refused(NotSent),
    /// Given up on before anybody asked for the body.
    Closed,
}

/// What became of a request, as far as this side can know.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing was sent, and nothing will be.
    Unsent,
    /// Nothing was sent, because the caller refused.
    Refused(NotSent),
    /// Something may have been sent.
    MaybeSent,
}

/// Closes itself when it is dropped, so that a call whose future is dropped sends nothing afterwards.
pub(super) struct Gate(Arc<Mutex<State>>);

impl Gate {
    pub(super) fn new(check: impl FnOnce() -> Result<(), NotSent> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(State::Waiting(Box::new(check)))))
    }

    /// A body that asks this gate before it hands itself over.
    pub(super) fn guard(&self, bytes: Bytes) -> GatedBody {
        GatedBody { state: Arc::clone(&self.0), bytes: Some(bytes) }
    }

    /// Shuts the gate for good and says what it knows.
    pub(super) fn close(&self) -> Fate {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Waiting(_) => {
                *state = State::Closed;
                Fate::Unsent
            }
            State::Closed => Fate::Unsent,
            State::Refused(reason) => Fate::Refused(reason.clone()),
            State::Passed => Fate::MaybeSent,
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close();
    }
}

/// A body of one known length and one piece, behind a [`Gate`].
pub(super) struct GatedBody {
    state: Arc<Mutex<State>>,
    bytes: Option<Bytes>,
}

impl GatedBody {
    fn pass(&self) -> Result<(), NotSent> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Closed while the check runs, and if it panics.
        match std::mem::replace(&mut *state, State::Closed) {
            State::Waiting(check) => match check() {
                Ok(()) => {
                    *state = State::Passed;
                    Ok(())
                }
                Err(reason) => {
                    *state = State::Refused(reason.clone());
                    Err(reason)
                }
            },
            other => {
                *state = other;
                Err(NotSent::new("the call was given up before it was sent"))
            }
        }
    }
}

impl Body for GatedBody {
    type Data = Bytes;
    type Error = NotSent;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Poll::Ready(self.bytes.take().map(|bytes| self.pass().map(|()| Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for the body as the HTTP stack does.
    fn poll(body: &mut GatedBody) -> Option<Result<Bytes, NotSent>> {
        match Pin::new(body).poll_frame(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(frame) => {
                frame.map(|frame| frame.map(|frame| frame.into_data().expect("a piece of data")))
            }
            Poll::Pending => panic!("the body never waits"),
        }
    }

    #[test]
    fn the_body_is_handed_over_once_and_then_may_have_been_sent() {
        let gate = Gate::new(|| Ok(()));
        let mut body = gate.guard("abc".into());
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(poll(&mut body), Some(Ok("abc".into())));
        assert!(body.is_end_stream());
        assert_eq!(poll(&mut body), None);
        assert_eq!(gate.close(), Fate::MaybeSent);
    }

    #[test]
    fn a_refusal_hands_nothing_over_and_is_remembered() {
        let gate = Gate::new(|| Err(NotSent::new("too late")));
        assert_eq!(poll(&mut gate.guard("abc".into())), Some(Err(NotSent::new("too late"))));
        assert_eq!(gate.close(), Fate::Refused(NotSent::new("too late")));
    }

    #[test]
    fn a_closed_gate_is_not_passed_and_does_not_ask() {
        let gate = Gate::new(|| panic!("nobody may ask"));
        let mut body = gate.guard("abc".into());
        assert_eq!(gate.close(), Fate::Unsent);
        assert!(poll(&mut body).is_some_and(|piece| piece.is_err()));
        assert_eq!(gate.close(), Fate::Unsent);
    }

    #[test]
    fn a_dropped_gate_is_a_closed_one() {
        let gate = Gate::new(|| Ok(()));
        let mut body = gate.guard("abc".into());
        drop(gate);
        assert!(poll(&mut body).is_some_and(|piece| piece.is_err()));
    }

    #[test]
    fn a_check_that_panics_sends_nothing() {
        let gate = Gate::new(|| panic!("on purpose"));
        let mut body = gate.guard("abc".into());
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut body))).is_err());
        assert_eq!(gate.close(), Fate::Unsent);
    }
}
