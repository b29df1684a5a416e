//! Servers and helpers for the tests and the evidence runs: a real Redis, a real S3 server, the built binary.
//!
//! Every server listens on 127.0.0.1, on a free port, in a temporary directory, and is stopped by its own process id when its
//! handle is dropped, also when a test fails.

mod audit;
mod binary;
pub mod dying;
mod fleet;
mod haste;
mod heavy;
mod held;
mod least_late;
mod logs;
mod moved;
mod process;
mod proxy;
mod redis_server;
mod report;
mod seaweed;
mod tools;
pub mod trials;
mod wait;
pub mod workload;
mod world;

pub use audit::audit;
pub use binary::{Imagemill, Output, Running};
pub use fleet::{Fleet, Kill, Member, wall_now};
pub use haste::Haste;
pub use heavy::heavy;
pub use held::{Resolved, resolve_all};
pub use least_late::least_late;
pub use logs::{Line, Step, WorkerLog, secrets};
pub use moved::{Moved, moved};
pub use process::{Process, free_port};
pub use proxy::{CuttingProxy, LossyProxy};
pub use redis_server::{Fsync, RedisServer};
pub use report::{Report, quantile};
pub use seaweed::{SeaweedFs, put_over};
pub use tools::tool;
pub use wait::eventually;
pub use world::{Checked, World};
