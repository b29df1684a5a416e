//! The handle on a running simulator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::{Clock, SimClock, SystemClock};
use crate::config::{Config, ConfigError};
use crate::fault::{Fault, FaultError};
use crate::ledger::{FaultEntry, Ledger};
use crate::server::{API, Service, run};

/// A simulator that serves on a port of this machine until it is shut down or dropped.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use dashscope_sim::{Config, Simulator};
///
/// let sim = Simulator::start(Config { seed: 7, ..Config::default() }).await?;
/// assert!(sim.base_url().starts_with("http://127.0.0.1:"));
/// assert_eq!(sim.ledger().totals.tasks_created, 0);
/// sim.shutdown().await;
/// # Ok::<(), dashscope_sim::StartError>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Simulator {
    service: Arc<Service>,
    address: SocketAddr,
    serving: JoinHandle<()>,
    stop: DropGuard,
}

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings contradict themselves.
    #[error("the settings are refused")]
    Config {
        /// The reason.
        #[from]
        source: ConfigError,
    },
    /// The port cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where it was to listen.
        address: SocketAddr,
        /// The reason.
        source: std::io::Error,
    },
}

impl Simulator {
    /// Starts on the machine's own time.
    ///
    /// # Errors
    /// If the settings are refused or the port cannot be had.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        Self::start_with_clock(config, SystemClock::start()).await
    }

    /// Starts on the time of `clock`.
    ///
    /// # Errors
    /// If the settings are refused or the port cannot be had.
    pub async fn start_with_clock(config: Config, clock: impl Clock) -> Result<Self, StartError> {
        config.check()?;
        let address = config.listen;
        let failed = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();
        let clock = SimClock::new(Box::new(clock));
        let service = Arc::new(Service::new(config, clock, address, stop.clone()));
        let serving = tokio::spawn(run(listener, Arc::clone(&service), stop.clone()));
        tracing::info!(%address, seed = service.config.seed, "The simulator listens on {address}");
        Ok(Self { service, address, serving, stop: stop.drop_guard() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client takes for the API's base: `http://127.0.0.1:PORT/api/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}{API}", self.address)
    }

    /// Everything that was created, billed, asked for and refused so far, every task included.
    pub fn ledger(&self) -> Ledger {
        self.snapshot(true)
    }

    /// The same without the list of tasks: quick, however many there are.
    pub fn totals(&self) -> Ledger {
        self.snapshot(false)
    }

    /// The scripted faults.
    pub fn faults(&self) -> Faults<'_> {
        Faults { service: &self.service }
    }

    /// The simulator's time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.service.clock.now_ms()).unwrap_or(Timestamp::MAX)
    }

    /// Moves the simulator's time on: tasks run, links and tasks expire.
    pub fn advance_clock(&self, step: Duration) {
        self.service.clock.advance(step);
    }

    /// Sets how far the simulator's time is ahead. It never goes back: a smaller offset than the present one is ignored.
    pub fn set_clock_offset(&self, offset: Duration) {
        self.service.clock.set_offset(offset);
    }

    /// Stops serving, and returns when the port is free. Calls that wait are cut off.
    pub async fn shutdown(self) {
        drop(self.stop);
        if let Err(error) = self.serving.await {
            tracing::warn!(%error, "The simulator's server ended badly");
        }
    }

    fn snapshot(&self, with_tasks: bool) -> Ledger {
        let mut world = self.service.world();
        world.advance(self.service.clock.now_ms());
        world.ledger(with_tasks)
    }
}

/// The faults of a running simulator.
pub struct Faults<'a> {
    service: &'a Service,
}

impl Faults<'_> {
    /// Puts one more behind the present ones.
    ///
    /// # Errors
    /// If it cannot happen where it was put.
    pub fn add(&self, fault: Fault) -> Result<(), FaultError> {
        fault.check()?;
        self.service.world().faults.extend(vec![fault]);
        Ok(())
    }

    /// Puts these in place of the present ones. Counts begin anew.
    ///
    /// # Errors
    /// If one of them cannot happen where it was put; then nothing changes.
    pub fn replace(&self, faults: Vec<Fault>) -> Result<(), FaultError> {
        faults.iter().try_for_each(Fault::check)?;
        self.service.world().faults.replace(faults);
        Ok(())
    }

    /// Ends all faults.
    pub fn clear(&self) {
        self.service.world().faults.replace(Vec::new());
    }

    /// How often each came into question and struck, in the order of the script.
    pub fn report(&self) -> Vec<FaultEntry> {
        self.service.world().faults.report()
    }
}
