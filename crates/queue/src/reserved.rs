//! Sums of what attempts may yet cost, put right where they can only be nothing. Driven by the sweep ([`Queue::sweep`]).

use job::AccountName;
use tracing::warn;

use crate::Queue;
use crate::error::QueueError;
use crate::link::TimeAt;
use crate::scripts::HEAL_RESERVED;

/// How many batches that wait for their budget are looked at in one pass. Source: ours; those that `status` lists, and some.
const BATCHES: usize = 200;

impl Queue {
    /// Sets sums to nothing that are not, though no attempt is under way that they could be of.
    pub(crate) async fn heal_reserved(&self, accounts: &[AccountName]) -> Result<(), QueueError> {
        let keys = self.keys();
        let mut names = vec![keys.counts(), keys.waiting_batches(), keys.repairs()];
        names.extend(accounts.iter().map(|account| keys.account(account)));
        let args = [keys.prefix().to_owned(), BATCHES.to_string()];
        let mut reply = self.script("heal_reserved", &HEAL_RESERVED, &names, &args, TimeAt::First).await?;
        reply.int()?;
        let wrong = reply.int()?;
        if wrong > 0 {
            warn!(
                wrong,
                "{wrong} sums of what is reserved were not nothing though no task is under way, and were put right"
            );
        }
        Ok(())
    }
}
