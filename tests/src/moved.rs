//! How long the polls and copies of a killed worker wait for another one.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::fleet::Kill;
use crate::logs::{Step, WorkerLog};

/// A step that a killed worker had in hand.
#[derive(Debug, Clone, PartialEq)]
pub struct Moved {
    /// The job.
    pub job: String,
    /// `poll` or `archive`.
    pub step: String,
    /// Whether the job had been taken over before, and nothing of it written down since: then it waits longer and longer, so that
    /// what kills its workers does not kill them all.
    pub again: bool,
    /// From the kill to the next claim of the job by anybody; `None`: there was none.
    pub after: Option<Duration>,
}

/// What killed workers held, as the logs tell: a step that began and never ended, whose job was taken over later on. A step whose
/// job was claimed again without that had been written down before the kill; nothing of it was left to be moved.
///
/// Whatever overlaps one of `outages` is left out: nobody claims anything from a Redis that is away.
pub fn moved(logs: &[WorkerLog], kills: &[Kill], outages: &[(Timestamp, Timestamp)]) -> Vec<Moved> {
    let mut claims: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    let mut rescues: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    let mut ends: BTreeMap<String, Vec<Timestamp>> = BTreeMap::new();
    let mut held: BTreeMap<&str, Vec<Step>> = BTreeMap::new();
    for log in logs {
        for step in log.steps() {
            claims.entry(step.job.clone()).or_default().push(step.began);
            ends.entry(step.job.clone()).or_default().extend(step.ended);
            if step.ended.is_none() && step.step != "submit" {
                held.entry(&log.name).or_default().push(step);
            }
        }
        for line in log.lines.iter().filter(|line| line.is_rescue()) {
            if let Some(job) = line.job() {
                rescues.entry(job.to_owned()).or_default().push(line.at);
            }
        }
    }
    let first_after = |times: &BTreeMap<String, Vec<Timestamp>>, job: &str, at: Timestamp| {
        times.get(job).into_iter().flatten().copied().filter(|time| *time > at).min()
    };
    let last_before = |times: &BTreeMap<String, Vec<Timestamp>>, job: &str, at: Timestamp| {
        times.get(job).into_iter().flatten().copied().filter(|time| *time <= at).max()
    };
    let mut moved = Vec::new();
    for kill in kills {
        for step in held.get(kill.worker.as_str()).into_iter().flatten() {
            let (rescue, claim) =
                (first_after(&rescues, &step.job, kill.at), first_after(&claims, &step.job, kill.at));
            let Some(rescue) = rescue else { continue };
            if claim.is_some_and(|claim| claim < rescue) {
                continue;
            }
            let until = claim.unwrap_or(rescue);
            if outages.iter().any(|(from, to)| kill.at <= *to && until >= *from) {
                continue;
            }
            let before = last_before(&rescues, &step.job, kill.at);
            let again = before.is_some() && before >= last_before(&ends, &step.job, kill.at);
            let after = claim.map(|claim| claim.duration_since(kill.at).unsigned_abs());
            moved.push(Moved { job: step.job.clone(), step: step.step.clone(), again, after });
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn begins(second: i64, job: &str, fence: i64) -> String {
        format!(
            "{{\"timestamp\":\"{}\",\"message\":\"Job {job} is claimed: poll begins\",\"job.id\":\"{job}\",\"step\":\"poll\",\"fence\":{fence}}}\n",
            at(second)
        )
    }

    fn rescue(second: i64, job: &str) -> String {
        format!(
            "{{\"timestamp\":\"{}\",\"message\":\"The worker of job {job} vanished while it was polling\",\"job.id\":\"{job}\"}}\n",
            at(second)
        )
    }

    #[test]
    fn the_time_runs_from_the_kill_to_the_claim_after_the_rescue() {
        let first = [begins(0, "taken", 1), begins(0, "written", 1), begins(0, "away", 1)].concat();
        let second = [
            begins(5, "written", 2),
            rescue(9, "taken"),
            begins(10, "taken", 3),
            rescue(40, "away"),
            begins(41, "away", 3),
        ]
        .concat();
        let logs = [WorkerLog::new("a", first), WorkerLog::new("b", second)];
        let kills = [Kill { worker: "a".to_owned(), at: at(1) }];
        let found = moved(&logs, &kills, &[(at(20), at(30))]);
        let taken = Moved {
            job: "taken".to_owned(),
            step: "poll".to_owned(),
            again: false,
            after: Some(Duration::from_secs(9)),
        };
        assert_eq!(found, [taken]);
        assert_eq!(moved(&logs, &kills, &[]).len(), 2);
    }

    #[test]
    fn a_job_that_loses_its_second_worker_in_the_same_step_is_told_apart() {
        let logs = [
            WorkerLog::new("a", begins(0, "j", 1)),
            WorkerLog::new("b", [rescue(3, "j"), begins(4, "j", 3)].concat()),
            WorkerLog::new("c", [rescue(8, "j"), begins(18, "j", 5)].concat()),
        ];
        let kill = |worker: &str, second| Kill { worker: worker.to_owned(), at: at(second) };
        let found = moved(&logs, &[kill("a", 1), kill("b", 5)], &[]);
        let again: Vec<_> = found.iter().map(|moved| (moved.again, moved.after.unwrap().as_secs())).collect();
        assert_eq!(again, [(false, 3), (true, 13)]);
    }
}
