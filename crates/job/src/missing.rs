//! The images that a job asked for and did not deliver, and the job that asks for them again. Pure.
//!
//! They are a job of their own, with its own keys: the old one's images stay where they are. Its name follows from the old one's,
//! so that whoever asks twice gets the same job, and pays once.

use crate::{CustomId, Job, JobSpec, JobState, Outcome};

/// What the name of a job for missing images ends in; from the second on with a number.
const SUFFIX: &str = "~missing";

/// How many of its images an ended job did not deliver; 0 for any other job.
///
/// A set may bring fewer images than were asked for; of it only those count that the task brought and that are lost.
pub fn images_missing(job: &Job, spec: &JobSpec, outcome: Option<&Outcome>) -> u8 {
    let is_set = spec.request.enable_sequential;
    let brought = outcome.map(|outcome| u8::try_from(outcome.images.len()).unwrap_or(u8::MAX));
    let wanted = match &job.state {
        JobState::Succeeded { .. } if is_set => brought.unwrap_or(job.stored),
        JobState::Expired { .. } if is_set => brought.unwrap_or(job.images_max),
        JobState::Succeeded { .. } | JobState::Expired { .. } => job.images_max,
        _ => return 0,
    };
    wanted.saturating_sub(job.stored)
}

/// The spec of the job that asks for `images` that `job` did not deliver.
pub fn missing_spec(job: &Job, spec: &JobSpec, images: u8) -> JobSpec {
    let mut request = spec.request.clone();
    request.n = images;
    // Images that are made one by one replace no others.
    JobSpec { custom_id: Some(name(job, spec)), request, refresh: None, ..spec.clone() }
}

/// The old name with the suffix; without a name, or with one too long for it, the job's id with it.
fn name(job: &Job, spec: &JobSpec) -> CustomId {
    let of_custom_id = spec.custom_id.as_ref().map(|name| next(name.as_str()));
    let of_id = next(&job.id.to_string());
    of_custom_id
        .and_then(|name| CustomId::parse(&name).ok())
        .unwrap_or_else(|| CustomId::parse(&of_id).expect("an id with a short ending is a custom_id"))
}

fn next(name: &str) -> String {
    match name.rsplit_once(SUFFIX) {
        Some((base, "")) => format!("{base}{SUFFIX}2"),
        Some((base, number)) => match number.parse::<u32>() {
            Ok(number) if number >= 2 => format!("{base}{SUFFIX}{}", number.saturating_add(1)),
            _ => format!("{name}{SUFFIX}"),
        },
        None => format!("{name}{SUFFIX}"),
    }
}

#[cfg(test)]
mod tests {
    use dashscope::{ImageRequest, Model};

    use super::*;
    use crate::{ImageState, JobId, OUTCOME_FORMAT, OutcomeImage, Priority, Timestamp};

    fn spec(n: u8, set: bool, custom_id: Option<&str>) -> JobSpec {
        let mut request = ImageRequest::new(Model::Wan27Image, "a kite");
        (request.n, request.enable_sequential, request.seed) = (n, set, Some(7));
        JobSpec {
            batch: Some("b".parse().unwrap()),
            custom_id: custom_id.map(|name| name.parse().unwrap()),
            ..JobSpec::new(request)
        }
    }

    fn job(spec: &JobSpec, state: JobState, stored: u8) -> Job {
        let (id, now) = (JobId::fresh(0, 1), Timestamp::UNIX_EPOCH);
        let batch = spec.batch.clone();
        let queued = Job::queued(
            id,
            batch,
            Model::Wan27Image,
            None,
            spec.images_max(),
            Priority::default(),
            "d".into(),
            now,
        );
        Job { state, stored, ..queued }
    }

    fn succeeded(partial: bool) -> JobState {
        JobState::Succeeded { task: "t".parse().unwrap(), at: Timestamp::UNIX_EPOCH, partial }
    }

    fn expired() -> JobState {
        JobState::Expired { task: "t".parse().unwrap(), at: Timestamp::UNIX_EPOCH }
    }

    fn outcome(lost: u8) -> Outcome {
        let state = ImageState::Lost { code: "c".into(), reason: "r".into() };
        let image = |index| OutcomeImage { index, choice: index, item: 0, state: state.clone() };
        Outcome {
            format: OUTCOME_FORMAT,
            task: "t".parse().unwrap(),
            request_id: None,
            submitted_at: None,
            started_at: None,
            ended_at: None,
            noticed_at: Timestamp::UNIX_EPOCH,
            billed: lost,
            size: None,
            texts: Vec::new(),
            unpublished: false,
            images: (0..lost).map(image).collect(),
        }
    }

    #[test]
    fn a_set_that_brought_fewer_is_whole_and_anything_else_is_not() {
        let (single, set) = (spec(4, false, None), spec(4, true, None));
        let cases = [
            (&single, succeeded(false), 3, None, 1),
            (&single, succeeded(false), 4, None, 0),
            (&single, expired(), 0, None, 4),
            (&set, succeeded(false), 3, None, 0),
            (&set, succeeded(false), 2, Some(outcome(2)), 0),
            (&set, succeeded(true), 1, Some(outcome(3)), 2),
            (&set, expired(), 0, Some(outcome(3)), 3),
            (&set, expired(), 0, None, 4),
        ];
        for (spec, state, stored, outcome, expected) in cases {
            let job = job(spec, state, stored);
            assert_eq!(images_missing(&job, spec, outcome.as_ref()), expected, "{job:?} {outcome:?}");
        }
        let queued = JobState::Queued { due: Timestamp::UNIX_EPOCH, cause: None };
        assert_eq!(images_missing(&job(&single, queued, 0), &single, None), 0);
    }

    #[test]
    fn whoever_asks_twice_asks_for_the_same_job() {
        let asked = |custom_id: Option<&str>| {
            let spec = spec(4, false, custom_id);
            let again = missing_spec(&job(&spec, expired(), 0), &spec, 3);
            assert_eq!((again.request.n, again.request.seed), (3, Some(7)));
            assert_eq!(again.batch, spec.batch);
            again.custom_id.unwrap().to_string()
        };
        assert_eq!(asked(Some("sku-1")), "sku-1~missing");
        assert_eq!(asked(Some("sku-1~missing")), "sku-1~missing2");
        assert_eq!(asked(Some("sku-1~missing2")), "sku-1~missing3");
        assert_eq!(asked(Some("sku-1~missing-hat")), "sku-1~missing-hat~missing");
        let id = JobId::fresh(0, 1);
        assert_eq!(asked(None), format!("{id}~missing"));
        assert_eq!(asked(Some(&"x".repeat(256))), format!("{id}~missing"));
    }
}
