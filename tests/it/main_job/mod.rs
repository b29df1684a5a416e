//! The main job through the built binary: a real Redis, a real S3 server, the simulator.

mod accounts;
mod bad_input;
mod batch_files;
mod budgets;
mod cancel;
mod commands;
mod crashes;
mod demo;
mod expiry;
mod failures;
mod namespaces;
mod poison;
mod programs;
mod redis_faults;
mod refresh;
mod reload;
mod replicas;
mod results;
mod retries;
mod settling;
mod sheet;
mod shutdown;
mod throttling;
mod trials;
mod webhooks;
mod whole;
