//! The ledger: what was billed on each UTC day, by account, model and batch. Reading only.
//!
//! The commits that learn of billed images write it (`plan.rs`), and whoever closes an extra task (`lua/close_extra.lua`). A day is the one on
//! which that was written down, which is when the task was seen to have ended.

use std::collections::{BTreeMap, HashMap};

use job::{AccountName, BatchName, Day, Micros, Model};

use crate::Queue;
use crate::error::QueueError;

/// How many days are read in one round trip. Source: ours; a day is one HASH with some fields for each batch.
const DAYS: usize = 31;

/// What was billed in one day to one account for one model and batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerLine {
    /// The UTC day.
    pub day: Day,
    /// The account.
    pub account: AccountName,
    /// The model.
    pub model: Model,
    /// The batch; `None`: jobs without one, and tasks that no job has where the one that they came from has none, or is gone.
    pub batch: Option<BatchName>,
    /// Images.
    pub images: i64,
    /// What they cost, by the prices of then.
    pub cost: Micros,
    /// Those of the images that no job has: paid for without need.
    pub extra_images: i64,
    /// What these cost.
    pub extra_cost: Micros,
}

/// Reads the fields of one day. What is no line, such as a sum, is passed over.
fn read(day: Day, fields: &HashMap<String, String>) -> Vec<LedgerLine> {
    let mut lines: BTreeMap<(String, String, String), LedgerLine> = BTreeMap::new();
    for (field, text) in fields {
        let parts: Vec<&str> = field.split(':').collect();
        let (what, account, model, batch) = match parts[..] {
            [what @ ("images" | "cost" | "extra_images" | "extra_cost"), account, model, batch] => {
                (what, account, model, batch)
            }
            // As older versions wrote it, which knew no batch of theirs.
            [what @ ("extra_images" | "extra_cost"), account, model] => (what, account, model, "-"),
            _ => continue,
        };
        let read =
            (account.parse::<AccountName>().ok(), model.parse::<Model>().ok(), text.parse::<i64>().ok());
        let (Some(of_account), Some(of_model), Some(number)) = read else { continue };
        let key = (account.to_owned(), model.to_owned(), batch.to_owned());
        let line = lines.entry(key).or_insert_with(|| LedgerLine {
            day,
            account: of_account,
            model: of_model,
            batch: batch.parse().ok(),
            images: 0,
            cost: Micros(0),
            extra_images: 0,
            extra_cost: Micros(0),
        });
        match what {
            "images" => line.images = number,
            "cost" => line.cost = Micros(number),
            "extra_images" => line.extra_images += number,
            _ => line.extra_cost.0 += number,
        }
    }
    lines.into_values().collect()
}

impl Queue {
    /// What was billed on these days, both among them, the oldest first; nothing where `until` is before `since`.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn ledger(&self, since: Day, until: Day) -> Result<Vec<LedgerLine>, QueueError> {
        let days: Vec<Day> = std::iter::successors(Some(since), |day| day.tomorrow().ok())
            .take_while(|day| *day <= until)
            .collect();
        let mut lines = Vec::new();
        for days in days.chunks(DAYS) {
            let mut pipeline = redis::pipe();
            for day in days {
                pipeline.hgetall(self.keys().ledger(&day.to_string()));
            }
            let all: Vec<HashMap<String, String>> = self.link().pipeline(&pipeline).await?;
            lines.extend(days.iter().zip(&all).flat_map(|(day, fields)| read(*day, fields)));
        }
        Ok(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_sums_are_passed_over() {
        let day = "2026-11-26".parse::<Day>().unwrap();
        let fields = [
            ("images:main", "9"),
            ("cost:main", "675000"),
            ("cost", "675000"),
            ("images:main:wan2.7-image-pro:spring", "7"),
            ("cost:main:wan2.7-image-pro:spring", "525000"),
            ("images:main:wan2.7-image-pro:-", "2"),
            ("cost:main:wan2.7-image-pro:-", "150000"),
            ("extra_images:main:wan2.7-image-pro", "1"),
            ("extra_cost:main:wan2.7-image-pro", "75000"),
            ("extra_images:main:wan2.7-image-pro:-", "1"),
            ("extra_cost:main:wan2.7-image-pro:-", "75000"),
            ("extra_images:main:wan2.7-image-pro:spring", "3"),
            ("extra_cost:main:wan2.7-image-pro:spring", "225000"),
            ("images:main:another-model:spring", "1"),
        ];
        let fields = fields.map(|(field, text)| (field.to_owned(), text.to_owned())).into_iter().collect();
        let lines = read(day, &fields);
        let shown: Vec<_> = lines
            .iter()
            .map(|line| {
                let batch = line.batch.as_ref().map(BatchName::as_str);
                (batch, line.images, line.cost.0, line.extra_images, line.extra_cost.0)
            })
            .collect();
        assert_eq!(shown, [(None, 2, 150_000, 2, 150_000), (Some("spring"), 7, 525_000, 3, 225_000)]);
        assert!(lines.iter().all(|line| line.day == day && line.account.as_str() == "main"));
    }
}
