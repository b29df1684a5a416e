//! Calls to a Redis that is away for a while, for those who put jobs in: they can be told, and come again.
//!
//! What has been paid for is written down with [`crate::link::Link::persist`] instead, however long that takes.

use std::time::Duration;

use job::Curve;
use tokio::time::Instant;

/// The waits between tries while Redis is away, and for how long tries are begun: counted by the clock, since a call to a Redis that hangs
/// takes longer than a wait. Source: ours; a restart with a large append-only file takes less.
const RETRY: Curve = Curve { first: Duration::from_millis(100), factor: 2.0, cap: Duration::from_secs(5) };
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls until it works, as long as trying again may help and a minute has not passed. `chance` places the waits inside their jitter.
pub async fn patiently<T, E, F: Future<Output = Result<T, E>>>(
    chance: f64,
    mut call: impl FnMut() -> F,
    retryable: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let (began, mut step) = (Instant::now(), 0);
    loop {
        match call().await {
            Err(error) if retryable(&error) && began.elapsed() < PATIENCE => {
                tokio::time::sleep(RETRY.wait_with_jitter(step, chance)).await;
                step += 1;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// How often a call was made that fails with `error` the first `failures` times, and what came of it.
    async fn calls(failures: u32, error: &'static str) -> (u32, Result<(), &'static str>) {
        let made = Cell::new(0);
        let call = || {
            made.set(made.get() + 1);
            let fails = made.get() <= failures;
            async move { if fails { Err(error) } else { Ok(()) } }
        };
        let result = patiently(1.0, call, |error| *error == "away").await;
        (made.get(), result)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_repeated_while_redis_is_away_and_no_longer_than_patience_lasts() {
        assert_eq!(calls(3, "away").await, (4, Ok(())));
        let (made, result) = calls(u32::MAX, "away").await;
        assert_eq!(result, Err("away"));
        assert!((10..40).contains(&made), "{made}");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_hang_are_counted_into_the_time_for_which_redis_is_waited_for() {
        let (began, made) = (Instant::now(), Cell::new(0));
        let call = || {
            made.set(made.get() + 1);
            async {
                tokio::time::sleep(Duration::from_secs(20)).await;
                Err::<(), _>("away")
            }
        };
        patiently(1.0, call, |_| true).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(90), "{:?}", began.elapsed());
        assert_eq!(made.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_refused_is_not_repeated() {
        assert_eq!(calls(1, "refused").await, (1, Err("refused")));
    }
}
