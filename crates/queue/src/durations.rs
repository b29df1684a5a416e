//! How long tasks run, as all workers have learned it together. Written by the commits themselves.

use std::collections::HashMap;

use job::Durations;

use crate::Queue;
use crate::error::QueueError;
use crate::link::TimeAt;
use crate::scripts::HALVE_DURATIONS;

/// With more ends than this a series is halved.
///
/// Source: ours; at the documented limits that many end in two hours, so that a provider which has become slower or faster shows within
/// one, and one that is slower at night is followed.
const ENDS_MAX: u32 = 2_000;

impl Queue {
    /// What is known by now.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn durations(&self) -> Result<Durations, QueueError> {
        let counts: HashMap<String, u64> =
            self.link().query(redis::cmd("HGETALL").arg(self.keys().durations())).await?;
        Ok(Durations::read(counts.iter().map(|(field, count)| (field.as_str(), *count))))
    }

    /// Makes what was learned long ago count less; how many series were long enough for that.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn halve_durations(&self) -> Result<u64, QueueError> {
        let (keys, args) = ([self.keys().durations()], [ENDS_MAX.to_string()]);
        let mut reply = self.script("halve_durations", &HALVE_DURATIONS, &keys, &args, TimeAt::First).await?;
        reply.int()?;
        Ok(u64::try_from(reply.int()?).unwrap_or(0))
    }
}
