//! The connection: opening it, Redis's clock, nonces, and trying again while Redis is away.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use job::{Curve, Timestamp};
use rand::{Rng, RngExt};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Script, TlsCertificates, Value};
use tracing::{info, warn};

use crate::clock::RedisClock;
use crate::error::{ConnectError, QueueError};
use crate::reply::Reply;

/// How to reach Redis, and what to expect of it.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// `redis://` or `rediss://`, with user and password where needed.
    pub url: String,
    /// What all keys begin with. Default `imagemill`.
    pub namespace: String,
    /// How long an answer may take. Default 10 s: a busy disk under `appendfsync always` is no outage.
    pub response_timeout: Duration,
    /// How long a claim lasts without renewal. Default 10 s.
    pub lease: Duration,
    /// How many replicas must have a claim before its create is sent. Default 0: one Redis with `appendfsync always`.
    pub replicas: u32,
    /// How long they are waited for. Default 1 s: well within the 5 s in which a create may be sent.
    pub replica_wait: Duration,
    /// A CA in PEM for `rediss://`, where the system's are not to be used.
    pub ca_file: Option<std::path::PathBuf>,
}

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: "redis://127.0.0.1:6379".to_owned(),
            namespace: "imagemill".to_owned(),
            response_timeout: Duration::from_secs(10),
            lease: Duration::from_secs(10),
            replicas: 0,
            replica_wait: Duration::from_secs(1),
            ca_file: None,
        }
    }
}

/// The waits between tries while Redis is away.
const RETRY: Curve = Curve { first: Duration::from_millis(50), factor: 2.0, cap: Duration::from_secs(2) };

/// A connection that mends itself, and the clock on its other side.
pub(crate) struct Link {
    client: Client,
    manager: ConnectionManager,
    clock: RedisClock,
    rng: Mutex<Box<dyn Rng + Send>>,
    response_timeout: Duration,
}

impl Link {
    pub(crate) async fn open(
        settings: &RedisSettings,
        rng: Box<dyn Rng + Send>,
    ) -> Result<Self, ConnectError> {
        let client = match &settings.ca_file {
            None => Client::open(settings.url.as_str()),
            Some(path) => {
                let pem = std::fs::read(path)
                    .map_err(|source| ConnectError::CaFile { path: path.clone(), source })?;
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(pem) };
                Client::build_with_tls(settings.url.as_str(), certificates)
            }
        }
        .map_err(ConnectError::Url)?;
        let address = client.get_connection_info().addr().to_string();
        let unreachable = |source| ConnectError::Unreachable { address: address.clone(), source };
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(5)))
            .set_response_timeout(Some(settings.response_timeout))
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_secs(1))
            .set_number_of_retries(2);
        let mut manager = client.get_connection_manager_with_config(config).await.map_err(unreachable)?;
        let info: String =
            redis::cmd("INFO").arg("server").query_async(&mut manager).await.map_err(unreachable)?;
        if info.lines().any(|line| line.trim() == "redis_mode:cluster") {
            return Err(ConnectError::Cluster { address });
        }
        let sent = Instant::now();
        let (seconds, micros): (i64, i64) =
            redis::cmd("TIME").query_async(&mut manager).await.map_err(unreachable)?;
        let clock = RedisClock::new();
        clock.observe(seconds * 1_000_000 + micros, sent);
        Ok(Self { client, manager, clock, rng: Mutex::new(rng), response_timeout: settings.response_timeout })
    }

    /// Redis's time now, estimated from its last answer and our monotonic clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Takes note of Redis's time, in us, in the answer to a question sent at `sent`.
    pub(crate) fn observe(&self, time_us: i64, sent: Instant) {
        self.clock.observe(time_us, sent);
    }

    /// A number that names one call, so that its repetition is recognised.
    pub(crate) fn nonce(&self) -> String {
        format!("{:016x}", self.random())
    }

    pub(crate) fn random(&self) -> u64 {
        self.rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner).random()
    }

    /// A number from 0 to 1, for jitter.
    pub(crate) fn chance(&self) -> f64 {
        self.rng.lock().unwrap_or_else(std::sync::PoisonError::into_inner).random()
    }

    /// After how long an answer is overdue.
    pub(crate) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// Runs a script once. Its first item, where it stands alone, is Redis's time.
    pub(crate) async fn call(
        &self,
        call: &'static str,
        script: &Script,
        keys: &[&str],
        args: &[&str],
        time_at: TimeAt,
    ) -> Result<Reply, QueueError> {
        let mut invocation = script.prepare_invoke();
        for key in keys {
            invocation.key(*key);
        }
        for arg in args {
            invocation.arg(*arg);
        }
        let sent = Instant::now();
        let value: Value = invocation.invoke_async(&mut self.manager.clone()).await?;
        if let Some(time) = time_of(&value, time_at) {
            self.clock.observe(time, sent);
        }
        Reply::new(call, value)
    }

    /// Runs a plain command once.
    pub(crate) async fn query<T: redis::FromRedisValue>(
        &self,
        command: &redis::Cmd,
    ) -> Result<T, QueueError> {
        Ok(command.query_async(&mut self.manager.clone()).await?)
    }

    /// Runs a pipeline once.
    pub(crate) async fn pipeline<T: redis::FromRedisValue>(
        &self,
        pipeline: &redis::Pipeline,
    ) -> Result<T, QueueError> {
        Ok(pipeline.query_async(&mut self.manager.clone()).await?)
    }

    /// A connection of its own, for reads that block.
    pub(crate) async fn blocking_connection(&self) -> Result<redis::aio::MultiplexedConnection, QueueError> {
        self.connection(self.response_timeout + BLOCK).await
    }

    /// A connection of its own, whose answers may take this long.
    pub(crate) async fn connection(
        &self,
        response_timeout: Duration,
    ) -> Result<redis::aio::MultiplexedConnection, QueueError> {
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(5)))
            .set_response_timeout(Some(response_timeout));
        Ok(self.client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// Tries until Redis answers: what has been paid for must be written down, however long that takes.
    ///
    /// Only faults that may pass are tried again. Logs the first one and the end of the outage, not every try.
    pub(crate) async fn persist<T, F>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, QueueError>
    where
        F: Future<Output = Result<T, QueueError>>,
    {
        let mut tries = 0;
        loop {
            match attempt().await {
                Ok(value) => {
                    if tries > 0 {
                        info!(tries, "Redis answers again: {what} is done");
                    }
                    return Ok(value);
                }
                Err(error) if error.is_retryable() => {
                    if tries == 0 {
                        warn!(
                            error = &error as &dyn std::error::Error,
                            "Redis is away; {what} is tried until it is back"
                        );
                    }
                    tokio::time::sleep(RETRY.wait_with_jitter(tries, self.chance())).await;
                    tries = tries.saturating_add(1);
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// How long a blocking read waits for something new.
pub(crate) const BLOCK: Duration = Duration::from_secs(5);

/// Where a script's answer holds Redis's time.
#[derive(Clone, Copy)]
pub(crate) enum TimeAt {
    First,
    Second,
}

fn time_of(value: &Value, time_at: TimeAt) -> Option<i64> {
    let Value::Array(items) = value else { return None };
    match items.get(match time_at {
        TimeAt::First => 0,
        TimeAt::Second => 1,
    })? {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    }
}
