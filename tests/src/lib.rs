//! Servers and helpers for the tests and the evidence runs: a real Redis, a real S3 server, the built binary.
//!
//! Every server listens on 127.0.0.1, on a free port, in a temporary directory, and is stopped by its own process id when its
//! handle is dropped, also when a test fails.

mod audit;
mod binary;
pub mod dying;
mod least_late;
mod process;
mod proxy;
mod redis_server;
mod seaweed;
mod tools;
mod wait;
pub mod workload;
mod world;

pub use audit::audit;
pub use binary::{Imagemill, Output, Running};
pub use least_late::least_late;
pub use process::{Process, free_port};
pub use proxy::LossyProxy;
pub use redis_server::{Fsync, RedisServer};
pub use seaweed::SeaweedFs;
pub use tools::tool;
pub use wait::eventually;
pub use world::{Checked, World};
