//! Jobs with a create that may yet turn out to have made a task: for the settler.
//!
//! It must miss none of them: a task that one of them made would be taken for another's. So a record that cannot be read is named, not
//! left out. It never says what a create made.

use std::collections::BTreeSet;

use job::{AccountName, Job, JobId, Model};

use crate::Queue;
use crate::claim::parse_id;
use crate::error::QueueError;
use crate::record::{Fields, UnreadableRecord, from_fields};

/// How many records are fetched in one round trip.
const FETCH_CHUNK: usize = 500;

/// Jobs of an account and model whose attempt may be open, and what is not known of others.
#[derive(Debug, Default)]
pub struct OpenJobs {
    /// Those that hold a place, and those that are held for a person.
    pub jobs: Vec<Job>,
    /// Records that cannot be read, and may be of such jobs.
    pub unreadable: Vec<UnreadableRecord>,
    /// Whether every held job was looked at.
    pub all: bool,
}

impl Queue {
    /// The jobs of an account and model whose attempt may be open. Of those that are held, `held_max` are read.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn open_jobs(
        &self,
        account: &AccountName,
        model: Model,
        held_max: usize,
    ) -> Result<OpenJobs, QueueError> {
        let (mut open, mut seen) = (OpenJobs::default(), BTreeSet::new());
        let mut placed = redis::cmd("ZRANGE");
        placed.arg(self.keys().slots(account, model)).arg(0).arg(-1);
        let members: Vec<String> = self.link().query(&placed).await?;
        let ids = members.iter().filter_map(|member| Some(member.split_once(':')?.0));
        self.read_open(ids.map(str::to_owned).collect(), account, model, &mut seen, &mut open).await?;
        // Held attempts whose place was given up hold none, and are as open as before. They are read last: who is held meanwhile is
        // in one of the two.
        let mut held = redis::cmd("ZRANGE");
        held.arg(self.keys().held()).arg(0).arg(held_max.max(1) - 1);
        let ids: Vec<String> = self.link().query(&held).await?;
        open.all = ids.len() < held_max;
        self.read_open(ids, account, model, &mut seen, &mut open).await?;
        Ok(open)
    }

    async fn read_open(
        &self,
        ids: Vec<String>,
        account: &AccountName,
        model: Model,
        seen: &mut BTreeSet<JobId>,
        open: &mut OpenJobs,
    ) -> Result<(), QueueError> {
        let ids: Vec<JobId> = ids.iter().map(|id| parse_id(id)).collect::<Result<_, _>>()?;
        for ids in ids.chunks(FETCH_CHUNK) {
            let mut pipeline = redis::pipe();
            for id in ids {
                pipeline.hgetall(self.keys().job(*id));
            }
            let records: Vec<Fields> = self.link().pipeline(&pipeline).await?;
            for (id, fields) in ids.iter().zip(records) {
                if fields.is_empty() || !may_be_of(&fields, account, model) || !seen.insert(*id) {
                    continue;
                }
                match from_fields(*id, &fields) {
                    Ok(job) => open.jobs.push(job),
                    Err(unreadable) => open.unreadable.push(unreadable),
                }
            }
        }
        Ok(())
    }
}

/// Whether a record, as far as it can be read, may be of an attempt at this account with this model.
fn may_be_of(fields: &Fields, account: &AccountName, model: Model) -> bool {
    let is_another = |field: &str, wanted: &str| fields.get(field).is_some_and(|value| value != wanted);
    let names_a_model = fields.get("m").is_some_and(|text| text.parse::<Model>().is_ok());
    let names_an_account = fields.get("aa").is_some_and(|text| text.parse::<AccountName>().is_ok());
    !(names_an_account && is_another("aa", account.as_str())
        || names_a_model && is_another("m", model.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_record_that_names_another_account_or_model_is_none_of_this_ones() {
        let account = AccountName::parse("a").unwrap();
        let may_be = |pairs: &[(&str, &str)]| {
            let fields = pairs.iter().map(|(field, value)| ((*field).to_owned(), (*value).to_owned()));
            may_be_of(&fields.collect(), &account, Model::Wan27Image)
        };
        assert!(may_be(&[("aa", "a"), ("m", "wan2.7-image")]));
        assert!(may_be(&[]) && may_be(&[("aa", "\u{1}"), ("m", "wan9")]), "nobody knows");
        assert!(!may_be(&[("aa", "b")]) && !may_be(&[("aa", "a"), ("m", "wan2.7-image-pro")]));
    }
}
