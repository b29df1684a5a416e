use dashscope::{ImageInput, ImageRequest, ImageUrl};
use job::{
    Attempt, BatchName, CustomId, InputImage, JobId, Micros, OUTCOME_FORMAT, OutcomeImage, Priority,
    StoredImage,
};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn link() -> ImageUrl {
    ImageUrl::new("https://dashscope-a.oss-b.aliyuncs.com/1.png?Expires=1&Signature=secret".to_owned())
        .unwrap()
}

fn known() -> Known {
    let batch = BatchName::parse("spring").unwrap();
    let custom_id = CustomId::parse("sku-1").unwrap();
    let spec = JobSpec {
        batch: Some(batch.clone()),
        custom_id: Some(custom_id),
        images: vec![InputImage::Direct(ImageInput::Link(link()))],
        ..JobSpec::new(ImageRequest {
            n: 2,
            seed: Some(7),
            ..ImageRequest::new(Model::Wan27Image, "a secret prompt")
        })
    };
    let id = JobId::fresh(0, 1);
    let queued =
        Job::queued(id, Some(batch), Model::Wan27Image, None, 2, Priority::default(), "d".into(), at(0));
    let attempt = Attempt {
        number: 1,
        account: AccountName::parse("singapore").unwrap(),
        claimed_at: at(10),
        send_by: at(15),
        cost_max: Micros(60_000),
    };
    let state = JobState::Archiving {
        attempt,
        task: "t-1".parse().unwrap(),
        created_at: at(11),
        due: at(50),
        deadline: at(86_411),
        images: 2,
        tries: 1,
        refetches: 0,
    };
    let job = Job { state, attempts: 1, tasks: 1, billed: 2, stored: 1, cost: Micros(60_000), ..queued };
    let stored = StoredImage {
        key: job::ObjectKey::parse("spring/sku-1/0.png").unwrap(),
        bytes: 1_400_000,
        sha256: "ab".repeat(32),
        width: 2048,
        height: 2048,
    };
    let image = |index, state| OutcomeImage { index, choice: 0, item: index, state };
    let outcome = Outcome {
        format: OUTCOME_FORMAT,
        task: "t-1".parse().unwrap(),
        request_id: None,
        submitted_at: None,
        started_at: None,
        ended_at: None,
        noticed_at: at(40),
        billed: 2,
        size: None,
        texts: Vec::new(),
        unpublished: false,
        images: vec![
            image(0, ImageState::Stored(stored)),
            image(1, ImageState::Waiting { link: link(), deadline: at(86_411) }),
        ],
    };
    let line = Try {
        at: at(5),
        since: Some(at(2)),
        times: 3,
        attempt: 1,
        account: Some("singapore".into()),
        what: "refused".into(),
        code: Some("Throttling.RateQuota".into()),
        message: Some("Requests rate limit exceeded".into()),
        request_id: Some("r-1".into()),
        task: None,
        candidates: Vec::new(),
    };
    Known { job, spec: Some(spec), outcome: Some(outcome), tries: vec![line] }
}

fn view(prompt: bool) -> JobView {
    let (rules, template, prices) = (Rules::default(), KeyTemplate::default(), Prices::default());
    let lens = Lens { rules: &rules, template: &template, prices: &prices, prompt, now: at(45) };
    JobView::new(&known(), &lens)
}

#[test]
fn people_see_state_next_step_images_and_history() {
    insta::assert_snapshot!(view(false).render(at(45)), @r"
    job        00000000000000000000000001
    batch      spring
    custom_id  sku-1
    state      archiving
    next       the next round of copying, in 5s
    enqueued   45s ago (1970-01-01 00:00:00)
    model      wan2.7-image
    asks for   edit, size 2K, n 2, seed 7
    input      https://dashscope-a.oss-b.aliyuncs.com/1.png?[redacted]
    prompt     15 characters
    priority   5
    account    singapore
    task       t-1
    attempts   1
    images     1 stored, 2 billed, 2 at most
    cost       0.06 USD
    links die  in 23h 59m (1970-01-02 00:00:11)

    IMAGE  STATE    PIXELS       SIZE  KEY
        0  stored   2048*2048  1.4 MB  spring/sku-1/0.png
        1  waiting                     its link dies in 23h 59m

    TIME (UTC)           ATTEMPT  ACCOUNT    WHAT                                  CODE                  MESSAGE                       IDS
    1970-01-01 00:00:05        1  singapore  refused 3x since 1970-01-01 00:00:02  Throttling.RateQuota  Requests rate limit exceeded  request r-1
    ");
}

#[test]
fn the_json_has_the_documented_shape() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&view(false)).unwrap(), @r#"
    {
      "job": "00000000000000000000000001",
      "batch": "spring",
      "custom_id": "sku-1",
      "state": "archiving",
      "reason": null,
      "model": "wan2.7-image",
      "attempts": 1,
      "stored": 1,
      "images_max": 2,
      "enqueued_at": "1970-01-01T00:00:00Z",
      "cancel_requested": false,
      "doubt": null,
      "next": "the next round of copying, in 5s",
      "due_at": "1970-01-01T00:00:50Z",
      "account": "singapore",
      "task": "t-1",
      "links_die_at": "1970-01-02T00:00:11Z",
      "priority": 5,
      "request": {
        "scenario": "edit",
        "size": "2K",
        "n": 2,
        "seed": 7,
        "inputs": [
          "https://dashscope-a.oss-b.aliyuncs.com/1.png?[redacted]"
        ],
        "prompt_chars": 15
      },
      "images": [
        {
          "index": 0,
          "state": "stored",
          "key": "spring/sku-1/0.png",
          "bytes": 1400000,
          "width": 2048,
          "height": 2048,
          "sha256": "abababababababababababababababababababababababababababababababab",
          "link_dies_at": null,
          "reason": null
        },
        {
          "index": 1,
          "state": "waiting",
          "key": "spring/sku-1/1.png",
          "bytes": null,
          "width": null,
          "height": null,
          "sha256": null,
          "link_dies_at": "1970-01-02T00:00:11Z",
          "reason": null
        }
      ],
      "billed": 2,
      "cost": {
        "amount": 0.06,
        "micros": 60000,
        "currency": "USD"
      },
      "lost": {
        "images": 0,
        "cost": {
          "amount": 0.0,
          "micros": 0,
          "currency": "USD"
        }
      },
      "tries": [
        {
          "at": "1970-01-01T00:00:05Z",
          "since": "1970-01-01T00:00:02Z",
          "times": 3,
          "attempt": 1,
          "account": "singapore",
          "what": "refused",
          "code": "Throttling.RateQuota",
          "message": "Requests rate limit exceeded",
          "request_id": "r-1"
        }
      ]
    }
    "#);
}

#[test]
fn no_link_is_shown_and_a_prompt_only_when_asked_for() {
    let shown =
        |prompt| format!("{}{}", view(prompt).render(at(45)), serde_json::to_string(&view(prompt)).unwrap());
    assert!(!shown(false).contains("secret"), "{}", shown(false));
    assert!(shown(true).contains("a secret prompt") && !shown(true).contains("Signature=secret"));
}

#[test]
fn a_list_has_a_line_for_each_job() {
    let known = known();
    insta::assert_snapshot!(list(&[JobRow::new(&known.job, known.spec.as_ref(), &known.tries)], at(45)), @r"
    JOB                         BATCH   CUSTOM ID  STATE      IMAGES  ATTEMPTS  ENQUEUED  REASON
    00000000000000000000000001  spring  sku-1      archiving     1/2         1  45s ago
    ");
}

/// The same job, over: what is not stored is lost.
fn over(state: JobState, stored: u8, billed: u16) -> String {
    let mut known = known();
    known.job = Job { state, stored, billed, cost: Micros(30_000 * i64::from(billed)), ..known.job };
    if let Some(outcome) = &mut known.outcome {
        let reason = "what came is not a whole PNG".to_owned();
        outcome.images[1].state = ImageState::Lost { code: "not_png".to_owned(), reason };
    }
    let (rules, template, prices) = (Rules::default(), KeyTemplate::default(), Prices::default());
    let lens = Lens { rules: &rules, template: &template, prices: &prices, prompt: false, now: at(45) };
    JobView::new(&known, &lens).render(at(45))
}

#[test]
fn a_job_that_lost_images_says_which_why_and_what_they_cost() {
    let task = || "t-1".parse().unwrap();
    let partial = over(JobState::Succeeded { task: task(), at: at(40), partial: true }, 1, 2);
    assert!(partial.contains("state      succeeded (images missing)"), "{partial}");
    assert!(partial.contains("lost       1 image billed and not in the bucket, 0.03 USD"), "{partial}");
    assert!(
        partial.contains("1  lost                       not_png: what came is not a whole PNG"),
        "{partial}"
    );
    let expired = over(JobState::Expired { task: task(), at: at(40) }, 0, 2);
    assert!(expired.contains("lost       2 images billed and not in the bucket, 0.06 USD"), "{expired}");
    assert!(!expired.contains("links die  "), "{expired}");
    let forgotten = over(JobState::Expired { task: task(), at: at(40) }, 0, 0);
    assert!(forgotten.contains("lost       at most 2 images: DashScope forgot the task"), "{forgotten}");
}
