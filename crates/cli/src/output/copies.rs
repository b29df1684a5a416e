//! Images that wait to be copied, whether they will be in time, and what could not be had.

use job::{CopyBacklog, CopyTrouble, HORIZONS, Micros, Timestamp};
use queue::Losses;
use serde::Serialize;

use super::batch::Cost;
use super::words::{counted, money, relative};

/// What waits to be copied. The shape is stable: fields are added, never changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CopiesView {
    /// Jobs that wait, or are being copied.
    pub(crate) jobs: u64,
    /// Their images that are not in the bucket.
    pub(crate) images: u64,
    /// When the first link of them dies, or died.
    pub(crate) first_link_dies_at: Option<Timestamp>,
    /// How many of the jobs have a link that dies within a time.
    pub(crate) dying: Vec<DyingView>,
    /// Jobs copied per minute of late, by all workers; null if none was.
    pub(crate) per_minute: Option<f64>,
    /// How many jobs, at least, are too late at this pace; null where no pace is known.
    pub(crate) late: Option<u64>,
    /// `late`: not all can be copied in time at the pace of late. `standstill`: nothing was copied of late, and the first link dies within
    /// the hour.
    pub(crate) warning: Option<&'static str>,
}

/// Jobs with a link that dies soon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DyingView {
    /// Within so many seconds; 0: it is dead.
    pub(crate) within_s: u64,
    /// So many jobs.
    pub(crate) jobs: u64,
}

/// Images that were billed and could not be had.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LostView {
    /// How many.
    pub(crate) images: u64,
    /// What they cost.
    pub(crate) cost: Cost,
}

impl CopiesView {
    /// A backlog as it is shown.
    pub(crate) fn new(backlog: &CopyBacklog) -> Self {
        let per_minute = backlog.per_minute();
        let dying = HORIZONS.iter().zip(backlog.dying);
        Self {
            jobs: backlog.jobs,
            images: backlog.images,
            first_link_dies_at: backlog.first_link_dies_at,
            dying: dying.map(|(within, jobs)| DyingView { within_s: within.as_secs(), jobs }).collect(),
            per_minute,
            late: per_minute.map(|pace| backlog.late(pace)),
            warning: backlog.trouble().map(|trouble| match trouble {
                CopyTrouble::Late { .. } => "late",
                CopyTrouble::Standstill => "standstill",
            }),
        }
    }

    /// For people, in one line.
    pub(crate) fn render(&self, now: Timestamp) -> String {
        let pace =
            self.per_minute.map(|pace| format!(", {pace:.1} jobs a minute of late")).unwrap_or_default();
        let first = self.first_link_dies_at.map(|dies| match dies <= now {
            true => format!("; the first link died {}", relative(dies, now)),
            false => format!("; the first link dies {}", relative(dies, now)),
        });
        let (images, jobs) = (counted(self.images, "image"), counted(self.jobs, "job"));
        format!("{images} of {jobs}{pace}{}", first.unwrap_or_default())
    }

    /// What is to be feared, and what can be done.
    pub(crate) fn warning(&self) -> Option<String> {
        let hint = "start more workers, raise `worker.archive_concurrency`, or look at the store";
        Some(match self.warning? {
            "late" => format!(
                "warning: at the pace of late, at least {} cannot be copied before their links die: {hint}",
                counted(self.late.unwrap_or(0), "job")
            ),
            _ => format!(
                "warning: nothing was copied in the last minutes, and the first link dies within the hour: {hint}"
            ),
        })
    }
}

impl LostView {
    /// Losses in the currency of the settings.
    pub(crate) fn new(losses: Losses, currency: &str) -> Self {
        Self { images: losses.images, cost: Cost::new(losses.cost, currency) }
    }

    /// For people.
    pub(crate) fn render(&self) -> String {
        let cost = money(Micros(self.cost.micros), &self.cost.currency);
        format!("{} billed and not in the bucket, {cost}", counted(self.images, "image"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn backlog(copied: Vec<(Timestamp, u64)>) -> CopyBacklog {
        let dying = [0, 40, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000];
        let first_link_dies_at = Some(at(1_030));
        CopyBacklog { now: at(1_000), jobs: 2_000, images: 2_400, first_link_dies_at, dying, copied }
    }

    #[test]
    fn a_backlog_says_how_much_waits_how_long_and_what_is_to_be_feared() {
        let view = CopiesView::new(&backlog(vec![(at(940), 300)]));
        insta::assert_snapshot!(view.render(at(1_000)), @"2,400 images of 2,000 jobs, 300.0 jobs a minute of late; the first link dies in 30s");
        insta::assert_snapshot!(view.warning().unwrap(), @"warning: at the pace of late, at least 500 jobs cannot be copied before their links die: start more workers, raise `worker.archive_concurrency`, or look at the store");
        let still = CopiesView::new(&backlog(Vec::new()));
        insta::assert_snapshot!(still.render(at(1_040)), @"2,400 images of 2,000 jobs; the first link died 10s ago");
        insta::assert_snapshot!(still.warning().unwrap(), @"warning: nothing was copied in the last minutes, and the first link dies within the hour: start more workers, raise `worker.archive_concurrency`, or look at the store");
        let fast = CopiesView::new(&backlog(vec![(at(940), 500)]));
        assert_eq!(fast.warning(), None);
    }

    #[test]
    fn programs_get_the_numbers_behind_it() {
        let json = serde_json::to_value(CopiesView::new(&backlog(vec![(at(940), 300)]))).unwrap();
        assert_eq!(
            (&json["per_minute"], &json["late"], &json["warning"]),
            (&300.0.into(), &500.into(), &"late".into())
        );
        assert_eq!(json["dying"][1], serde_json::json!({ "within_s": 60, "jobs": 40 }));
    }
}
