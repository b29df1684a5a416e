//! Progress, for people: a bar where stderr is a terminal, a line now and then elsewhere, nothing for programs.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Output;
use super::batch::JobCounts;
use super::pace::Pace;
use super::words::count;

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Follows jobs to their end.
#[derive(Debug)]
pub(crate) struct JobProgress {
    out: Output,
    name: String,
    pace: Pace,
    bar: Option<ProgressBar>,
    lined_at: Option<Duration>,
    line: String,
}

impl JobProgress {
    /// Progress of `name`, or none at all when `silent`.
    pub(crate) fn new(out: Output, name: String, silent: bool) -> Self {
        Self::among(out, name, silent, &MultiProgress::new())
    }

    /// The same as one of several bars, below each other.
    pub(crate) fn among(out: Output, name: String, silent: bool, bars: &MultiProgress) -> Self {
        let bar = (!silent && out.stderr_is_terminal).then(|| {
            let bar = bars.add(ProgressBar::new(0));
            let style = ProgressStyle::with_template("{prefix} {bar:30} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style.progress_chars("=> "));
            bar.set_prefix(name.clone());
            bar
        });
        let name = name.trim_end().to_owned();
        let lined_at = silent.then_some(Duration::MAX);
        Self { out, name, pace: Pace::default(), bar, lined_at, line: String::new() }
    }

    /// At `at`, so many jobs were over: how long `left` more will take at the pace of the last minute, where it has one.
    pub(crate) fn pace(&mut self, at: Duration, jobs: &JobCounts) -> Option<Duration> {
        self.pace.observe(at, jobs.over());
        self.pace.time_for(jobs.left())
    }

    /// Says where jobs were at `at`, and for how long that will go on, in words.
    pub(crate) fn show(&mut self, at: Duration, jobs: &JobCounts, left: Option<&str>) {
        let said = say(jobs, &self.pace, left);
        if let Some(bar) = &self.bar {
            bar.set_length(jobs.total);
            bar.set_position(jobs.over());
            bar.set_message(said);
            return;
        }
        let due = self.lined_at.is_none_or(|last| at >= last.saturating_add(LINE_EVERY));
        if due && said != self.line {
            self.out.note(&format!("{}: {said}", self.name));
            self.lined_at = Some(at);
            self.line = said;
        }
    }

    /// Leaves the last state standing.
    pub(crate) fn finish(&mut self, jobs: &JobCounts) {
        let said = say(jobs, &self.pace, None);
        match &self.bar {
            Some(bar) => bar.abandon(),
            None if self.lined_at != Some(Duration::MAX) && said != self.line => {
                self.out.note(&format!("{}: {said}", self.name));
            }
            None => {}
        }
    }
}

/// Where jobs are, in one line.
fn say(jobs: &JobCounts, pace: &Pace, left: Option<&str>) -> String {
    let mut parts = vec![format!("{}/{} done", count(jobs.over()), count(jobs.total))];
    if jobs.in_flight > 0 {
        parts.push(format!("{} in flight", count(jobs.in_flight)));
    }
    let amiss = jobs.amiss();
    if !amiss.is_empty() {
        parts.push(amiss);
    }
    if jobs.left() > 0 {
        if let Some(rate) = pace.per_second() {
            parts.push(if rate >= 1.0 {
                format!("{rate:.1} jobs/s")
            } else {
                format!("{:.1} jobs/min", rate * 60.0)
            });
        }
        parts.extend(left.map(str::to_owned));
    }
    parts.join(", ")
}

/// Follows bytes or jobs while an input is read; shown on a terminal only.
#[derive(Debug)]
pub(crate) struct ReadProgress(Option<ProgressBar>);

impl ReadProgress {
    /// `doing` such as "judging"; `total` in bytes or jobs.
    pub(crate) fn new(out: Output, doing: &'static str, total: u64) -> Self {
        let style = ProgressStyle::with_template("{prefix} {bar:30} {percent}%");
        Self(out.stderr_is_terminal.then(|| {
            let bar = ProgressBar::with_draw_target(Some(total.max(1)), ProgressDrawTarget::stderr());
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar.set_prefix(doing);
            bar
        }))
    }

    /// One that nobody sees.
    pub(crate) fn hidden() -> Self {
        Self(None)
    }

    /// So much of it is done.
    pub(crate) fn at(&self, done: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(done);
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_rate_and_time_left_and_what_is_amiss() {
        let mut pace = Pace::default();
        pace.observe(Duration::ZERO, 100);
        pace.observe(Duration::from_secs(10), 142);
        let jobs = JobCounts {
            total: 5_000,
            queued: 4_818,
            in_flight: 40,
            succeeded: 139,
            failed: 3,
            ..JobCounts::default()
        };
        assert_eq!(
            say(&jobs, &pace, Some("19m 16s left")),
            "142/5,000 done, 40 in flight, 3 failed, 4.2 jobs/s, 19m 16s left"
        );
        let over = JobCounts { total: 2, succeeded: 2, ..JobCounts::default() };
        assert_eq!(say(&over, &pace, None), "2/2 done");
    }
}
