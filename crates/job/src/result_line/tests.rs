use dashscope::{ImageRequest, Model};

use super::*;
use crate::{
    Attempt, BatchName, CanceledBy, CustomId, FailureClass, HeldReason, JobId, OUTCOME_FORMAT, OutcomeImage,
    Priority, StoredImage,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn attempt() -> Attempt {
    Attempt {
        number: 1,
        account: "singapore".parse().unwrap(),
        claimed_at: at(1),
        send_by: at(6),
        cost_max: crate::Micros(0),
    }
}

fn known(state: JobState) -> Known {
    let mut request = ImageRequest::new(Model::Wan27Image, "a secret lighthouse");
    (request.n, request.seed) = (2, Some(7));
    let batch: BatchName = "spring".parse().unwrap();
    let id = JobId::fresh(1, 2);
    let job = Job::queued(
        id,
        Some(batch.clone()),
        Model::Wan27Image,
        None,
        2,
        Priority::default(),
        "d".into(),
        at(0),
    );
    let spec = JobSpec {
        batch: Some(batch),
        custom_id: Some(CustomId::parse("sku 1").unwrap()),
        images: vec![InputImage::Stored {
            key: ObjectKey::parse("inputs/ab").unwrap(),
            mime: "image/png".into(),
            bytes: 9,
        }],
        priority: Priority::try_from(3).unwrap(),
        ..JobSpec::new(request)
    };
    Known { job: Job { state, ..job }, spec: Some(spec), outcome: None, tries: Vec::new() }
}

fn noted(what: &str, message: Option<&str>) -> Try {
    Try {
        at: at(3),
        since: None,
        times: 1,
        attempt: 1,
        account: Some("singapore".into()),
        what: what.into(),
        code: None,
        message: message.map(str::to_owned),
        request_id: Some("req-1".into()),
        task: Some("t1".parse().unwrap()),
        candidates: Vec::new(),
    }
}

fn json(known: &Known) -> serde_json::Value {
    let place = BucketPlace::new("images", "shop/");
    serde_json::to_value(ResultLine::new(known, Some(&place), "USD")).unwrap()
}

#[test]
fn a_job_with_an_image_missing_says_where_the_others_are_and_why_it_is_not_there() {
    let mut known = known(JobState::Succeeded { task: "t1".parse().unwrap(), at: at(9), partial: true });
    known.job.billed = 2;
    known.job.stored = 1;
    known.job.cost = crate::Micros(60_000);
    known.tries = vec![noted("created", None)];
    let stored = StoredImage {
        key: ObjectKey::parse("spring/sku%201/0.png").unwrap(),
        bytes: 5,
        sha256: "ab".repeat(32),
        width: 4,
        height: 3,
    };
    let lost = ImageState::Lost { code: "link_dead".into(), reason: "its link died".into() };
    let image = |index, state| OutcomeImage { index, choice: 0, item: index, state };
    known.outcome = Some(Outcome {
        format: OUTCOME_FORMAT,
        task: "t1".parse().unwrap(),
        request_id: Some("req-2".into()),
        submitted_at: Some(at(2)),
        started_at: None,
        ended_at: Some(at(4)),
        noticed_at: at(5),
        billed: 2,
        size: None,
        texts: Vec::new(),
        unpublished: false,
        images: vec![image(0, ImageState::Stored(stored)), image(1, lost)],
    });
    let line = json(&known);
    let expected = serde_json::json!({
        "custom_id": "sku 1", "job_id": known.job.id.to_string(), "state": "succeeded", "partial": true,
        "model": "wan2.7-image", "account": "singapore", "task_id": "t1", "request_id": "req-2",
        "seed": 7, "size": "2K", "n": 2,
        "images": [
            {"index": 0, "key": "spring/sku%201/0.png", "uri": "s3://images/shop/spring/sku%201/0.png", "bytes": 5,
             "sha256": "ab".repeat(32), "width": 4, "height": 3},
            {"index": 1, "lost": "link_dead", "reason": "its link died"},
        ],
        "billed": 2, "cost": {"amount": 0.06, "micros": 60_000, "currency": "USD"},
        "times": {"enqueued_at": "1970-01-01T00:00:00Z", "submitted_at": "1970-01-01T00:00:02Z",
            "ended_at": "1970-01-01T00:00:04Z", "noticed_at": "1970-01-01T00:00:05Z", "over_at": "1970-01-01T00:00:09Z"},
        "error": {"class": "partial", "code": "images_missing",
            "message": "1 of 2 images are stored; image 1: its link died",
            "hint": "`imagemill batch retry BATCH --missing` asks for what is missing, which is billed"},
    });
    assert_eq!(line, expected, "{line:#}");
}

#[test]
fn a_failed_job_says_the_services_words_and_becomes_a_line_that_can_be_enqueued_again() {
    let class = FailureClass::Moderation;
    let mut known = known(JobState::Failed { at: at(9), class, code: "DataInspectionFailed".into() });
    known.tries = vec![noted("created", None), noted("moderation", Some("held back"))];
    let place = BucketPlace::new("images", "");
    let line = ResultLine::new(&known, Some(&place), "USD");
    let Mend::Line(errors) = ErrorsLine::of(&known, &line, Some(&place)) else {
        panic!("it cannot be mended")
    };
    let errors = errors.to_json_line();
    let errors: serde_json::Value = serde_json::from_str(&errors).unwrap();
    assert_eq!(errors["error"]["message"], "held back", "{errors:#}");
    assert_eq!(errors["error"]["code"], "DataInspectionFailed");
    assert_eq!((&errors["custom_id"], &errors["priority"]), (&"sku 1".into(), &3.into()));
    let content = &errors["body"]["input"]["messages"][0]["content"];
    assert_eq!(
        *content,
        serde_json::json!([{"image": "s3://images/inputs/ab"}, {"text": "a secret lighthouse"}])
    );
    // A prompt is in no other line, unless it is asked for.
    assert!(!line.to_json_line().contains("lighthouse"));
    assert!(line.with_request(known.spec.as_ref()).to_json_line().contains("lighthouse"));
}

#[test]
fn every_state_that_is_no_success_has_an_error_and_no_other_has() {
    let states = [
        (JobState::Queued { due: at(0), cause: None }, None),
        (JobState::Submitting { attempt: attempt() }, None),
        (JobState::Succeeded { task: "t".parse().unwrap(), at: at(1), partial: false }, None),
        (JobState::Canceled { at: at(1), by: CanceledBy::User }, Some("canceled")),
        (JobState::Expired { at: at(1), task: "t".parse().unwrap() }, Some("expired")),
        (
            JobState::Held {
                since: at(1),
                reason: HeldReason::CannotTell,
                attempt: attempt(),
                unsettled: true,
                slot_free: false,
                task: None,
            },
            Some("held"),
        ),
    ];
    for (state, class) in states {
        let known = known(state);
        let line = ResultLine::new(&known, None, "USD");
        assert_eq!(line.error.as_ref().map(|error| error.class.as_str()), class, "{}", line.state);
        let mended = matches!(ErrorsLine::of(&known, &line, None), Mend::Line(_));
        assert_eq!(mended, class.is_some() && class != Some("held"), "{}", line.state);
    }
}

#[test]
fn what_is_paid_for_or_may_be_is_no_line_to_enqueue_again() {
    let place = BucketPlace::new("images", "");
    let mend =
        |known: &Known| ErrorsLine::of(known, &ResultLine::new(known, Some(&place), "USD"), Some(&place));
    let reason = HeldReason::CannotTell;
    let held = JobState::Held {
        since: at(1),
        reason,
        attempt: attempt(),
        unsettled: true,
        slot_free: false,
        task: None,
    };
    assert_eq!(mend(&known(held)), Mend::Held);
    let task: crate::TaskId = "t".parse().unwrap();
    assert_eq!(
        mend(&known(JobState::Succeeded { task: task.clone(), at: at(1), partial: true })),
        Mend::Missing
    );
    assert_eq!(
        mend(&known(JobState::Succeeded { task: task.clone(), at: at(1), partial: false })),
        Mend::Nothing
    );
    // What a person gave up may have been made, and what was lost may be asked for already.
    let given_up = JobState::Failed { at: at(1), class: FailureClass::ByPerson, code: "ByPerson".into() };
    assert_eq!(mend(&known(given_up)), Mend::Held);
    let mut lost = known(JobState::Expired { at: at(1), task: task.clone() });
    lost.job.billed = 1;
    assert_eq!(mend(&lost), Mend::Missing);
    let gone = Known { spec: None, ..known(JobState::Expired { at: at(1), task }) };
    assert_eq!(mend(&gone), Mend::Unreadable);
}

#[test]
fn a_stable_key_is_named_only_where_the_jobs_images_were_put_under_it() {
    let task: crate::TaskId = "t1".parse().unwrap();
    let over = |partial| JobState::Succeeded { task: task.clone(), at: at(9), partial };
    let under_way = JobState::Queued { due: at(0), cause: None };
    let stable_key = |state, unpublished, lost: bool| {
        let mut known = known(state);
        let version = format!("shoes/sku/versions/{}/0.png", known.job.id);
        let stored = StoredImage {
            key: ObjectKey::parse(&version).unwrap(),
            bytes: 5,
            sha256: "ab".repeat(32),
            width: 4,
            height: 3,
        };
        let lost =
            lost.then(|| ImageState::Lost { code: "link_dead".into(), reason: "its link died".into() });
        let states = [Some(ImageState::Stored(stored)), lost].into_iter().flatten().zip(0..);
        let images = states.map(|(state, index)| OutcomeImage { index, choice: 0, item: index, state });
        // As an older record, which does not say whether it was published.
        let outcome = serde_json::json!({
            "v": OUTCOME_FORMAT, "task": "t1", "noticed_at": at(5), "billed": 1, "images": images.collect::<Vec<_>>(),
        });
        let outcome: Outcome = serde_json::from_value(outcome).unwrap();
        known.outcome = Some(Outcome { unpublished, ..outcome });
        known.spec.as_mut().unwrap().refresh =
            Some(crate::Refresh { collection: "shoes".parse().unwrap(), keep: 3, content: "c".into() });
        json(&known)["images"][0]["stable_key"].as_str().map(str::to_owned)
    };
    assert_eq!(stable_key(over(false), false, false).as_deref(), Some("shoes/sku/0.png"));
    assert_eq!(stable_key(over(false), true, false), None);
    assert_eq!(stable_key(over(true), false, true), None);
    assert_eq!(stable_key(under_way, false, false), None);
}
