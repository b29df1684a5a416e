//! A bound on the image bytes that this process holds at once.
//!
//! A reservation is taken in one go and never grown. Growing in steps was considered and left out: several copies that
//! each hold a part and wait for more wait for one another for ever. A copy of unknown length therefore reserves the
//! most that an image may have, and gives back what it did not need as soon as its length is known.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The grain of a reservation, in bytes: a semaphore hands out at most `u32::MAX` permits in one go.
const GRAIN_BYTES: u64 = 4 * 1024;

/// A process-wide bound on image bytes in memory. Clones share it; waiting is first come, first served.
#[derive(Debug, Clone)]
pub struct ByteBudget {
    free: Arc<Semaphore>,
    total_grains: u32,
}

impl ByteBudget {
    /// A budget of `bytes`, rounded up to a grain of 4 KiB.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let total_grains = grains(bytes);
        Self { free: Arc::new(Semaphore::new(total_grains as usize)), total_grains }
    }

    /// Waits until `bytes` are free and takes them. Whoever asks for more than the whole budget gets the whole: one
    /// image must be able to pass, and its own size limit bounds it.
    pub async fn reserve(&self, bytes: u64) -> Reservation {
        let wanted = grains(bytes).min(self.total_grains);
        let permit = Arc::clone(&self.free)
            .acquire_many_owned(wanted)
            .await
            .expect("the semaphore is private to the budget, which never closes it");
        Reservation { permit }
    }

    /// The bytes nobody holds at this moment.
    #[must_use]
    pub fn free_bytes(&self) -> u64 {
        self.free.available_permits() as u64 * GRAIN_BYTES
    }

    /// The whole budget in bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        u64::from(self.total_grains) * GRAIN_BYTES
    }
}

/// Bytes taken from a [`ByteBudget`]; dropping it gives them back.
#[derive(Debug)]
#[must_use = "the bytes go back when the reservation is dropped"]
pub struct Reservation {
    permit: OwnedSemaphorePermit,
}

impl Reservation {
    /// Gives back what exceeds `bytes`. A reservation never grows.
    pub fn shrink_to(&mut self, bytes: u64) {
        let keep = grains(bytes) as usize;
        if let Some(excess) = self.permit.num_permits().checked_sub(keep) {
            drop(self.permit.split(excess));
        }
    }

    /// What is held, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.permit.num_permits() as u64 * GRAIN_BYTES
    }
}

fn grains(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(GRAIN_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn what_does_not_fit_waits_until_enough_is_given_back() {
        let budget = ByteBudget::new(100 * GRAIN_BYTES);
        let first = budget.reserve(60 * GRAIN_BYTES).now_or_never().unwrap();
        let mut second = Box::pin(budget.reserve(60 * GRAIN_BYTES));
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        assert_eq!(second.now_or_never().unwrap().bytes(), 60 * GRAIN_BYTES);
        assert_eq!(budget.free_bytes(), budget.total_bytes());
    }

    #[test]
    fn a_large_request_is_not_passed_by_later_small_ones() {
        let budget = ByteBudget::new(10 * GRAIN_BYTES);
        let held = budget.reserve(5 * GRAIN_BYTES).now_or_never().unwrap();
        let mut large = Box::pin(budget.reserve(8 * GRAIN_BYTES));
        assert!((&mut large).now_or_never().is_none());
        let mut small = Box::pin(budget.reserve(1));
        assert!((&mut small).now_or_never().is_none());
        drop(held);
        assert!(large.now_or_never().is_some());
    }

    #[test]
    fn more_than_the_whole_budget_takes_the_whole() {
        let budget = ByteBudget::new(8 * GRAIN_BYTES);
        let all = budget.reserve(u64::MAX).now_or_never().unwrap();
        assert_eq!((all.bytes(), budget.free_bytes()), (8 * GRAIN_BYTES, 0));
    }

    #[test]
    fn shrinking_gives_back_the_excess_and_never_grows() {
        let budget = ByteBudget::new(10 * GRAIN_BYTES);
        let mut held = budget.reserve(10 * GRAIN_BYTES).now_or_never().unwrap();
        held.shrink_to(GRAIN_BYTES + 1);
        assert_eq!((held.bytes(), budget.free_bytes()), (2 * GRAIN_BYTES, 8 * GRAIN_BYTES));
        held.shrink_to(5 * GRAIN_BYTES);
        assert_eq!(held.bytes(), 2 * GRAIN_BYTES);
    }
}
