//! What people pause and resume: a batch, a model, an account, everything.
//!
//! A pause holds back new creates and nothing else: tasks that were created are followed and copied. A batch is paused by taking
//! its lanes out of the turns (`lua/pause_batch.lua`), the rest by a flag that `lua/claim_submit.lua` looks at; so a claim costs the same
//! whatever is paused. Pauses that follow from answers of the provider are [`Queue::pause_account`] and the breakers, and end by themselves.

use std::collections::HashMap;

use job::{AccountName, BatchName, Model, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Queue;
use crate::error::QueueError;
use crate::link::TimeAt;
use crate::scripts::PAUSE_BATCH;

/// How many lanes of a batch one call moves. A batch has one for each model, account and priority of its jobs.
const LANES: usize = 500;

/// The longest reason that is kept, in characters. Source: ours.
const WHY_MAX: usize = 200;

/// What is paused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PauseOf {
    /// Everything.
    All,
    /// One model, on every account.
    Model(Model),
    /// One account.
    Account(AccountName),
    /// One model on one account.
    ModelOnAccount(Model, AccountName),
    /// One batch.
    Batch(BatchName),
}

impl PauseOf {
    fn field(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Model(model) => format!("model:{model}"),
            Self::Account(account) => format!("account:{account}"),
            Self::ModelOnAccount(model, account) => format!("account:{account}:{model}"),
            Self::Batch(batch) => format!("batch:{batch}"),
        }
    }

    fn of_field(field: &str) -> Option<Self> {
        let mut parts = field.split(':');
        let of = match (parts.next()?, parts.next(), parts.next()) {
            ("all", None, None) => Self::All,
            ("model", Some(model), None) => Self::Model(model.parse().ok()?),
            ("account", Some(account), None) => Self::Account(account.parse().ok()?),
            ("account", Some(account), Some(model)) => {
                Self::ModelOnAccount(model.parse().ok()?, account.parse().ok()?)
            }
            ("batch", Some(batch), None) => Self::Batch(batch.parse().ok()?),
            _ => return None,
        };
        Some(of)
    }
}

/// A pause by a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandPause {
    /// What is paused.
    pub of: PauseOf,
    /// Who did it.
    pub by: String,
    /// Why; empty if nobody said.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
}

/// What a pause or its end has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PauseChange {
    /// It is so from now on.
    Done,
    /// It was so already.
    Same,
    /// There is no such batch.
    NoBatch,
}

/// A pause as it stands in Redis.
#[derive(Serialize, Deserialize)]
pub(crate) struct Note {
    by: String,
    why: String,
    #[serde(default)]
    since_ms: String,
}

impl Note {
    pub(crate) fn json(by: &str, why: &str, since: Option<Timestamp>) -> String {
        let cut = |text: &str| text.chars().take(WHY_MAX).collect();
        let since_ms = since.map_or_else(String::new, |since| since.as_millisecond().to_string());
        let note = Self { by: cut(by), why: cut(why), since_ms };
        serde_json::to_string(&note).expect("a note is plain data and always serializes")
    }

    /// Who, why, since.
    pub(crate) fn read(json: &str) -> Option<(String, String, Timestamp)> {
        let Self { by, why, since_ms } = serde_json::from_str(json).ok()?;
        let since = Timestamp::from_millisecond(since_ms.parse().ok()?).ok()?;
        Some((by, why, since))
    }
}

impl HandPause {
    fn read(of: PauseOf, json: &str) -> Option<Self> {
        let (by, why, since) = Note::read(json)?;
        Some(Self { of, by, why, since })
    }
}

impl Queue {
    /// Holds new creates of `of` back until [`Self::resume`]. The first pause stands, with who and why.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn pause(&self, of: &PauseOf, by: &str, why: &str) -> Result<PauseChange, QueueError> {
        if let PauseOf::Batch(batch) = of {
            return self.pause_batch(batch, "pause", &Note::json(by, why, None)).await;
        }
        let note = Note::json(by, why, Some(self.now()));
        let mut command = redis::cmd("HSETNX");
        command.arg(self.keys().paused()).arg(of.field()).arg(note);
        let new: bool = self.link().query(&command).await?;
        Ok(if new { PauseChange::Done } else { PauseChange::Same })
    }

    /// Lets `of` go on. What else is paused stays so.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn resume(&self, of: &PauseOf) -> Result<PauseChange, QueueError> {
        if let PauseOf::Batch(batch) = of {
            return self.pause_batch(batch, "resume", "").await;
        }
        let field = of.field();
        let mut hint = redis::cmd("XADD");
        hint.arg(self.keys().events()).arg("MAXLEN").arg("~").arg(10_000).arg("*").arg("resumed").arg(&field);
        let mut pipeline = redis::pipe();
        pipeline.hdel(self.keys().paused(), &field).add_command(hint).ignore();
        let (was_paused,): (bool,) = self.link().pipeline(&pipeline).await?;
        Ok(if was_paused { PauseChange::Done } else { PauseChange::Same })
    }

    /// What people have paused, the widest first.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn hand_pauses(&self) -> Result<Vec<HandPause>, QueueError> {
        let notes: HashMap<String, String> =
            self.link().query(redis::cmd("HGETALL").arg(self.keys().paused())).await?;
        let mut pauses: Vec<HandPause> = notes
            .iter()
            .filter_map(|(field, json)| HandPause::read(PauseOf::of_field(field)?, json))
            .collect();
        pauses.sort_by(|a, b| a.of.cmp(&b.of));
        Ok(pauses)
    }

    /// Who has paused `of`, if anybody has.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn hand_pause(&self, of: PauseOf) -> Result<Option<HandPause>, QueueError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.keys().paused()).arg(of.field());
        let note: Option<String> = self.link().query(&command).await?;
        Ok(note.and_then(|json| HandPause::read(of, &json)))
    }

    /// Holds a batch back for as long as a command works on it, until [`Self::let_go_batch`]. A person's pause takes the place of this.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn hold_batch(
        &self,
        batch: &BatchName,
        by: &str,
        why: &str,
    ) -> Result<PauseChange, QueueError> {
        self.pause_batch(batch, "hold", &Note::json(by, why, None)).await
    }

    /// Lets a batch go on that a command held, also one that was cut short. Says [`PauseChange::Same`] where it was not held; a person's
    /// pause stays.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn let_go_batch(&self, batch: &BatchName) -> Result<PauseChange, QueueError> {
        self.pause_batch(batch, "let_go", "").await
    }

    async fn pause_batch(
        &self,
        batch: &BatchName,
        word: &str,
        note: &str,
    ) -> Result<PauseChange, QueueError> {
        let keys = self.keys();
        let key_names = [keys.batch(Some(batch)), keys.lanes(Some(batch)), keys.paused(), keys.events()];
        let args = [
            keys.prefix().to_owned(),
            batch.to_string(),
            word.to_owned(),
            note.to_owned(),
            LANES.to_string(),
        ];
        let mut change = None;
        loop {
            let mut reply =
                self.script("pause_batch", &PAUSE_BATCH, &key_names, &args, TimeAt::First).await?;
            reply.int()?;
            let this = match reply.text()?.as_str() {
                "done" => PauseChange::Done,
                "same" => PauseChange::Same,
                _ => PauseChange::NoBatch,
            };
            let change = *change.get_or_insert(this);
            if reply.int()? == 0 {
                return Ok(change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paused_is_read_back_from_its_field() {
        let (account, batch) = ("main".parse::<AccountName>().unwrap(), "spring".parse().unwrap());
        let all = [
            PauseOf::All,
            PauseOf::Model(Model::Wan27Image),
            PauseOf::Account(account.clone()),
            PauseOf::ModelOnAccount(Model::Wan27ImagePro, account),
            PauseOf::Batch(batch),
        ];
        for of in all {
            assert_eq!(PauseOf::of_field(&of.field()), Some(of));
        }
        assert_eq!(PauseOf::of_field("account"), None);
    }
}
