//! Which jobs of a batch are meant. Pure.

use job::{BatchName, FailureClass, Job, JobState, StateName};

use crate::args::{RetryBatch, Where};
use crate::exit_code;
use crate::failure::Failure;

/// Which jobs of a batch are meant.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) batch: BatchName,
    /// Whether only their missing images are asked for.
    pub(super) missing: bool,
    /// In one of these.
    pub(super) states: Vec<StateName>,
    /// Of one class of each of these.
    classes: Vec<Vec<FailureClass>>,
    /// With one code of each of these.
    codes: Vec<Vec<String>>,
}

impl Choice {
    /// What the arguments say.
    ///
    /// # Errors
    ///
    /// Conditions that no job can meet: exit code 2.
    pub(super) fn new(args: &RetryBatch) -> Result<Self, Failure> {
        let mut states = match args.missing {
            true => vec![StateName::Succeeded, StateName::Expired],
            false => vec![StateName::Failed, StateName::Canceled, StateName::Expired],
        };
        let (mut classes, mut codes) = (Vec::new(), Vec::new());
        for condition in &args.conditions {
            match condition {
                Where::State(wanted) => states.retain(|state| wanted.contains(state)),
                Where::Class(wanted) => classes.push(wanted.clone()),
                Where::Code(wanted) => codes.push(wanted.clone()),
            }
        }
        // Only a failed job has a class and a code.
        if !classes.is_empty() || !codes.is_empty() {
            states.retain(|state| *state == StateName::Failed);
        }
        if states.is_empty() {
            let failure = Failure::message("no job can meet all of these conditions").exit(exit_code::USAGE);
            return Err(failure.hint(
                "only failed jobs have a class and a code; --missing looks at succeeded and expired jobs, a plain retry at failed, \
                 canceled and expired ones",
            ));
        }
        Ok(Self { batch: args.name.clone(), missing: args.missing, states, classes, codes })
    }

    /// Whether this job is meant. What a person gave up may have been made after all: it is meant only where that class is named.
    pub(super) fn fits(&self, job: &Job) -> bool {
        if !self.states.contains(&job.state_name()) {
            return false;
        }
        let JobState::Failed { class, code, .. } = &job.state else {
            return self.classes.is_empty() && self.codes.is_empty();
        };
        let by_person = *class == FailureClass::ByPerson;
        (!by_person || !self.classes.is_empty())
            && self.classes.iter().all(|wanted| wanted.contains(class))
            && self.codes.iter().all(|wanted| wanted.iter().any(|one| one.eq_ignore_ascii_case(code)))
    }
}

#[cfg(test)]
mod tests {
    use job::{JobId, Model, Priority, Timestamp};

    use super::*;

    fn choice(missing: bool, conditions: &[&str]) -> Result<Choice, Failure> {
        Choice::new(&RetryBatch {
            name: "b".parse().unwrap(),
            conditions: conditions.iter().map(|text| text.parse().unwrap()).collect(),
            missing,
            dry_run: false,
            yes: false,
        })
    }

    fn failed(class: FailureClass, code: &str) -> Job {
        let now = Timestamp::UNIX_EPOCH;
        let job = Job::queued(
            JobId::fresh(0, 1),
            None,
            Model::Wan27Image,
            None,
            1,
            Priority::default(),
            "d".into(),
            now,
        );
        Job { state: JobState::Failed { at: now, class, code: code.into() }, ..job }
    }

    #[test]
    fn all_conditions_must_hold() {
        let jobs = [
            failed(FailureClass::Service, "InternalError"),
            failed(FailureClass::Service, "RequestTimeOut"),
            failed(FailureClass::Moderation, "DataInspectionFailed"),
        ];
        let fitting = |conditions: &[&str]| {
            let choice = choice(false, conditions).unwrap();
            jobs.iter().map(|job| choice.fits(job)).collect::<Vec<_>>()
        };
        assert_eq!(fitting(&[]), [true, true, true]);
        assert_eq!(fitting(&["class=service"]), [true, true, false]);
        assert_eq!(fitting(&["class=service", "code=internalerror"]), [true, false, false]);
        assert_eq!(fitting(&["class=service", "class=moderation"]), [false, false, false]);
        assert_eq!(fitting(&["class=service,moderation"]), [true, true, true]);
        assert_eq!(fitting(&["state=canceled,expired"]), [false, false, false]);
        let given_up = failed(FailureClass::ByPerson, "ByPerson");
        assert!(!choice(false, &[]).unwrap().fits(&given_up));
        assert!(choice(false, &["class=by_person"]).unwrap().fits(&given_up));
    }

    #[test]
    fn conditions_that_no_job_can_meet_are_refused() {
        for (missing, conditions) in
            [(false, ["state=succeeded"]), (true, ["state=failed"]), (true, ["class=service"])]
        {
            assert_eq!(choice(missing, &conditions).unwrap_err().exit_code, exit_code::USAGE);
        }
        assert!(choice(false, &["state=expired", "code=X"]).is_err());
    }
}
