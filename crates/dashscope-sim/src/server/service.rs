//! What all handlers share: settings, the world, the clock, the pictures.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::HeaderMap;
use http::header::HOST;
use tokio_util::sync::CancellationToken;

use super::keys::{self, Caller};
use crate::clock::SimClock;
use crate::config::Config;
use crate::picture::Gallery;
use crate::refusal::Refusal;
use crate::world::{TaskIndex, World};

/// Longest single wait for a task; the world is asked again after it.
const WAIT_MAX_MS: i64 = 60_000;

pub(crate) struct Service {
    pub(crate) config: Arc<Config>,
    pub(crate) clock: SimClock,
    pub(super) gallery: Gallery,
    /// How many pictures may be made at once: painting a large one takes a core for some hundred milliseconds.
    pub(super) painters: tokio::sync::Semaphore,
    pub(super) stop: CancellationToken,
    local: SocketAddr,
    world: Mutex<World>,
}

impl Service {
    pub(crate) fn new(config: Config, clock: SimClock, local: SocketAddr, stop: CancellationToken) -> Self {
        let config = Arc::new(config);
        let world = World::new(Arc::clone(&config), clock.now_ms());
        let gallery = Gallery::new(config.pictures.bytes_per_pixel);
        let painters = tokio::sync::Semaphore::new(2);
        Self { config, clock, gallery, painters, stop, local, world: Mutex::new(world) }
    }

    /// The world, to be held for one decision and never across a wait.
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("the world's lock is never held across a panic")
    }

    /// Whose key a call carries.
    pub(super) fn caller(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let caller = keys::caller(&self.config, headers);
        if caller.is_err() {
            self.world().violations.bad_key += 1;
        }
        caller
    }

    /// Refuses the async header where it does not belong. Source: Model Studio, "Manage asynchronous tasks", and issue
    /// threads of several clients: a query that carries it is answered with 403.
    pub(super) fn refuse_async_header(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if headers.contains_key("x-dashscope-async") {
            self.world().violations.async_header_misplaced += 1;
            return Err(Refusal::async_header_misplaced());
        }
        Ok(())
    }

    /// Scheme and host for links, as the client sees this listener.
    pub(super) fn origin(&self, headers: &HeaderMap) -> String {
        if let Some(url) = &self.config.public_url {
            return url.trim_end_matches('/').to_owned();
        }
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).filter(|host| !host.is_empty());
        host.map_or_else(|| format!("http://{}", self.local), |host| format!("http://{host}"))
    }

    /// Waits for a task to end. False if the simulator stops first.
    pub(super) async fn until_final(&self, index: TaskIndex) -> bool {
        let mut moves = self.clock.moves();
        loop {
            let now_ms = self.clock.now_ms();
            let wait_ms = {
                let mut world = self.world();
                world.advance(now_ms);
                if world.task(index).state.is_final() {
                    return true;
                }
                world.next_ms().map_or(WAIT_MAX_MS, |at_ms| at_ms - now_ms).clamp(1, WAIT_MAX_MS)
            };
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(wait_ms.unsigned_abs())) => {}
                _ = moves.changed() => {}
                () = self.stop.cancelled() => return false,
            }
        }
    }

    /// Waits in real time, unless the simulator stops.
    pub(super) async fn pause(&self, ms: u64) {
        if ms > 0 {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(ms)) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }
}
