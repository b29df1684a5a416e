//! What the provider's list says about when tasks are asked by themselves, and whose turn it is to read it.

use std::time::Duration;

use job::{AccountName, Model, TaskId};

use crate::Queue;
use crate::error::QueueError;
use crate::link::TimeAt;
use crate::scripts::HEED_LIST;

/// The most tasks in one call of the script.
const CHUNK: usize = 250;

/// The answer to whoever would read the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListTurn {
    /// Whether it is this worker's turn.
    pub taken: bool,
    /// How long the turn that somebody has lasts at the most.
    pub over_in: Duration,
    /// Places at the provider that are, or may be, taken.
    pub in_flight: u64,
    /// How many of them were taken so short a time ago as was asked.
    pub young: u64,
}

/// What the list says of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The task.
    pub task: TaskId,
    /// For how long it need not be asked; `None`: it is over.
    pub going_for: Option<Duration>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heeded {
    /// How many of the tasks are waited for here.
    pub waiting: u64,
    /// How many of these are over and were not due yet.
    pub brought: u64,
}

impl Queue {
    /// Asks for the turn to read the list of an account's tasks of a model: for `hold` it is nobody else's. Also counts the places
    /// that were taken less than `young_for` ago.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn take_list_turn(
        &self,
        account: &AccountName,
        model: Model,
        hold: Duration,
        young_for: Duration,
    ) -> Result<ListTurn, QueueError> {
        let turn = self.keys().list_turn(account, model);
        let mut pipeline = redis::pipe();
        pipeline.cmd("SET").arg(&turn).arg(self.nonce()).arg("NX").arg("PX").arg(ms(hold));
        let slots = self.keys().slots(account, model);
        let since = (self.now() - young_for).as_millisecond();
        pipeline.pttl(&turn).zcard(&slots).zcount(&slots, format!("({since}"), "+inf");
        let (set, over_in, in_flight, young): (Option<String>, i64, u64, u64) =
            self.link().pipeline(&pipeline).await?;
        let over_in = Duration::from_millis(u64::try_from(over_in).unwrap_or(0));
        Ok(ListTurn { taken: set.is_some(), over_in, in_flight, young })
    }

    /// Says when the list may be read again, by whoever comes first then.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn end_list_turn(
        &self,
        account: &AccountName,
        model: Model,
        wait: Duration,
    ) -> Result<(), QueueError> {
        let mut command = redis::cmd("PEXPIRE");
        command.arg(self.keys().list_turn(account, model)).arg(ms(wait));
        let _: i64 = self.link().query(&command).await?;
        Ok(())
    }

    /// Lets what a list shows decide when its tasks are asked: see `heed_list.lua`.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn heed_list(&self, account: &AccountName, listed: &[Listed]) -> Result<Heeded, QueueError> {
        let keys = [self.keys().tasks(account), self.keys().due_poll(account), self.keys().events()];
        let mut sum = Heeded::default();
        for chunk in listed.chunks(CHUNK) {
            let mut args = vec![self.keys().prefix().to_owned()];
            for Listed { task, going_for } in chunk {
                args.push(task.to_string());
                args.push(going_for.map_or(0, ms).to_string());
            }
            let mut reply = self.script("heed_list", &HEED_LIST, &keys, &args, TimeAt::First).await?;
            reply.int()?;
            sum.waiting += u64::try_from(reply.int()?).unwrap_or(0);
            sum.brought += u64::try_from(reply.int()?).unwrap_or(0);
        }
        Ok(sum)
    }
}

/// At least one: zero means something else to Redis.
fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
