//! Chance, made once by `main` and handed down.

use std::sync::{Mutex, PoisonError};

use rand::{Rng, RngExt};

/// The process's random source, shared by its tasks.
pub struct Chance(Mutex<Box<dyn Rng + Send>>);

impl Chance {
    /// Shares `rng`.
    pub fn new(rng: Box<dyn Rng + Send>) -> Self {
        Self(Mutex::new(rng))
    }

    /// A number from 0 to 1 that places a wait inside its jitter.
    pub fn draw(&self) -> f64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random()
    }

    /// Eight characters that tell this start of a worker from every other: hosts and process ids repeat in containers.
    pub fn suffix(&self) -> String {
        const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let mut bits: u64 = self.0.lock().unwrap_or_else(PoisonError::into_inner).random();
        let mut suffix = String::with_capacity(8);
        for _ in 0..8 {
            suffix.push(char::from(LETTERS[(bits % 32) as usize]));
            bits /= 32;
        }
        suffix
    }
}

impl std::fmt::Debug for Chance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chance")
    }
}
