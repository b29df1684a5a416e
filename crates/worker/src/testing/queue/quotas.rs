//! The twin's part in what the provider says of limits: whose turn it is to ask, and what was told.

use std::time::Duration;

use async_trait::async_trait;
use job::{AccountName, Timestamp};
use queue::Quotas;

use super::TwinJobs;
use crate::ports::{JobsFault, KnownQuotas};

/// What was told.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// Until when it is nobody else's turn to ask.
    turn_until: Option<Timestamp>,
    quotas: Option<Quotas>,
}

#[async_trait]
impl KnownQuotas for TwinJobs {
    async fn take_quotas_turn(&self, _: &AccountName, hold: Duration) -> Result<bool, JobsFault> {
        self.reach().await?;
        let now = self.queue.time.now();
        let told = &mut self.queue.store().told;
        let free = told.turn_until.is_none_or(|until| until <= now);
        if free {
            told.turn_until = Some(now + hold);
        }
        Ok(free)
    }

    async fn store_quotas(&self, _: &AccountName, quotas: &Quotas, fresh: Duration) -> Result<(), JobsFault> {
        self.reach().await?;
        let now = self.queue.time.now();
        self.queue.store().told = Told { turn_until: Some(now + fresh), quotas: Some(quotas.clone()) };
        Ok(())
    }

    async fn quotas(&self, _: &AccountName) -> Result<Option<Quotas>, JobsFault> {
        self.reach().await?;
        Ok(self.queue.store().told.quotas.clone())
    }
}
