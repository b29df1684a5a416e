//! The digest of an input: what tells one source from another, whatever its name.

use std::io::{self, BufRead, Read};

use sha2::{Digest, Sha256};

/// Reads through, and hashes what was read.
#[derive(Debug)]
pub(crate) struct Hashed<R> {
    input: R,
    hash: Sha256,
}

impl<R: BufRead> Hashed<R> {
    /// Begins.
    pub(crate) fn new(input: R) -> Self {
        Self { input, hash: Sha256::new() }
    }

    /// The first 32 hex digits of the SHA-256 of all that was read.
    pub(crate) fn digest(&self) -> String {
        self.hash.clone().finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl<R: BufRead> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let there = self.fill_buf()?;
        let read = there.len().min(into.len());
        into[..read].copy_from_slice(&there[..read]);
        self.consume(read);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Hashed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, read: usize) {
        // What was filled is there without asking the input again.
        if let Ok(there) = self.input.fill_buf() {
            self.hash.update(&there[..read.min(there.len())]);
        }
        self.input.consume(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_bytes_however_they_are_read() {
        let text = "one\ntwo\nthree";
        let mut by_lines = Hashed::new(text.as_bytes());
        let mut line = String::new();
        while by_lines.read_line(&mut line).unwrap() > 0 {}
        let mut by_bytes = Hashed::new(io::BufReader::with_capacity(3, text.as_bytes()));
        by_bytes.read_to_string(&mut String::new()).unwrap();
        assert_eq!(by_lines.digest(), by_bytes.digest());
        assert_eq!(by_lines.digest(), hex(text));
        assert_ne!(by_lines.digest(), Hashed::new(&b""[..]).digest());
    }

    fn hex(text: &str) -> String {
        Sha256::digest(text)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
