//! The archive step on twins: what ends up in the bucket, and what the job becomes.

use std::time::Duration;

use dashscope::response::{Output, ResultImage, TaskReport};
use dashscope::{ImageUrl, TaskStatus};
use job::{ImageState, Job, JobState, OUTCOME_FORMAT, Outcome, OutcomeImage, StateName};

use super::{ArchiveClaim, run};
use crate::ports::CopyCure;
use crate::testing::{FakeLease, World, fresh_lease, report, start};

mod former;
mod missing;
mod refresh;
mod replaced;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn link(name: &str) -> String {
    format!("https://h.example/{name}.png?Signature=s3cr3t-{name}")
}

fn waiting(name: &str) -> ImageState {
    ImageState::Waiting { link: ImageUrl::new(link(name)).unwrap(), deadline: start() + DAY }
}

fn outcome(states: Vec<ImageState>) -> Outcome {
    let images = states.into_iter().enumerate().map(|(index, state)| {
        let index = u8::try_from(index).unwrap();
        OutcomeImage { index, choice: index, item: 0, state }
    });
    Outcome {
        format: OUTCOME_FORMAT,
        task: "t1".parse().unwrap(),
        request_id: Some("r-1".into()),
        submitted_at: None,
        started_at: None,
        ended_at: None,
        noticed_at: start(),
        billed: u8::try_from(images.len()).unwrap(),
        size: None,
        texts: Vec::new(),
        unpublished: false,
        images: images.collect(),
    }
}

fn archiving(world: &World, images: u8, tasks: u8) -> Job {
    let job = world.in_state(images, |attempt| JobState::Archiving {
        attempt,
        task: "t1".parse().unwrap(),
        created_at: start(),
        due: start(),
        deadline: start() + DAY,
        images,
        tries: 0,
        refetches: 0,
    });
    world.jobs.meddle(job.id, |job| job.tasks = tasks);
    world.jobs.job(job.id)
}

async fn round(world: &World, job: &Job, outcome: Option<Outcome>) -> Job {
    run(
        &world.env,
        ArchiveClaim { job: job.clone(), outcome, lease: fresh_lease(), claimed_at: Duration::ZERO },
    )
    .await;
    world.jobs.job(job.id)
}

/// What a query for fresh links says.
fn fresh(names: &[&str]) -> TaskReport {
    let images = names.iter().enumerate().map(|(choice, name)| ResultImage {
        choice,
        item: 0,
        url: ImageUrl::new(link(name)).unwrap(),
        finish_reason: None,
    });
    TaskReport {
        output: Output { images: images.collect(), ..Output::default() },
        ..report(TaskStatus::Succeeded)
    }
}

#[tokio::test]
async fn images_go_to_their_stable_keys_with_a_manifest_beside_them() {
    let world = World::new();
    let job = archiving(&world, 2, 1);
    let after = round(&world, &job, Some(outcome(vec![waiting("x"), waiting("y")]))).await;
    assert!(matches!(after.state, JobState::Succeeded { partial: false, .. }), "{:?}", after.state);
    assert_eq!(after.stored, 2);
    assert_eq!(
        world.archive.objects(),
        [
            format!("b/sku/0.png = {}", link("x")),
            format!("b/sku/1.png = {}", link("y")),
            "b/sku/manifest.json".into()
        ]
    );
    let kept = world.jobs.outcome(job.id).unwrap();
    assert!(kept.images.iter().all(|image| matches!(image.state, ImageState::Stored(_))));
}

#[tokio::test]
async fn the_manifest_tells_what_was_asked_what_came_and_what_it_cost_and_no_link() {
    let world = World::new();
    let job = archiving(&world, 1, 1);
    round(&world, &job, Some(outcome(vec![waiting("x")]))).await;
    let manifest: serde_json::Value =
        serde_json::from_str(&world.archive.object("b/sku/manifest.json").unwrap()).unwrap();
    assert_eq!(manifest["custom_id"], "sku");
    assert_eq!((manifest["task_id"].as_str(), manifest["account"].as_str()), (Some("t1"), Some("a")));
    assert_eq!(manifest["cost"], serde_json::json!({ "amount": "0.03", "currency": "USD" }));
    assert_eq!(manifest["images"][0]["key"], "b/sku/0.png");
    assert_eq!(manifest["request"]["input"]["messages"][0]["content"][0]["text"], "a lighthouse at dusk");
    let inputs: Vec<job::InputImage> =
        vec![job::InputImage::Direct(ImageUrl::new(link("in")).unwrap().into())];
    let (_, spec) = world.submitting(1);
    let spec = job::JobSpec { images: inputs, ..(*spec).clone() };
    let signed =
        super::manifest::build(&job, Some(&spec), &outcome(vec![]), &[], &world.env.config.prices, start());
    assert_eq!(signed["inputs"][0], "https://h.example/in.png?[redacted]");
    assert!(!signed.to_string().contains("s3cr3t"));
}

#[tokio::test]
async fn a_later_task_writes_beside_and_replaces_only_when_all_is_there() {
    let world = World::new();
    let job = archiving(&world, 2, 2);
    world.archive.put("b/sku/0.png", "old 0");
    world.archive.put("b/sku/1.png", "old 1");
    world.archive.fail(&link("y"), &[CopyCure::Later]);
    let half = round(&world, &job, Some(outcome(vec![waiting("x"), waiting("y")]))).await;
    assert_eq!((half.state_name(), half.stored), (StateName::Archiving, 1));
    assert_eq!(
        world.archive.objects(),
        [
            "b/sku/0.png = old 0".to_owned(),
            "b/sku/1.png = old 1".into(),
            format!("b/sku/~t1/0.png = {}", link("x"))
        ]
    );
    world.jobs.advance(Duration::from_secs(60));
    let whole = round(&world, &half, world.jobs.outcome(job.id)).await;
    assert_eq!(whole.state_name(), StateName::Succeeded);
    assert_eq!(
        world.archive.objects(),
        [
            format!("b/sku/0.png = {}", link("x")),
            format!("b/sku/1.png = {}", link("y")),
            "b/sku/manifest.json".into()
        ]
    );
}

#[tokio::test]
async fn a_later_task_does_not_touch_a_stable_key_before_the_end_even_if_it_is_free() {
    let world = World::new();
    let job = archiving(&world, 2, 2);
    world.archive.fail(&link("y"), &[CopyCure::Later]);
    round(&world, &job, Some(outcome(vec![waiting("x"), waiting("y")]))).await;
    assert_eq!(world.archive.objects(), [format!("b/sku/~t1/0.png = {}", link("x"))]);
}

#[tokio::test]
async fn an_occupied_key_is_written_beside_and_replaced_at_the_end() {
    let world = World::new();
    let job = archiving(&world, 1, 1);
    world.archive.put("b/sku/0.png", "of an earlier life");
    let after = round(&world, &job, Some(outcome(vec![waiting("x")]))).await;
    assert_eq!(after.state_name(), StateName::Succeeded);
    assert_eq!(
        world.archive.objects(),
        [format!("b/sku/0.png = {}", link("x")), "b/sku/manifest.json".into()]
    );
}

#[tokio::test]
async fn a_store_that_fails_at_the_end_is_tried_again_and_nothing_ends_too_early() {
    let world = World::new();
    let job = archiving(&world, 1, 2);
    world.archive.fail_store(true);
    let later = round(&world, &job, Some(outcome(vec![waiting("x")]))).await;
    assert_eq!((later.state_name(), later.stored), (StateName::Archiving, 0));
    world.jobs.advance(Duration::from_secs(60));
    let after = round(&world, &later, world.jobs.outcome(job.id)).await;
    assert_eq!((after.state_name(), after.stored), (StateName::Succeeded, 1));
    assert_eq!(
        world.archive.objects(),
        [format!("b/sku/0.png = {}", link("x")), "b/sku/manifest.json".into()]
    );
}

#[tokio::test]
async fn a_worker_without_its_lease_puts_nothing_over_anything() {
    let world = World::new();
    let job = archiving(&world, 1, 2);
    world.archive.put("b/sku/0.png", "newer");
    let claim = ArchiveClaim {
        job: job.clone(),
        outcome: Some(outcome(vec![waiting("x")])),
        lease: std::sync::Arc::new(FakeLease(None)),
        claimed_at: Duration::ZERO,
    };
    run(&world.env, claim).await;
    assert_eq!(world.archive.object("b/sku/0.png").unwrap(), "newer");
    assert_eq!(world.archive.object("b/sku/manifest.json"), None);
    assert!(world.jobs.events().is_empty());
}

#[tokio::test]
async fn a_dead_link_is_asked_for_once_more_and_the_fresh_one_is_copied() {
    let world = World::new();
    let job = archiving(&world, 2, 1);
    world.archive.fail(&link("y"), &[CopyCure::FreshLink]);
    world.api.on_fetch(Ok(fresh(&["x2", "y2"])));
    let asked = round(&world, &job, Some(outcome(vec![waiting("x"), waiting("y")]))).await;
    assert_eq!(world.jobs.events(), ["FreshLinks"]);
    assert_eq!(world.jobs.permits(), 1);
    let after = round(&world, &asked, world.jobs.outcome(job.id)).await;
    assert!(matches!(after.state, JobState::Succeeded { partial: false, .. }), "{:?}", after.state);
    assert_eq!(world.archive.object("b/sku/0.png").unwrap(), link("x"));
    assert_eq!(world.archive.object("b/sku/1.png").unwrap(), link("y2"));
}

#[tokio::test]
async fn a_link_that_is_refused_again_and_again_is_tried_for_as_long_as_it_ought_to_live() {
    let world = World::new();
    let job = archiving(&world, 2, 1);
    world.archive.fail(&link("y"), &[CopyCure::FreshLink; 5]);
    let mut after = round_with_links(&world, &job, Some(outcome(vec![waiting("x"), waiting("y")]))).await;
    for _ in 0..4 {
        assert_eq!(after.state_name(), StateName::Archiving);
        world.jobs.advance(Duration::from_secs(60));
        after = round_with_links(&world, &after, world.jobs.outcome(job.id)).await;
    }
    assert_eq!(world.api.log(), ["fetch t1"; 5]);
    world.jobs.advance(Duration::from_secs(60));
    let after = round(&world, &after, world.jobs.outcome(job.id)).await;
    assert!(matches!(after.state, JobState::Succeeded { partial: false, .. }), "{:?}", after.state);
    assert_eq!(world.archive.object("b/sku/1.png").unwrap(), link("y"));
}

/// A round in which the task brings the same links once more.
async fn round_with_links(world: &World, job: &Job, outcome: Option<Outcome>) -> Job {
    world.api.on_fetch(Ok(fresh(&["x", "y"])));
    round(world, job, outcome).await
}

#[tokio::test]
async fn a_link_that_stays_dead_past_its_end_loses_its_image_and_only_that() {
    let world = World::new();
    let job = archiving(&world, 2, 1);
    world.archive.fail(&link("y"), &[CopyCure::FreshLink, CopyCure::FreshLink]);
    world.api.on_fetch(Ok(fresh(&["x", "y"])));
    let asked = round(&world, &job, Some(outcome(vec![waiting("x"), waiting("y")]))).await;
    world.jobs.advance(DAY + Duration::from_secs(601));
    let after = round(&world, &asked, world.jobs.outcome(job.id)).await;
    assert!(matches!(after.state, JobState::Succeeded { partial: true, .. }), "{:?}", after.state);
    let kept = world.jobs.outcome(job.id).unwrap();
    assert!(matches!(&kept.images[1].state, ImageState::Lost { code, .. } if code == "scripted"));
    // By then nobody has to be asked any more.
    assert_eq!(world.api.log(), ["fetch t1"]);
}

#[tokio::test]
async fn an_ended_link_of_a_task_that_the_provider_forgot_expires() {
    let world = World::new();
    let job = archiving(&world, 1, 1);
    world.archive.fail(&link("x"), &[CopyCure::Expired]);
    world.api.on_fetch(Ok(report(TaskStatus::Unknown)));
    let after = round(&world, &job, Some(outcome(vec![waiting("x")]))).await;
    assert_eq!(after.state_name(), StateName::Expired);
    assert!(world.archive.objects().is_empty());
}

#[tokio::test]
async fn a_refused_link_is_hoped_for_even_if_the_provider_does_not_know_the_task() {
    let world = World::new();
    let job = archiving(&world, 1, 1);
    world.archive.fail(&link("x"), &[CopyCure::FreshLink]);
    world.api.on_fetch(Ok(report(TaskStatus::Unknown)));
    let later = round(&world, &job, Some(outcome(vec![waiting("x")]))).await;
    assert_eq!(world.jobs.events(), ["Copied"]);
    assert!(later.state.due().unwrap() > start());
    world.jobs.advance(Duration::from_secs(60));
    let after = round(&world, &later, world.jobs.outcome(job.id)).await;
    assert_eq!(after.state_name(), StateName::Succeeded);
}

#[tokio::test]
async fn an_answer_without_links_takes_none_away() {
    for state in [Some(outcome(vec![waiting("x")])), None] {
        let world = World::new();
        let job = archiving(&world, 1, 1);
        world.archive.fail(&link("x"), &[CopyCure::Expired]);
        world.api.on_fetch(Ok(fresh(&[])));
        let after = round(&world, &job, state).await;
        assert_eq!((after.state_name(), world.jobs.events()), (StateName::Archiving, vec!["Copied"]));
    }
}

#[tokio::test]
async fn an_image_that_nothing_can_cure_is_lost_with_its_reason() {
    let world = World::new();
    let job = archiving(&world, 2, 1);
    world.archive.fail(&link("x"), &[CopyCure::None]);
    let after = round(&world, &job, Some(outcome(vec![waiting("x"), waiting("y")]))).await;
    assert!(matches!(after.state, JobState::Succeeded { partial: true, .. }), "{:?}", after.state);
    let manifest = world.archive.object("b/sku/manifest.json").unwrap();
    assert!(manifest.contains("it was told to fail") && manifest.contains("b/sku/1.png"), "{manifest}");
}

#[tokio::test]
async fn an_outage_of_the_store_outlives_neither_the_link_nor_its_grace() {
    let world = World::new();
    let job = archiving(&world, 1, 1);
    world.archive.fail(&link("x"), &[CopyCure::Later, CopyCure::Later]);
    let later = round(&world, &job, Some(outcome(vec![waiting("x")]))).await;
    assert_eq!(later.state_name(), StateName::Archiving);
    world.jobs.advance(DAY + Duration::from_secs(601));
    let after = round(&world, &later, world.jobs.outcome(job.id)).await;
    assert_eq!(after.state_name(), StateName::Expired);
}

#[tokio::test]
async fn a_worker_that_goes_down_gives_the_copies_back_with_what_is_done() {
    let world = World::new();
    let job = archiving(&world, 2, 1);
    *world.archive.hangs.lock().unwrap() = true;
    let done = ImageState::Stored(job::StoredImage {
        key: job::ObjectKey::parse("b/sku/0.png").unwrap(),
        bytes: 9,
        sha256: link("x"),
        width: 3,
        height: 3,
    });
    let stop = async {
        tokio::task::yield_now().await;
        world.env.stop.cancel();
    };
    let claimed = outcome(vec![done.clone(), waiting("y")]);
    let (after, ()) = tokio::join!(round(&world, &job, Some(claimed)), stop);
    assert_eq!((after.state_name(), after.claimed), (StateName::Archiving, false));
    assert_eq!(world.jobs.events(), ["GivenBack"]);
    assert_eq!(world.jobs.outcome(job.id).unwrap().images[0].state, done);
}

#[tokio::test]
async fn a_lost_document_is_had_from_the_task_again() {
    let world = World::new();
    let job = archiving(&world, 1, 1);
    world.api.on_fetch(Ok(fresh(&["x"])));
    let asked = round(&world, &job, None).await;
    assert_eq!(asked.state_name(), StateName::Archiving);
    let after = round(&world, &asked, world.jobs.outcome(job.id)).await;
    assert_eq!(after.state_name(), StateName::Succeeded);

    let world = World::new();
    let job = archiving(&world, 1, 1);
    world.jobs.advance(DAY);
    assert_eq!(round(&world, &job, None).await.state_name(), StateName::Expired);
}

/// Rounds until the job is over, each when it is due; how long after the one before each came.
async fn to_the_end(world: &World, mut job: Job) -> (Job, Vec<Duration>) {
    let mut waits = Vec::new();
    while !job.state_name().is_final() {
        assert!(waits.len() < 2_000, "{:?}", job.state);
        let wait = Duration::try_from(job.state.due().unwrap().duration_since(world.env.jobs.now()))
            .unwrap_or_default();
        waits.push(wait);
        world.jobs.advance(wait);
        world.api.on_fetch(Ok(fresh(&["x", "y"])));
        job = round(world, &job, world.jobs.outcome(job.id)).await;
    }
    (job, waits)
}

#[tokio::test]
async fn an_image_that_stays_damaged_is_tried_ever_more_rarely_and_lost_at_its_link_s_end() {
    let world = World::new();
    let job = archiving(&world, 2, 1);
    world.archive.fail(&link("y"), &[CopyCure::Damaged; 2_000]);
    let first = round(&world, &job, Some(outcome(vec![waiting("x"), waiting("y")]))).await;
    // The other image is safe at once.
    assert_eq!(world.archive.objects(), [format!("b/sku/0.png = {}", link("x"))]);
    let (after, waits) = to_the_end(&world, first).await;
    assert!(matches!(after.state, JobState::Succeeded { partial: true, .. }), "{:?}", after.state);
    let kept = world.jobs.outcome(job.id).unwrap();
    assert!(matches!(&kept.images[1].state, ImageState::Lost { code, .. } if code == "scripted"));
    assert!((20..200).contains(&waits.len()), "{} rounds", waits.len());
    let refetches = world.api.log().len();
    assert!((2..40).contains(&refetches), "{refetches} questions for another link");
    let took: Duration = waits.iter().sum();
    assert!(took > DAY && took < DAY + Duration::from_secs(1_200), "{took:?}");
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(900)));
    assert!(waits.windows(2).take(8).filter(|pair| pair[1] > pair[0]).count() >= 4, "{:?}", &waits[..9]);
    let manifest = world.archive.object("b/sku/manifest.json").unwrap();
    assert!(manifest.contains("\"lost\":\"scripted\""), "{manifest}");
}

#[tokio::test]
async fn a_damaged_image_is_stored_once_another_link_brings_it_whole() {
    let world = World::new();
    let job = archiving(&world, 1, 1);
    world.archive.fail(&link("x"), &[CopyCure::Damaged; 2]);
    world.api.on_fetch(Ok(fresh(&["x2"])));
    let again = round(&world, &job, Some(outcome(vec![waiting("x")]))).await;
    assert!(world.api.log().is_empty(), "once may be a blip");
    world.jobs.advance(Duration::from_secs(60));
    let asked = round(&world, &again, world.jobs.outcome(job.id)).await;
    assert_eq!(world.jobs.events(), ["Copied", "FreshLinks"]);
    let after = round(&world, &asked, world.jobs.outcome(job.id)).await;
    assert!(matches!(after.state, JobState::Succeeded { partial: false, .. }), "{:?}", after.state);
    assert_eq!(world.archive.object("b/sku/0.png").unwrap(), link("x2"));
}

#[tokio::test]
async fn a_link_that_its_host_and_our_clock_call_dead_is_not_waited_for() {
    let world = World::new();
    let job = archiving(&world, 1, 1);
    world.archive.fail(&link("x"), &[CopyCure::Expired; 2]);
    world.jobs.advance(Duration::from_secs(3_600));
    let soon = ImageState::Waiting {
        link: ImageUrl::new(link("x")).unwrap(),
        deadline: start() + Duration::from_secs(1_800),
    };
    // The task brings the same link, which names the same end.
    let ends = start() + Duration::from_secs(1_800);
    let mut report = fresh(&["x"]);
    report.output.images[0].url =
        ImageUrl::new(format!("https://h.example/x.png?Expires={}&Signature=s3cr3t-x", ends.as_second()))
            .unwrap();
    world.api.on_fetch(Ok(report));
    let after = round(&world, &job, Some(outcome(vec![soon]))).await;
    assert_eq!(after.state_name(), StateName::Expired);
    assert_eq!(world.api.log(), ["fetch t1"], "but the task was asked first");
}

#[tokio::test]
async fn only_copies_that_end_their_job_say_how_long_a_copy_takes() {
    let world = World::new();
    let job = archiving(&world, 1, 1);
    world.archive.fail(&link("x"), &[CopyCure::Later]);
    world.clock.advance(Duration::from_secs(30));
    let later = round(&world, &job, Some(outcome(vec![waiting("x")]))).await;
    assert_eq!(world.env.copy_time.get(), Duration::ZERO);
    world.jobs.advance(Duration::from_secs(60));
    round(&world, &later, world.jobs.outcome(job.id)).await;
    assert_eq!(world.env.copy_time.get(), Duration::from_secs(60), "the first time, and as much again");
}
