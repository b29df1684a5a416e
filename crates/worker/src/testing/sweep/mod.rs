//! The fault sweep: whole lives of jobs, with real steps, in virtual time, under one fault after the other.
//!
//! A [`Row`] is a fault; a seed decides everything else: how many jobs, how long their tasks take, how late the provider's list
//! is, at which passing the fault happens. [`run()`] plays it, and judges by what a user cares for: every job is at its end or held,
//! every image of it is in the bucket, nothing was paid twice, nothing is unknown that was paid.

mod coverage;
mod matrix;
mod rows;
mod run;
mod setup;
mod verdict;

pub use self::coverage::legal_pairs;
pub use self::matrix::Matrix;
pub use self::rows::{Allow, Row, rows};
pub use self::run::{Run, run};
pub use self::verdict::Verdict;
