//! The crate against servers on loopback that do as they please.

#![expect(clippy::unwrap_used, reason = "what a test builds on must stop it when it fails")]

mod archiver;
mod download;
mod objects;
mod support;
mod uploads;
