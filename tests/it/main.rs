//! One binary for all tests that need real servers: a second one would be linked, and wait, again.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

mod architecture;
mod bench;
mod conformance;
mod main_job;
mod official_sdk;
mod queue;
