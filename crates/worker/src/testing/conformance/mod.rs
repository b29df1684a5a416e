//! What stands behind a port must do, as statements that twins and real adapters are held against alike.
//!
//! A twin that is kinder than the real thing would make every run on it worthless. So each statement is a function of a bench,
//! which a twin and an adapter both provide: `crates/worker/tests/conformance.rs` runs them on the twins, `tests/it/conformance.rs`
//! on Redis, the simulator and a real S3 server. A statement that does not hold panics.

mod api;
mod archive;
mod jobs;
mod twins;

use futures::future::BoxFuture;

pub use self::api::{API, ApiBench};
pub use self::archive::{ARCHIVE, ArchiveBench};
pub use self::jobs::{JOBS, JobsBench, PICTURES, rules};
pub use self::twins::{twin_api, twin_archive, twin_jobs};

/// A statement about what stands behind a bench, with its name.
pub type Statement<B> = (&'static str, for<'a> fn(&'a B) -> BoxFuture<'a, ()>);

/// A list of statements, from their functions.
macro_rules! statements {
    ($($name:ident),* $(,)?) => {
        &[$((stringify!($name), |bench| Box::pin($name(bench)))),*]
    };
}
use statements;
