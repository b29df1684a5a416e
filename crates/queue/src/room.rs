//! How many claims a stage may hold at once: a number that may change while it works.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for claims. Clones share it.
#[derive(Debug, Clone)]
pub struct Room {
    free: Arc<Semaphore>,
    size: Arc<Mutex<Size>>,
}

#[derive(Debug)]
struct Size {
    /// How many there may be.
    now: usize,
    /// How many too many are held: so many of them give no room when they are given back.
    owed: usize,
}

impl Room {
    /// Room for so many, at least one.
    pub(crate) fn new(size: usize) -> Self {
        let size = size.max(1);
        let free = Arc::new(Semaphore::new(size));
        Self { free, size: Arc::new(Mutex::new(Size { now: size, owed: 0 })) }
    }

    /// From now on there is room for so many, at least one. What is held beyond that is not taken away.
    pub fn resize(&self, size: usize) {
        let size = size.max(1);
        let mut known = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        if size > known.now {
            let more = size - known.now;
            let settled = more.min(known.owed);
            known.owed -= settled;
            self.free.add_permits(more - settled);
        } else {
            let less = known.now - size;
            known.owed += less - self.free.forget_permits(less);
        }
        known.now = size;
    }

    /// Waits for room. `None`: the stage is gone.
    pub(crate) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            let permit = self.free.clone().acquire_owned().await.ok()?;
            if let Some(permit) = self.unless_owed(permit) {
                return Some(permit);
            }
        }
    }

    /// Room, if there is some now.
    pub(crate) fn try_take(&self) -> Option<OwnedSemaphorePermit> {
        loop {
            let permit = self.free.clone().try_acquire_owned().ok()?;
            if let Some(permit) = self.unless_owed(permit) {
                return Some(permit);
            }
        }
    }

    fn unless_owed(&self, permit: OwnedSemaphorePermit) -> Option<OwnedSemaphorePermit> {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        if size.owed == 0 {
            return Some(permit);
        }
        size.owed -= 1;
        permit.forget();
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_held_beyond_a_smaller_room_gives_none_when_it_comes_back() {
        let room = Room::new(4);
        let mut held: Vec<_> = std::iter::from_fn(|| room.try_take()).collect();
        assert_eq!(held.len(), 4);
        room.resize(2);
        held.truncate(2);
        assert!(room.try_take().is_none(), "two are held, and there is room for two");
        held.pop();
        assert!(room.try_take().is_some());
    }

    proptest! {
        #[test]
        fn never_are_more_handed_out_than_there_is_room_for(steps in prop::collection::vec((0u8..3, 1usize..12), 1..200)) {
            let (room, mut held, mut size) = (Room::new(3), Vec::new(), 3);
            for (step, number) in steps {
                match step {
                    0 => {
                        let before = held.len();
                        held.extend(room.try_take());
                        prop_assert!(held.len() == before || held.len() <= size);
                        prop_assert!(held.len() > before || before >= size, "{before} of {size} are held, and there is no room");
                    }
                    1 => held.truncate(held.len().saturating_sub(number)),
                    _ => {
                        room.resize(number);
                        size = number;
                    }
                }
            }
        }
    }
}
