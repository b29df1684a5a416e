//! Waiting on a condition, with a deadline.

use std::time::{Duration, Instant};

/// Asks until the answer is there, and fails with the last thing that was seen when `deadline` has passed.
///
/// # Panics
///
/// When the deadline has passed.
pub async fn eventually<T, S, F>(what: &str, deadline: Duration, mut look: impl FnMut() -> F) -> T
where
    S: std::fmt::Debug,
    F: Future<Output = Result<T, S>>,
{
    let started = Instant::now();
    loop {
        match look().await {
            Ok(value) => return value,
            Err(seen) if started.elapsed() > deadline => {
                panic!("after {deadline:?}, still waiting for {what}; last seen: {seen:#?}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
