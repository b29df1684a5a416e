//! One heavy test at a time.
//!
//! Tests of one binary run side by side, and a test that starts a dozen processes, or that holds a time against a bound, must not
//! share the machine with another of its kind.

use tokio::sync::{Mutex, MutexGuard};

static ONE: Mutex<()> = Mutex::const_new(());

/// Waits until no other heavy test runs; the next one begins when this is dropped.
pub async fn heavy() -> MutexGuard<'static, ()> {
    ONE.lock().await
}
