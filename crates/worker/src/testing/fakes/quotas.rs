//! The queue's twin's part in what the provider says of limits.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use job::AccountName;
use queue::Quotas;

use super::FakeJobs;
use crate::ports::{JobsFault, KnownQuotas};

/// What was told.
#[derive(Default)]
pub(crate) struct Told {
    /// Whether somebody was told within the last hour.
    fresh: Mutex<bool>,
    quotas: Mutex<Option<Quotas>>,
}

#[async_trait]
impl KnownQuotas for FakeJobs {
    async fn take_quotas_turn(&self, _: &AccountName, _: Duration) -> Result<bool, JobsFault> {
        Ok(!*self.told.fresh.lock().unwrap())
    }

    async fn store_quotas(&self, _: &AccountName, quotas: &Quotas, _: Duration) -> Result<(), JobsFault> {
        *self.told.fresh.lock().unwrap() = true;
        *self.told.quotas.lock().unwrap() = Some(quotas.clone());
        Ok(())
    }

    async fn quotas(&self, _: &AccountName) -> Result<Option<Quotas>, JobsFault> {
        Ok(self.told.quotas.lock().unwrap().clone())
    }
}
