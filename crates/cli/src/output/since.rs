//! What became of all jobs while somebody watches. Pure.

use super::batch::JobCounts;

/// Turns counts over everything into counts since the first look, so that what ended long ago says nothing of what is watched.
#[derive(Debug, Default)]
pub(crate) struct Since {
    last: Option<JobCounts>,
    ended: JobCounts,
}

impl Since {
    /// Counts over everything now; answers with what has ended since the first look, and what is there now that has not.
    ///
    /// Counts of ended jobs fall when their records are removed, so that each rise is added up for itself.
    pub(crate) fn look(&mut self, now: JobCounts) -> JobCounts {
        let last = self.last.replace(now).unwrap_or(now);
        let ended = &mut self.ended;
        ended.succeeded += now.succeeded.saturating_sub(last.succeeded);
        ended.failed += now.failed.saturating_sub(last.failed);
        ended.canceled += now.canceled.saturating_sub(last.canceled);
        ended.expired += now.expired.saturating_sub(last.expired);
        let JobCounts { queued, in_flight, held, partial, .. } = now;
        JobCounts {
            total: ended.over() + queued + in_flight + held,
            queued,
            in_flight,
            held,
            partial,
            ..*ended
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code;

    #[test]
    fn what_ended_before_the_first_look_does_not_decide_how_a_watch_ends() {
        let mut since = Since::default();
        let before = JobCounts { total: 15, succeeded: 8, failed: 4, queued: 3, ..JobCounts::default() };
        let first = since.look(before);
        assert_eq!((first.total, first.over(), first.exit_code()), (3, 0, exit_code::DONE));
        let done = since.look(JobCounts { succeeded: 11, queued: 0, ..before });
        assert_eq!((done.total, done.succeeded, done.exit_code()), (3, 3, exit_code::DONE));
        // Retention takes old failures away while a job fails.
        since.look(JobCounts { succeeded: 11, queued: 0, failed: 0, ..before });
        let failed = since.look(JobCounts { succeeded: 11, queued: 0, failed: 1, ..before });
        assert_eq!((failed.total, failed.failed, failed.exit_code()), (4, 1, exit_code::FAILED));
    }

    #[test]
    fn held_jobs_that_are_there_remain_whenever_they_were_held() {
        let held = JobCounts { total: 1, held: 1, ..JobCounts::default() };
        assert_eq!(Since::default().look(held).exit_code(), exit_code::HELD);
    }
}
