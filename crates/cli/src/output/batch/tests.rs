use std::collections::BTreeMap;

use queue::BatchBudget;

use super::*;

fn summary(counts: &[(StateName, u64)]) -> BatchSummary {
    BatchSummary {
        name: Some("spring".parse().unwrap()),
        total: counts.iter().map(|(_, count)| count).sum(),
        left: 0,
        by_state: counts.iter().copied().collect::<BTreeMap<_, _>>(),
        expected: 20,
        billed: 3,
        stored: 3,
        partial: 0,
        cost: Micros(225_000),
        extra_images: 0,
        extra_cost: Micros(0),
        lost: 0,
        lost_cost: Micros(0),
        reserved: Micros(0),
        budget: BatchBudget::OfSettings,
        waits_since: None,
        sealed: true,
        paused: false,
        created_at: Timestamp::from_second(0).unwrap(),
        ended_at: None,
        ends: 0,
        undelivered: 0,
    }
}

fn view(counts: &[(StateName, u64)]) -> BatchView {
    BatchView::new(&summary(counts), "USD")
}

const MIXED: [(StateName, u64); 5] = [
    (StateName::Queued, 5),
    (StateName::Polling, 2),
    (StateName::Archiving, 1),
    (StateName::Succeeded, 3),
    (StateName::Failed, 1),
];

#[test]
fn the_json_has_the_documented_shape_and_its_counts_sum_to_the_total() {
    let json = serde_json::to_value(view(&MIXED)).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap(), @r#"
    {
      "batch": "spring",
      "cost": {
        "amount": 0.225,
        "currency": "USD",
        "micros": 225000
      },
      "created_at": "1970-01-01T00:00:00Z",
      "ended_at": null,
      "images": {
        "billed": 3,
        "expected": 20,
        "stored": 3
      },
      "jobs": {
        "canceled": 0,
        "expired": 0,
        "failed": 1,
        "held": 0,
        "in_flight": 3,
        "partial": 0,
        "queued": 5,
        "succeeded": 3,
        "total": 12
      },
      "lost": {
        "cost": {
          "amount": 0.0,
          "currency": "USD",
          "micros": 0
        },
        "images": 0
      },
      "sealed": true,
      "state": "running"
    }
    "#);
    let of = |name: &str| json["jobs"][name].as_u64().unwrap();
    let sum: u64 =
        ["queued", "in_flight", "succeeded", "failed", "canceled", "expired", "held"].map(of).iter().sum();
    assert_eq!(sum, of("total"));
}

#[test]
fn people_see_the_same_in_words() {
    insta::assert_snapshot!(view(&MIXED).render(Timestamp::from_second(90).unwrap()), @r"
    batch        spring
    state        running
    enqueued     1m 30s ago
    ended        not yet
    jobs         4 of 12 over
      queued     5
      in flight  3
      succeeded  3
      failed     1
      canceled   0
      expired    0
      held       0
    images       3 stored, 3 billed, 20 at most
    cost         0.225 USD
    ");
    insta::assert_snapshot!(list(&[view(&MIXED)], Timestamp::from_second(90).unwrap()), @r"
    BATCH   STATE    JOBS  LEFT  STORED       COST  AMISS     ENQUEUED
    spring  running    12     8       3  0.225 USD  1 failed  1m 30s ago
    ");
}

#[test]
fn a_batch_that_waits_for_its_budget_says_so_and_one_that_does_not_is_silent_about_it() {
    let poor = BatchSummary {
        budget: BatchBudget::Own(Micros(300_000)),
        reserved: Micros(75_000),
        waits_since: Some(Timestamp::from_second(30).unwrap()),
        ..summary(&MIXED)
    };
    let now = Timestamp::from_second(90).unwrap();
    let shown = BatchView::new(&poor, "USD").with_budget(&poor, None);
    let lines = |of: &BatchView| {
        let text = of.render(now);
        let lines: Vec<_> =
            text.lines().filter(|line| line.starts_with("state") || line.starts_with("budget")).collect();
        lines.join("\n")
    };
    insta::assert_snapshot!(lines(&shown), @r"
    state        running; jobs wait for the budget of the batch (since 1m 00s ago)
    budget       0.225 of 0.30 USD spent, 0.075 reserved
    ");
    insta::assert_snapshot!(list(std::slice::from_ref(&shown), now), @r"
    BATCH   STATE    JOBS  LEFT  STORED       COST  AMISS                           ENQUEUED
    spring  running    12     8       3  0.225 USD  1 failed, waits for its budget  1m 30s ago
    ");
    let json = serde_json::to_value(&shown).unwrap();
    insta::assert_snapshot!(serde_json::json!({ "budget": json["budget"], "waits_for": json["waits_for"] }).to_string(), @r#"{"budget":{"booked":{"amount":0.225,"currency":"USD","micros":225000},"limit":{"amount":0.3,"currency":"USD","micros":300000},"reserved":{"amount":0.075,"currency":"USD","micros":75000}},"waits_for":[{"budget":"batch","since":"1970-01-01T00:00:30Z"}]}"#);
    let paused = BatchSummary { paused: true, ..poor.clone() };
    assert!(BatchView::new(&paused, "USD").waits_for.is_empty(), "it waits for the person first");
    // By the settings, and without any.
    let of_settings = BatchSummary { budget: BatchBudget::OfSettings, ..poor };
    let limit = |per_batch| BatchView::new(&of_settings, "USD").with_budget(&of_settings, per_batch).budget;
    assert_eq!(limit(Some(Micros(5))).unwrap().limit.unwrap().micros, 5);
    assert!(limit(None).is_none());
}

#[test]
fn a_forecast_says_what_it_goes_by_and_is_absent_where_there_is_none() {
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    let shown = |eta: &BatchEta| {
        let view = view(&MIXED).with_eta(Some(eta), at(90));
        let line = view.render(at(90)).lines().find(|line| line.starts_with("eta")).unwrap().to_owned();
        (line, serde_json::to_value(&view).unwrap().get("eta").cloned())
    };
    let (line, json) = shown(&BatchEta::AtPace(at(3_690)));
    assert_eq!(line, "eta          in 1h 00m, at the pace of the last minutes");
    assert_eq!(json, Some("1970-01-01T01:01:30Z".into()));
    let (line, _) = shown(&BatchEta::AtTheLatest { at: at(3_690), delayed: 0 });
    assert_eq!(line, "eta          in 1h 00m at the latest, with all that waits for the same accounts");
    let (line, _) = shown(&BatchEta::AtTheLatest { at: at(3_690), delayed: 2 });
    assert_eq!(line, "eta          in 1h 00m, without 2 jobs waiting for their time");
    let (line, json) = shown(&BatchEta::Unknown(job::Eta::Stopped, None));
    assert_eq!((line.as_str(), json), ("eta          never while no account may create", None));
}

#[test]
fn what_is_lost_is_said_with_its_cost() {
    let expired = BatchSummary {
        lost: 3,
        lost_cost: Micros(90_000),
        partial: 1,
        ..summary(&[(StateName::Succeeded, 4), (StateName::Expired, 2)])
    };
    let view = BatchView::new(&expired, "USD");
    let shown = view.render(Timestamp::from_second(90).unwrap());
    assert!(shown.contains("succeeded  4 (1 with images missing)"), "{shown}");
    assert!(shown.contains("expired    2"), "{shown}");
    assert!(shown.contains("lost         3 images billed and not in the bucket, 0.09 USD"), "{shown}");
    let json = serde_json::to_value(&view).unwrap();
    assert_eq!((&json["lost"]["images"], &json["lost"]["cost"]["micros"]), (&3.into(), &90_000.into()));
    assert_eq!(view.jobs.exit_code(), exit_code::FAILED);
}

#[test]
fn a_batch_is_done_when_it_is_sealed_and_nothing_is_left() {
    use StateName::{Held, Queued, Succeeded};
    assert_eq!(view(&[(Succeeded, 2)]).state, BatchState::Done);
    assert_eq!(view(&[(Succeeded, 2), (Held, 1)]).state, BatchState::Held);
    assert_eq!(view(&[(Queued, 1), (Held, 1)]).state, BatchState::Running);
    let open = BatchSummary { sealed: false, ..summary(&[(Succeeded, 2)]) };
    assert_eq!(BatchView::new(&open, "USD").state, BatchState::Running);
    let paused = BatchSummary { paused: true, ..summary(&[(Queued, 2)]) };
    assert_eq!(BatchView::new(&paused, "USD").state, BatchState::Paused);
}

#[test]
fn the_exit_code_says_how_jobs_ended() {
    use StateName::{Canceled, Expired, Failed, Held, Succeeded};
    let code = |counts: &[(StateName, u64)]| view(counts).jobs.exit_code();
    assert_eq!(code(&[(Succeeded, 2)]), exit_code::DONE);
    for state in [Failed, Expired, Canceled] {
        assert_eq!(code(&[(Succeeded, 2), (state, 1)]), exit_code::FAILED);
    }
    assert_eq!(code(&[(Failed, 2), (Held, 1)]), exit_code::HELD);
    let partial = BatchSummary { partial: 1, ..summary(&[(Succeeded, 2)]) };
    let partial = BatchView::new(&partial, "USD").jobs;
    assert_eq!(partial.exit_code(), exit_code::PARTIAL);
    let well = view(&[(Succeeded, 2)]).jobs;
    assert_eq!(JobCounts::sum([partial, well]).exit_code(), exit_code::PARTIAL, "of several, the worst");
    let failed = view(&[(Failed, 1)]).jobs;
    let all = JobCounts::sum([well, partial, failed]);
    assert_eq!((all.exit_code(), all.total, all.partial), (exit_code::FAILED, 5, Some(1)));
}

#[test]
fn money_in_json_has_exact_decimals() {
    for micros in [0, 1, 75_000, 225_000, 1_234_567, 999_999_999_999_999] {
        let json = serde_json::to_string(&Cost::new(Micros(micros), "USD").amount).unwrap();
        let shown = Micros(micros).to_string();
        let trimmed = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_owned();
        assert_eq!(trimmed(&json.replace("1e-6", "0.000001")), trimmed(&shown));
    }
}
