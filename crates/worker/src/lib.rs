#![doc = include_str!("../README.md")]

mod accounts;
pub mod adapters;
mod alone;
mod archive_step;
mod backlog;
mod budgets;
mod chance;
mod clock;
mod config;
mod created;
mod env;
mod extras;
mod idle;
mod keys_held;
mod leftovers;
mod listings;
mod permit;
mod place;
mod poll;
pub mod ports;
mod promote;
mod quotas;
mod release;
mod rescue;
mod restore;
mod rests;
mod retention;
mod run;
mod settle;
mod silence;
mod stages;
mod streaks;
mod submit;
mod sweep;
mod tally;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod wire;

pub use accounts::AccountChanges;
pub use accounts::reload::{ReloadError, Reloader, Reloads, reloads};
pub use chance::Chance;
pub use clock::{BootClock, Clock};
pub use config::{AccountConfig, Adopt, Ambiguous, ConfigError, InputTransport, SettleConfig, WorkerConfig};
pub use place::{OpenPlaces, Place, Places, UnknownPlace};
pub use run::{RunError, Surroundings, run};
pub use tally::Summary;
