//! The simulator over HTTP: every endpoint, every fault, the same output for the same seed.

#![expect(clippy::unwrap_used, reason = "what tests call may panic as the tests do")]

mod bench;
mod binary;
mod controls;
mod determinism;
mod faults;
mod inputs;
mod limits;
mod result_faults;
mod results;
mod tasks;
