//! How the queue's twin goes back in time, and how that is noticed: `claim_submit.lua` and `recover.lua`.

use std::time::Duration;

use job::Timestamp;

use super::{LEASE, TwinQueue, until};

/// What the queue knows of its own past.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lineage {
    /// Counts claims for submit.
    claims: u64,
    /// Its incarnation; the nonce of who named it.
    word: Option<u64>,
    /// Until when nothing is claimed for submit.
    held: Option<Timestamp>,
    /// The same, of the last recovery.
    recovering: Option<Timestamp>,
    /// The start of the server in which it was last claimed from.
    run: Option<u32>,
}

/// What a worker has seen of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seen {
    claims: u64,
    word: Option<u64>,
}

impl Lineage {
    /// Why nothing may be claimed for submit now: for how long, if that is known.
    pub(crate) fn holds_back(&mut self, seen: Seen, run: u32, now: Timestamp) -> Option<Option<Duration>> {
        if self.is_older(seen) {
            return Some(None);
        }
        if self.run.is_some_and(|known| known != run) {
            self.run = Some(run);
            self.held = self.held.max(Some(now + LEASE));
        }
        self.held.filter(|held| *held > now).map(|held| Some(until(now, held)))
    }

    /// Counts a claim.
    pub(crate) fn count(&mut self, nonce: u64, run: u32) {
        self.claims += 1;
        self.word.get_or_insert(nonce);
        self.run.get_or_insert(run);
    }

    pub(crate) fn is_older(&self, seen: Seen) -> bool {
        self.claims < seen.claims || (seen.word.is_some() && self.word != seen.word)
    }

    /// A worker has written down again what it knows. Whether it is the first to say so, and until when nothing is claimed.
    pub(crate) fn recover(
        &mut self,
        seen: Seen,
        nonce: u64,
        hold: Duration,
        now: Timestamp,
    ) -> (bool, Timestamp) {
        let over = self.recovering.is_none_or(|until| until <= now);
        let first = self.word.is_none() || (self.claims < seen.claims && over);
        self.claims = self.claims.max(seen.claims);
        if first {
            (self.word, self.held, self.recovering) = (Some(nonce), Some(now + hold), Some(now + hold));
        }
        (first, self.held.unwrap_or(now))
    }
}

impl Seen {
    /// Takes note of an answer; an incarnation that is known is replaced by a recovery only.
    pub(crate) fn note(&mut self, lineage: &Lineage) {
        self.claims = self.claims.max(lineage.claims);
        self.word = self.word.or(lineage.word);
    }

    pub(crate) fn accept(&mut self, lineage: &Lineage) {
        (self.claims, self.word) = (self.claims.max(lineage.claims), lineage.word);
    }
}

impl TwinQueue {
    /// Copies everything, for a later [`Self::restore`].
    pub(crate) fn copy(&self) {
        let copy = self.store().clone();
        *self.copy.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(copy);
    }

    /// Starts anew from the last copy.
    pub(crate) fn restore(&self) {
        let copy = self.copy.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(mut copy) = copy {
            let mut store = self.store();
            // What the run has seen is not the queue's to forget, and no nonce, and no start, comes twice.
            copy.timeline = std::mem::take(&mut store.timeline);
            (copy.nonces, copy.run) = (store.nonces, store.run);
            *store = copy;
        }
        self.restart();
    }

    /// Starts anew with all that it had.
    pub(crate) fn restart(&self) {
        self.store().run += 1;
        self.ring();
    }
}
