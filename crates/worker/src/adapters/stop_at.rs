//! A worker that stops itself at a place, for tests of what a pause of its process does.

use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::{Signal, getpid, kill_process};

use crate::place::{Place, Places, UnknownPlace};

/// How long the thread that stops its process waits for that to happen. Source: ours; it takes microseconds, and some milliseconds
/// where every core is taken.
const SIGNAL_ARRIVES: Duration = Duration::from_millis(100);

/// Stops the whole process (SIGSTOP) at the n-th passing of a place, once. Who started it wakes it up (SIGCONT).
#[derive(Debug)]
pub struct StopAt {
    place: Place,
    passings_left: AtomicU32,
}

/// Not a place to stop at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStop {
    /// The place.
    #[error(transparent)]
    Place(#[from] UnknownPlace),
    /// The number.
    #[error("`{0}` is not a number of passings from 1 on")]
    Number(String),
}

impl FromStr for StopAt {
    type Err = InvalidStop;

    /// `before_send`, or `before_send:3` for the third passing.
    fn from_str(text: &str) -> Result<Self, InvalidStop> {
        let (place, number) = text.split_once(':').unwrap_or((text, "1"));
        let passings = number.parse().ok().filter(|passings| *passings > 0);
        let passings = passings.ok_or_else(|| InvalidStop::Number(number.to_owned()))?;
        Ok(Self { place: place.parse()?, passings_left: AtomicU32::new(passings) })
    }
}

impl StopAt {
    /// Counts a passing; whether it is the one to stop at.
    fn is_due(&self, place: Place) -> bool {
        let count = |left: u32| left.checked_sub(1);
        place == self.place
            && self.passings_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) == Ok(1)
    }
}

#[async_trait]
impl Places for StopAt {
    async fn pass(&self, place: Place) {
        if self.is_due(place) {
            tracing::warn!("This worker stops itself at {place}, as it was told");
            if let Err(error) = kill_process(getpid(), Signal::STOP) {
                tracing::error!("It cannot: {error}");
            }
            // The kernel may hand the signal to another thread, and this one would go on until that one wakes up: on a busy
            // machine long enough to write down what was to be late.
            std::thread::sleep(SIGNAL_ARRIVES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_due_once_at_the_named_passing_of_its_place() {
        let stop: StopAt = "answered:2".parse().unwrap();
        let passings = [Place::Answered, Place::BeforeSend, Place::Answered, Place::Answered];
        assert_eq!(passings.map(|place| stop.is_due(place)), [false, false, true, false]);
    }

    #[test]
    fn what_is_no_place_or_number_is_refused() {
        assert!(matches!("nowhere".parse::<StopAt>(), Err(InvalidStop::Place(_))));
        for number in ["0", "x", "-1", ""] {
            let stop = format!("answered:{number}").parse::<StopAt>();
            assert!(matches!(stop, Err(InvalidStop::Number(_))), "{number}");
        }
    }
}
