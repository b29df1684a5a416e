//! The long trials of `scripts/evidence`, in short, with bounds that a busy machine keeps.

use std::time::Duration;

use tests::trials::{
    ChaosPlan, PausePlan, RestorePlan, RollingPlan, Workers, chaos, pause, restore, rolling,
};
use tests::{Haste, Report, heavy};

#[track_caller]
fn kept(report: &Report) {
    assert!(report.broken().is_empty(), "\n{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_of_kills_lost_answers_and_outages_loses_nothing_and_pays_nothing_twice() {
    let _one = heavy().await;
    // On a busy machine more creates are on the wire at a kill.
    let plan =
        ChaosPlan { held_percent_max: 5.0, moved_p99_max: Duration::from_secs(30), ..ChaosPlan::minutes(1) };
    kept(&chaos(&plan).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn three_generations_of_workers_follow_each_other_and_nobody_notices() {
    let _one = heavy().await;
    let plan = RollingPlan {
        late_p99_max: Duration::from_secs(4),
        late_max: Duration::from_secs(10),
        exit_max: Duration::from_secs(5),
        ..RollingPlan::new(Duration::from_millis(1_500), 240)
    };
    kept(&rolling(&plan).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stood_still_at_any_place_pays_nothing_twice_and_overwrites_nothing() {
    let _one = heavy().await;
    let haste = Haste { lease: Duration::from_secs(1), ..Haste::default() };
    let pauses = vec![Duration::from_secs(3), Duration::from_secs(12)];
    kept(&pause(&PausePlan { jobs: 400, ..PausePlan::new(pauses, haste) }).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_restored_from_an_older_copy_pays_nothing_twice_and_loses_no_task() {
    let _one = heavy().await;
    kept(&restore(&RestorePlan::new(Workers::Live, Duration::from_secs(6))).await.unwrap());
}
