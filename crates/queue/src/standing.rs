//! What is there already of jobs that are to be enqueued: read only, so that a person can be told before anything is sent.

use job::{JobId, StateName};

use crate::Queue;
use crate::error::QueueError;

/// How a job that is to be enqueued stands to what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There is no such job.
    New,
    /// The same job is there.
    Same,
    /// A job of the same id is there, in this state, with another spec.
    Changed(StateName),
    /// A job of the same id was there, ended, and was removed by retention.
    RemovedBefore,
}

impl Queue {
    /// How each of these jobs stands, by its id and its spec's digest; at most 500 at a time. What others do meanwhile can change it.
    ///
    /// # Errors
    ///
    /// Redis is away, or holds nonsense.
    pub async fn standing(&self, jobs: &[(JobId, String)]) -> Result<Vec<Standing>, QueueError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let (keys, mut pipeline) = (self.keys(), redis::pipe());
        for (id, _) in jobs {
            pipeline.cmd("HMGET").arg(keys.job(*id)).arg("d").arg("s");
            pipeline.cmd("ZSCORE").arg(keys.tombstones()).arg(id.to_string());
        }
        let found: Vec<redis::Value> = self.link().pipeline(&pipeline).await?;
        let wrong =
            |id: &JobId| QueueError::Reply { call: "standing", problem: format!("job {id} has no state") };
        jobs.iter()
            .zip(found.chunks(2))
            .map(|((id, digest), found)| {
                let [record, tombstone] = found else { return Err(wrong(id)) };
                let (known, state): (Option<String>, Option<String>) = redis::from_redis_value_ref(record)
                    .map_err(|error| QueueError::Reply { call: "standing", problem: error.to_string() })?;
                match (known, state.as_deref().map(str::parse::<StateName>)) {
                    (None, _) if *tombstone == redis::Value::Nil => Ok(Standing::New),
                    (None, _) => Ok(Standing::RemovedBefore),
                    (Some(known), _) if known == *digest => Ok(Standing::Same),
                    (Some(_), Some(Ok(state))) => Ok(Standing::Changed(state)),
                    (Some(_), _) => Err(wrong(id)),
                }
            })
            .collect()
    }
}
