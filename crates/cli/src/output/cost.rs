//! What was billed, as a table, as CSV, as JSON.

use std::collections::BTreeMap;

use job::{Day, Micros};
use queue::LedgerLine;
use serde::Serialize;

use super::batch::Cost;
use super::table::{Column, table};
use super::words::{count, money};
use crate::args::CostBy;

/// What `cost --json` prints. The shape is stable: fields are added, never changed.
#[derive(Debug, Serialize)]
pub(crate) struct CostView {
    /// The first day.
    since: Day,
    /// The last day.
    until: Day,
    /// A row for each combination of what was asked for, in that order.
    rows: Vec<Row>,
    /// All of it.
    total: Sums,
    #[serde(skip)]
    by: Vec<CostBy>,
}

/// One row: what was not asked for is not there, and `batch` is null for jobs without one.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    keys: BTreeMap<&'static str, Option<String>>,
    #[serde(flatten)]
    sums: Sums,
}

/// Images and money.
#[derive(Debug, Serialize)]
struct Sums {
    /// Images billed.
    images: i64,
    /// What they cost.
    cost: Cost,
    /// Those of the images that no job has: paid for without need.
    extra_images: i64,
    /// What these cost.
    extra_cost: Cost,
}

impl CostBy {
    fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Batch => "batch",
            Self::Model => "model",
            Self::Account => "account",
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Self::Day => "DAY",
            Self::Batch => "BATCH",
            Self::Model => "MODEL",
            Self::Account => "ACCOUNT",
        }
    }

    fn of(self, line: &LedgerLine) -> Option<String> {
        match self {
            Self::Day => Some(line.day.to_string()),
            Self::Batch => line.batch.as_ref().map(ToString::to_string),
            Self::Model => Some(line.model.to_string()),
            Self::Account => Some(line.account.to_string()),
        }
    }
}

impl Sums {
    fn of<'a>(lines: impl Iterator<Item = &'a LedgerLine>, currency: &str) -> Self {
        let (mut images, mut cost, mut extra_images, mut extra_cost) = (0, 0, 0, 0);
        for line in lines {
            images += line.images;
            cost += line.cost.0;
            extra_images += line.extra_images;
            extra_cost += line.extra_cost.0;
        }
        let cost_of = |micros| Cost::new(Micros(micros), currency);
        Self { images, cost: cost_of(cost), extra_images, extra_cost: cost_of(extra_cost) }
    }
}

impl CostView {
    /// Sums of `lines` for each combination of what is told apart.
    pub(crate) fn new(days: (Day, Day), by: &[CostBy], lines: &[LedgerLine], currency: &str) -> Self {
        let mut groups: BTreeMap<Vec<Option<String>>, Vec<&LedgerLine>> = BTreeMap::new();
        for line in lines {
            groups.entry(by.iter().map(|by| by.of(line)).collect()).or_default().push(line);
        }
        let row = |(values, lines): (Vec<Option<String>>, Vec<&LedgerLine>)| Row {
            keys: by.iter().map(|by| by.name()).zip(values).collect(),
            sums: Sums::of(lines.into_iter(), currency),
        };
        Self {
            since: days.0,
            until: days.1,
            rows: groups.into_iter().map(row).collect(),
            total: Sums::of(lines.iter(), currency),
            by: by.to_vec(),
        }
    }

    /// For people.
    pub(crate) fn table(&self) -> String {
        let extra = self.total.extra_images > 0;
        let mut columns: Vec<Column> = self.by.iter().map(|by| Column::Left(by.heading())).collect();
        columns.extend([Column::Right("IMAGES"), Column::Right("COST")]);
        if extra {
            columns.push(Column::Right("OF IT EXTRA"));
        }
        let cells = |sums: &Sums| {
            let extra_of = |sums: &Sums| match sums.extra_images {
                0 => String::new(),
                images => format!(
                    "{images} for {}",
                    money(Micros(sums.extra_cost.micros), &sums.extra_cost.currency)
                ),
            };
            let mut cells = vec![
                count(u64::try_from(sums.images).unwrap_or(0)),
                money(Micros(sums.cost.micros), &sums.cost.currency),
            ];
            cells.extend(extra.then(|| extra_of(sums)));
            cells
        };
        let mut rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| self.values(row, "(none)").chain(cells(&row.sums)).collect())
            .collect();
        let total =
            ["total".to_owned()].into_iter().chain(std::iter::repeat_n(String::new(), self.by.len() - 1));
        rows.push(total.chain(cells(&self.total)).collect());
        table(&columns, rows)
    }

    /// For spreadsheets: a line for each row, no total, amounts as exact decimals.
    pub(crate) fn csv(&self) -> String {
        let heads = self.by.iter().map(|by| by.name().to_owned());
        let sums = ["images", "cost", "currency", "extra_images", "extra_cost"].map(str::to_owned);
        let mut text = csv_line(heads.chain(sums));
        for row in &self.rows {
            let sums = [
                row.sums.images.to_string(),
                Micros(row.sums.cost.micros).to_string(),
                row.sums.cost.currency.clone(),
                row.sums.extra_images.to_string(),
                Micros(row.sums.extra_cost.micros).to_string(),
            ];
            text.push_str(&csv_line(self.values(row, "").chain(sums)));
        }
        text
    }

    fn values<'a>(&self, row: &'a Row, none: &'a str) -> impl Iterator<Item = String> {
        let values: Vec<String> = self
            .by
            .iter()
            .map(|by| row.keys.get(by.name()).cloned().flatten().unwrap_or_else(|| none.to_owned()))
            .collect();
        values.into_iter()
    }
}

/// A line of CSV by RFC 4180. (What a spreadsheet would take for a formula does not occur: names begin with a letter or a digit.)
fn csv_line(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> = cells
        .map(|cell| match cell.contains(['"', ',', '\n', '\r']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell,
        })
        .collect();
    cells.join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use job::Model;

    use super::*;

    fn line(day: &str, model: Model, batch: Option<&str>, images: i64, extra_images: i64) -> LedgerLine {
        let price = if model == Model::Wan27ImagePro { 75_000 } else { 30_000 };
        LedgerLine {
            day: day.parse().unwrap(),
            account: "main".parse().unwrap(),
            model,
            batch: batch.map(|batch| batch.parse().unwrap()),
            images,
            cost: Micros(price * images),
            extra_images,
            extra_cost: Micros(price * extra_images),
        }
    }

    fn view(by: &[CostBy], lines: &[LedgerLine], currency: &str) -> CostView {
        CostView::new(("2026-11-25".parse().unwrap(), "2026-11-26".parse().unwrap()), by, lines, currency)
    }

    fn lines() -> Vec<LedgerLine> {
        vec![
            line("2026-11-25", Model::Wan27ImagePro, Some("spring"), 133, 0),
            line("2026-11-26", Model::Wan27ImagePro, Some("spring"), 2, 0),
            line("2026-11-26", Model::Wan27Image, Some("autumn"), 1_200, 0),
            line("2026-11-26", Model::Wan27Image, None, 3, 2),
        ]
    }

    #[test]
    fn rows_are_summed_by_what_was_asked_for_and_the_total_by_all() {
        let usd = |by: &[CostBy]| view(by, &lines(), "USD");
        insta::assert_snapshot!(usd(&[CostBy::Day, CostBy::Model]).table(), @r"
        DAY         MODEL             IMAGES        COST     OF IT EXTRA
        2026-11-25  wan2.7-image-pro     133   9.975 USD
        2026-11-26  wan2.7-image       1,203   36.09 USD  2 for 0.06 USD
        2026-11-26  wan2.7-image-pro       2    0.15 USD
        total                          1,338  46.215 USD  2 for 0.06 USD
        ");
        insta::assert_snapshot!(usd(&[CostBy::Batch]).table(), @r"
        BATCH   IMAGES        COST     OF IT EXTRA
        (none)       3    0.09 USD  2 for 0.06 USD
        autumn   1,200   36.00 USD
        spring     135  10.125 USD
        total    1,338  46.215 USD  2 for 0.06 USD
        ");
        insta::assert_snapshot!(view(&[CostBy::Account], &lines()[..2], "USD").table(), @r"
        ACCOUNT  IMAGES        COST
        main        135  10.125 USD
        total       135  10.125 USD
        ");
    }

    #[test]
    fn csv_has_exact_amounts_and_quotes_what_needs_it() {
        insta::assert_snapshot!(view(&[CostBy::Day, CostBy::Batch], &lines(), "US, \"D\"").csv().replace("\r\n", "\n"), @r#"
        day,batch,images,cost,currency,extra_images,extra_cost
        2026-11-25,spring,133,9.975,"US, ""D""",0,0.00
        2026-11-26,,3,0.09,"US, ""D""",2,0.06
        2026-11-26,autumn,1200,36.00,"US, ""D""",0,0.00
        2026-11-26,spring,2,0.15,"US, ""D""",0,0.00
        "#);
        assert!(view(&[CostBy::Day], &lines(), "USD").csv().ends_with("\r\n"));
    }

    #[test]
    fn programs_get_rows_and_a_total() {
        let json = serde_json::to_string_pretty(&view(&[CostBy::Batch], &lines()[3..], "USD")).unwrap();
        insta::assert_snapshot!(json, @r#"
        {
          "since": "2026-11-25",
          "until": "2026-11-26",
          "rows": [
            {
              "batch": null,
              "images": 3,
              "cost": {
                "amount": 0.09,
                "micros": 90000,
                "currency": "USD"
              },
              "extra_images": 2,
              "extra_cost": {
                "amount": 0.06,
                "micros": 60000,
                "currency": "USD"
              }
            }
          ],
          "total": {
            "images": 3,
            "cost": {
              "amount": 0.09,
              "micros": 90000,
              "currency": "USD"
            },
            "extra_images": 2,
            "extra_cost": {
              "amount": 0.06,
              "micros": 60000,
              "currency": "USD"
            }
          }
        }
        "#);
    }
}
