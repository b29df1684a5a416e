//! Holds the places at the provider against the records, at one moment: for measurements, which do it thousands of times while
//! workers come and go. What lasts is found, and put right, by the sweep ([`Queue::sweep`]).

use job::{AccountName, BatchName, Model};

use crate::Queue;
use crate::error::QueueError;
use crate::link::TimeAt;
use crate::scripts::AUDIT_SLOTS;

/// What one look found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SlotAudit {
    /// Jobs that were looked at.
    pub jobs: u64,
    /// Places that are taken, for each account and each model on it.
    pub taken: Vec<(AccountName, Model, u64)>,
    /// What does not agree, a line each; none in a sound queue, at any moment.
    pub differences: Vec<String>,
}

impl Queue {
    /// Holds the places of `accounts` against the records of a batch of at most 500 jobs, which must be all jobs that there are.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn audit_slots(
        &self,
        batch: Option<&BatchName>,
        accounts: &[AccountName],
    ) -> Result<SlotAudit, QueueError> {
        let pairs: Vec<(&AccountName, Model)> =
            accounts.iter().flat_map(|account| Model::ALL.map(|model| (account, model))).collect();
        let keys = self.keys();
        let mut key_names = vec![keys.members(batch)];
        let mut args = vec![keys.prefix().to_owned()];
        for (account, model) in &pairs {
            key_names.push(keys.slots(account, *model));
            args.extend([account.to_string(), model.to_string()]);
        }
        let mut reply = self.script("audit_slots", &AUDIT_SLOTS, &key_names, &args, TimeAt::First).await?;
        reply.int()?;
        let jobs = u64::try_from(reply.int()?).unwrap_or(0);
        let mut counts = reply.list()?;
        let mut taken = Vec::with_capacity(pairs.len());
        for (account, model) in pairs {
            let count = counts.as_mut().map_or(Ok(0), crate::reply::Reply::int)?;
            taken.push((account.clone(), model, u64::try_from(count).unwrap_or(0)));
        }
        let differences = reply.list()?.map_or_else(|| Ok(Vec::new()), crate::reply::Reply::texts)?;
        Ok(SlotAudit { jobs, taken, differences })
    }
}
