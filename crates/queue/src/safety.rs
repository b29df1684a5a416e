//! Whether this Redis keeps what it accepts.

use std::collections::HashMap;

use tracing::warn;

use crate::Queue;
use crate::error::{QueueError, UnsafeRedis};

/// What a Redis says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Changes with every start of the server.
    pub run_id: String,
    /// Such as `7.0.15`.
    pub version: String,
    /// Memory in use.
    pub used_memory_bytes: u64,
    /// The limit, where one is set.
    pub maxmemory_bytes: Option<u64>,
    /// Such as `noeviction`.
    pub maxmemory_policy: String,
    /// Whether the append-only file is on. While it is being loaded, Redis says that it is not.
    pub aof_enabled: bool,
    /// Whether it reads its data from disk, after a start, and answers nothing else meanwhile.
    pub loading: bool,
    /// Replicas connected to it.
    pub connected_replicas: u64,
}

impl Queue {
    /// What Redis says of itself.
    ///
    /// # Errors
    ///
    /// Redis is away, or the user may not ask.
    pub async fn server_facts(&self) -> Result<ServerFacts, QueueError> {
        // One section at a time: naming several needs Redis 7, and the whole of INFO costs more than an enqueue. The time comes with
        // them, so that the clock and the run id are of one moment.
        let sent = std::time::Instant::now();
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        for section in ["server", "memory", "persistence", "replication"] {
            pipeline.cmd("INFO").arg(section);
        }
        type Sections = ((i64, i64), String, String, String, String);
        let ((seconds, micros), server, memory, persistence, replication): Sections =
            self.link().pipeline(&pipeline).await?;
        self.link().observe(seconds * 1_000_000 + micros, sent);
        let sections = [server, memory, persistence, replication];
        let facts: HashMap<&str, &str> = sections
            .iter()
            .flat_map(|text| text.lines())
            .filter_map(|line| line.trim().split_once(':'))
            .collect();
        let text = |name: &str| facts.get(name).copied().unwrap_or_default().to_owned();
        let number = |name: &str| facts.get(name).and_then(|text| text.parse().ok());
        Ok(ServerFacts {
            run_id: text("run_id"),
            version: text("redis_version"),
            used_memory_bytes: number("used_memory").unwrap_or(0),
            maxmemory_bytes: number("maxmemory").filter(|&most| most > 0),
            maxmemory_policy: text("maxmemory_policy"),
            aof_enabled: text("aof_enabled") == "1",
            loading: text("loading") == "1",
            connected_replicas: number("connected_slaves").unwrap_or(0),
        })
    }

    /// Refuses a Redis that could lose jobs: one that evicts, or has no append-only file.
    ///
    /// # Errors
    ///
    /// What is unsafe about it, with [`UnsafeRedis::hint`].
    pub async fn check_safety(&self) -> Result<(), UnsafeRedis> {
        let facts = self.server_facts().await.map_err(UnsafeRedis::Unknown)?;
        if facts.maxmemory_policy != "noeviction" {
            return Err(UnsafeRedis::Evicts { policy: facts.maxmemory_policy });
        }
        if facts.loading {
            return Err(UnsafeRedis::Loading);
        }
        if !facts.aof_enabled {
            return Err(UnsafeRedis::NoAof);
        }
        // Managed servers often refuse CONFIG: then nobody can tell.
        let asked: Result<Vec<String>, QueueError> =
            self.link().query(redis::cmd("CONFIG").arg("GET").arg("appendfsync")).await;
        if let Ok([_, fsync]) = asked.as_deref()
            && fsync != "always"
        {
            warn!(
                "Redis has `appendfsync {fsync}`: a power cut can lose up to 2 s of writes, and with them what was paid for"
            );
        }
        Ok(())
    }
}
