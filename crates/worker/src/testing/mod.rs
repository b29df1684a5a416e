//! What stands in for Redis, DashScope and S3 in tests.
//!
//! `fakes` do what they are told, for tests of single steps. The twins live: a whole worker runs on them in virtual time, over
//! and over, with faults at every place; [`sweep`] drives that, and [`conformance`] says what twins and real adapters have in common.

mod bucket;
pub mod conformance;
#[cfg(test)]
mod fakes;
mod fault;
mod leases;
mod process;
mod provider;
mod queue;
pub mod sweep;
mod time;
mod worker;

#[cfg(test)]
pub(crate) use self::fakes::*;
