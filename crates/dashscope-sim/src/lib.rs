#![doc = include_str!("../README.md")]

mod clock;
mod config;
mod draw;
mod fault;
mod latency;
mod ledger;
mod limiter;
mod link;
mod model;
mod picture;
mod refusal;
mod server;
mod simulator;
mod validate;
mod wire;
mod world;

pub use clock::{Clock, FrozenClock, SystemClock};
pub use config::{BySize, Config, ConfigError, Durations, Key, Limits, ModelLimits, Pictures, Retention};
pub use fault::{Act, ContentLength, Fault, FaultError, On, When, faults_from_json, faults_from_toml};
pub use latency::Latency;
pub use ledger::{FaultEntry, Ledger, ModelEntry, Requests, TaskEntry, Throttled, Totals, Violations};
pub use model::Model;
pub use simulator::{Faults, Simulator, StartError};
