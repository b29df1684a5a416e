//! Hints: something changed, look again. Losing one loses nothing, because everybody looks again now and then anyway.

use job::{JobId, StateName};
use redis::AsyncCommands;
use redis::streams::{StreamReadOptions, StreamReadReply};

use crate::Queue;
use crate::error::QueueError;
use crate::link::BLOCK;

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// A job came into this state.
    Job {
        /// The job.
        id: JobId,
        /// Its state.
        state: StateName,
    },
    /// Something that was paused goes on.
    Resumed,
    /// Tasks are to be asked before their time.
    PollsDue,
    /// Jobs were enqueued into a batch.
    Enqueued {
        /// The batch's name, `-` for none.
        batch: String,
        /// How many.
        jobs: u64,
    },
}

/// Follows the hints from now on, over a connection of its own.
pub struct EventWatch {
    queue: Queue,
    connection: Option<redis::aio::MultiplexedConnection>,
    last: String,
}

/// How many hints one read brings.
const READ_MAX: usize = 1_000;

impl Queue {
    /// Follows the hints from now on.
    pub fn watch_events(&self) -> EventWatch {
        EventWatch { queue: self.clone(), connection: None, last: "$".to_owned() }
    }
}

impl EventWatch {
    /// The next hints; none if nothing happened for some seconds.
    ///
    /// # Errors
    ///
    /// Redis is away. The next call connects again and goes on from where it was.
    pub async fn next(&mut self) -> Result<Vec<Hint>, QueueError> {
        let result = self.read().await;
        if result.is_err() {
            self.connection = None;
        }
        result
    }

    async fn read(&mut self) -> Result<Vec<Hint>, QueueError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(self.queue.link().blocking_connection().await?),
        };
        let options = StreamReadOptions::default()
            .block(usize::try_from(BLOCK.as_millis()).unwrap_or(5_000))
            .count(READ_MAX);
        let keys = [self.queue.keys().events()];
        let reply: Option<StreamReadReply> =
            connection.xread_options(&keys, &[self.last.as_str()], &options).await?;
        let mut hints = Vec::new();
        for entry in reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids) {
            self.last.clone_from(&entry.id);
            let text = |field: &str| entry.get::<String>(field);
            if let (Some(id), Some(state)) = (text("job"), text("state")) {
                if let (Ok(id), Ok(state)) = (id.parse(), state.parse()) {
                    hints.push(Hint::Job { id, state });
                }
            } else if text("resumed").is_some() {
                hints.push(Hint::Resumed);
            } else if text("polls").is_some() {
                hints.push(Hint::PollsDue);
            } else if let Some(batch) = text("batch") {
                hints.push(Hint::Enqueued { batch, jobs: entry.get("queued").unwrap_or(0) });
            }
        }
        Ok(hints)
    }
}
