//! Refreshes: when the stable keys change hands, which versions are kept, and that a crash anywhere changes nothing of it.

use job::{JobId, ObjectKey, Refresh};
use serde_json::{Value, json};

use super::*;

/// A job of item `sku` of the collection `shoes`, enqueued `minutes` after the beginning.
pub(super) fn refresh(world: &World, number: u128, images: u8, keep: u8, minutes: u64) -> Job {
    let job = archiving(world, images, 1);
    let (_, spec) = world.submitting(images);
    let mut spec = (*spec).clone();
    let collection = "shoes".parse().unwrap();
    spec.refresh = Some(Refresh { collection, keep, content: format!("content {number}") });
    let id = JobId::fresh(1, number);
    let enqueued_at = start() + Duration::from_secs(60 * minutes);
    let job = Job { id, enqueued_at, ..job };
    world.jobs.put(job.clone(), spec);
    job
}

pub(super) fn of(job: &Job, file: &str) -> String {
    format!("shoes/sku/versions/{}/{file}", job.id)
}

pub(super) fn manifest(world: &World) -> Value {
    serde_json::from_str(&world.archive.object("shoes/sku/manifest.json").unwrap()).unwrap()
}

pub(super) fn kept(world: &World) -> Vec<String> {
    let versions = manifest(world)["versions"].clone();
    versions
        .as_array()
        .into_iter()
        .flatten()
        .map(|version| version["job_id"].as_str().unwrap().to_owned())
        .collect()
}

/// Runs a refresh of one image to its end.
pub(super) async fn made(world: &World, number: u128, keep: u8, name: &str) -> Job {
    let job = refresh(world, number, 1, keep, u64::try_from(number).unwrap());
    let after = round(world, &job, Some(outcome(vec![waiting(name)]))).await;
    assert_eq!(after.state_name(), StateName::Succeeded);
    after
}

#[tokio::test]
async fn the_old_images_stay_until_the_new_ones_are_whole() {
    let world = World::new();
    world.archive.put("shoes/sku/0.png", "old 0");
    world.archive.put("shoes/sku/1.png", "old 1");
    let job = refresh(&world, 8, 2, 3, 1);
    world.archive.fail(&link("y"), &[CopyCure::Later]);
    let half = round(&world, &job, Some(outcome(vec![waiting("x"), waiting("y")]))).await;
    assert_eq!(half.state_name(), StateName::Archiving);
    assert_eq!(
        world.archive.objects(),
        [
            "shoes/sku/0.png = old 0".to_owned(),
            "shoes/sku/1.png = old 1".into(),
            format!("{} = {}", of(&job, "0.png"), link("x"))
        ]
    );
    world.jobs.advance(Duration::from_secs(60));
    let whole = round(&world, &half, world.jobs.outcome(job.id)).await;
    assert!(matches!(whole.state, JobState::Succeeded { partial: false, .. }), "{:?}", whole.state);
    assert_eq!(
        world.archive.objects(),
        [
            format!("shoes/sku/0.png = {}", link("x")),
            format!("shoes/sku/1.png = {}", link("y")),
            "shoes/sku/manifest.json".into(),
            format!("{} = {}", of(&job, "0.png"), link("x")),
            format!("{} = {}", of(&job, "1.png"), link("y")),
        ]
    );
    assert_eq!(
        (manifest(&world)["content"].as_str(), manifest(&world)["collection"].as_str()),
        (Some("content 8"), Some("shoes"))
    );
    assert_eq!(manifest(&world)["images"][1]["key"], "shoes/sku/1.png");
    let recorded = world.jobs.outcome(job.id).unwrap();
    let keys: Vec<&str> =
        crate::archive_step::publish::stored(&recorded).map(|(_, key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        [of(&job, "0.png"), of(&job, "1.png")],
        "the job's own, whatever the stable keys show later"
    );
}

#[tokio::test]
async fn images_that_are_not_whole_replace_nothing_and_can_be_found() {
    let world = World::new();
    world.archive.put("shoes/sku/0.png", "old 0");
    let job = refresh(&world, 8, 2, 3, 1);
    world.archive.fail(&link("y"), &[CopyCure::None]);
    let after = round(&world, &job, Some(outcome(vec![waiting("x"), waiting("y")]))).await;
    assert!(matches!(after.state, JobState::Succeeded { partial: true, .. }), "{:?}", after.state);
    assert_eq!(
        world.archive.objects(),
        [
            "shoes/sku/0.png = old 0".to_owned(),
            format!("{} = {}", of(&job, "0.png"), link("x")),
            of(&job, "manifest.json")
        ]
    );
}

#[tokio::test]
async fn an_image_that_is_damaged_at_the_end_replaces_nothing() {
    let world = World::new();
    let job = refresh(&world, 8, 1, 3, 1);
    let stored = |key: String| {
        let key = ObjectKey::parse(&key).unwrap();
        ImageState::Stored(job::StoredImage { key, bytes: 9, sha256: link("x"), width: 3, height: 3 })
    };
    world.archive.put(&of(&job, "0.png"), "somebody else's");
    let after = round(&world, &job, Some(outcome(vec![stored(of(&job, "0.png"))]))).await;
    assert!(after.state_name().is_final());
    assert_eq!(world.archive.object("shoes/sku/0.png"), None);
    let after = world.jobs.outcome(job.id).unwrap();
    assert!(matches!(&after.images[0].state, ImageState::Lost { code, .. } if code == "damaged"));
}

#[tokio::test]
async fn so_many_old_versions_are_kept_as_the_newest_job_says() {
    let world = World::new();
    let mut jobs = Vec::new();
    for number in 10..15_u128 {
        jobs.push(made(&world, number, 3, &format!("v{number}")).await);
    }
    let newest_first: Vec<String> = jobs.iter().rev().map(|job| job.id.to_string()).collect();
    assert_eq!(kept(&world), newest_first[..4], "the current one, and three old ones");
    assert_eq!(world.archive.object("shoes/sku/0.png"), Some(link("v14")));
    assert_eq!(world.archive.object(&of(&jobs[1], "0.png")), Some(link("v11")));
    assert_eq!(world.archive.object(&of(&jobs[0], "0.png")), None);

    let last = made(&world, 20, 0, "v20").await;
    assert_eq!(
        world.archive.objects(),
        [format!("shoes/sku/0.png = {}", link("v20")), "shoes/sku/manifest.json".into()]
    );
    assert!(kept(&world).is_empty(), "{last:?}");
    let recorded = world.jobs.outcome(last.id).unwrap();
    assert!(
        matches!(&recorded.images[0].state, ImageState::Stored(stored) if stored.key.as_str() == "shoes/sku/0.png")
    );
}

#[tokio::test]
async fn images_of_a_plain_job_are_kept_like_those_of_a_refresh_and_leave_no_image_too_many() {
    let world = World::new();
    let plain = JobId::fresh(1, 3);
    for index in 0..2 {
        world.archive.put(&format!("shoes/sku/{index}.png"), &format!("old {index}"));
    }
    let image = |index: u8| json!({ "index": index, "key": format!("shoes/sku/{index}.png"), "sha256": format!("old {index}") });
    let times = json!({ "enqueued_at": start(), "stored_at": start() });
    let former = json!({ "job_id": plain.to_string(), "times": times, "images": [image(0), image(1)] });
    world.archive.put("shoes/sku/manifest.json", &former.to_string());

    let job = made(&world, 8, 2, "x").await;
    assert_eq!(kept(&world), [job.id.to_string(), plain.to_string()]);
    let old = |index: u8| world.archive.object(&format!("shoes/sku/versions/{plain}/{index}.png"));
    assert_eq!((old(0), old(1)), (Some("old 0".into()), Some("old 1".into())));
    assert_eq!(world.archive.object("shoes/sku/1.png"), None, "the new version has one image");
}

#[tokio::test]
async fn an_older_job_never_replaces_a_newer_ones_images() {
    let world = World::new();
    let newer = made(&world, 20, 3, "new").await;
    let older = made(&world, 10, 3, "old").await;
    assert_eq!(world.archive.object("shoes/sku/0.png"), Some(link("new")));
    assert_eq!(kept(&world), [newer.id.to_string()]);
    assert_eq!(world.archive.object(&of(&older, "0.png")), Some(link("old")), "what it brought is paid for");
    assert!(world.archive.object(&of(&older, "manifest.json")).is_some());
}

#[tokio::test]
async fn a_manifest_that_was_meddled_with_deletes_nothing_outside_of_the_items_versions() {
    let world = World::new();
    world.archive.put("shoes/boot/0.png", "another item's");
    let keys = ["shoes/boot/0.png", "shoes/sku/0.png"];
    let version = json!({ "job_id": "X", "stored_at": start(), "keys": keys });
    world.archive.put("shoes/sku/manifest.json", &json!({ "versions": [version] }).to_string());
    made(&world, 8, 0, "x").await;
    assert_eq!(world.archive.object("shoes/boot/0.png"), Some("another item's".into()));
    assert_eq!(world.archive.object("shoes/sku/0.png"), Some(link("x")));
}

#[tokio::test]
async fn a_store_that_is_away_at_any_step_changes_nothing_of_the_end() {
    // A later task of a job writes beside its version's keys first.
    for tasks in [1, 2] {
        let calm = ended_with(tasks, None).await;
        assert_eq!(calm.1[0], format!("shoes/sku/0.png = {}", link("x")));
        let mut met = 0;
        for fault in 0..30 {
            let troubled = ended_with(tasks, Some(fault)).await;
            // A delete at the very end is not waited for.
            if troubled.0 > 1 {
                met += 1;
                assert_eq!(troubled.1, calm.1, "task {tasks}, fault at call {fault}");
            }
        }
        assert!(met >= 6, "only {met} faults were met");
    }
}

/// A refresh over two images of a former one, with the `fault`-th call to the store failing: in how many rounds it ended, and with
/// which objects.
async fn ended_with(tasks: u8, fault: Option<usize>) -> (u32, Vec<String>) {
    let world = World::new();
    let first = refresh(&world, 8, 2, 1, 1);
    round(&world, &first, Some(outcome(vec![waiting("a"), waiting("b")]))).await;
    let job = refresh(&world, 9, 2, 1, 2);
    world.jobs.meddle(job.id, |job| job.tasks = tasks);
    let mut job = world.jobs.job(job.id);
    if let Some(calls) = fault {
        world.archive.fail_store_after(calls);
    }
    let mut rounds = 0;
    let mut brought = Some(outcome(vec![waiting("x"), waiting("y")]));
    while !job.state_name().is_final() {
        rounds += 1;
        assert!(rounds < 5, "{:?}", job.state);
        job = round(&world, &job, brought).await;
        brought = world.jobs.outcome(job.id);
        world.jobs.advance(Duration::from_secs(600));
    }
    (rounds, world.archive.objects())
}

#[tokio::test]
async fn a_refresh_is_never_whole_without_its_manifest_nor_over_one_that_cannot_be_read() {
    let mut later = 0;
    for calls in 0..12 {
        let world = World::new();
        let newer = made(&world, 9, 1, "newer").await;
        let mut shown = "newer";
        for (number, name) in [(10, "x"), (8, "old")] {
            let job = refresh(&world, number, 1, 1, u64::try_from(number).unwrap());
            world.archive.fail_store_for_good_after(calls);
            let mut job = round(&world, &job, Some(outcome(vec![waiting(name)]))).await;
            if !job.state_name().is_final() {
                later += 1;
                world.jobs.advance(Duration::from_secs(600));
                job = round(&world, &job, world.jobs.outcome(job.id)).await;
            }
            // Else its own image turned out to be another: nothing was replaced.
            if number == 10 && job.stored == 1 {
                shown = name;
            }
            assert_eq!(world.archive.object("shoes/sku/0.png"), Some(link(shown)), "fault at call {calls}");
            assert!(kept(&world).contains(&newer.id.to_string()), "fault at call {calls}");
            let is_whole = manifest(&world)["job_id"] == job.id.to_string();
            assert_eq!(is_whole, shown == name, "fault at call {calls}");
        }
    }
    assert!(later >= 6, "only {later} faults were met");
}

#[tokio::test]
async fn an_end_that_is_repeated_after_its_deletes_loses_nothing() {
    for keep in [0, 2] {
        let world = World::new();
        let job = refresh(&world, 8, 1, keep, 1);
        // A second task of the job: its images were beside the version's own key first, and that is gone.
        world.jobs.meddle(job.id, |job| job.tasks = 2);
        let job = world.jobs.job(job.id);
        let whole = round(&world, &job, Some(outcome(vec![waiting("x")]))).await;
        assert_eq!(whole.state_name(), StateName::Succeeded);
        let (objects, recorded) = (world.archive.objects(), world.jobs.outcome(job.id).unwrap());
        // As a crash before the commit leaves the record: the images where they were first.
        let beside = ObjectKey::parse(&of(&job, "~t1/0.png")).unwrap();
        let stored = job::StoredImage { key: beside, bytes: 9, sha256: link("x"), width: 3, height: 3 };
        let spec = world.env.jobs.spec(job.id).await.unwrap().unwrap();
        world.jobs.put(job.clone(), spec);
        let again = round(&world, &job, Some(outcome(vec![ImageState::Stored(stored)]))).await;
        assert!(matches!(again.state, JobState::Succeeded { partial: false, .. }), "{:?}", again.state);
        assert_eq!(world.archive.objects(), objects);
        assert_eq!(world.jobs.outcome(job.id).unwrap().images, recorded.images);
    }
}

#[tokio::test]
async fn a_neighbours_folder_is_no_version() {
    let world = World::new();
    world.archive.put("shoes/skuversions/0.png", "another item's");
    let version = json!({ "job_id": "X", "stored_at": start(), "keys": ["shoes/skuversions/0.png"] });
    world.archive.put("shoes/sku/manifest.json", &json!({ "versions": [version] }).to_string());
    made(&world, 8, 0, "x").await;
    assert_eq!(world.archive.object("shoes/skuversions/0.png"), Some("another item's".into()));
}

#[tokio::test]
async fn a_stable_object_that_somebody_overwrote_is_replaced_and_not_kept() {
    let world = World::new();
    world.archive.put("shoes/sku/0.png", "somebody's");
    let image = json!({ "index": 0, "key": "shoes/sku/0.png", "sha256": "old" });
    let times = json!({ "enqueued_at": start(), "stored_at": start() });
    let plain = JobId::fresh(1, 3).to_string();
    let former = json!({ "job_id": plain, "times": times, "images": [image] });
    world.archive.put("shoes/sku/manifest.json", &former.to_string());
    let job = made(&world, 8, 3, "x").await;
    assert_eq!(world.archive.object("shoes/sku/0.png"), Some(link("x")));
    assert_eq!(kept(&world), [job.id.to_string()], "what is not there is not listed");
}

#[tokio::test]
async fn a_version_lists_the_images_that_it_has() {
    let world = World::new();
    let image = |index: u8| json!({ "index": index, "key": format!("shoes/sku/{index}.png"), "sha256": format!("old {index}") });
    let times = json!({ "enqueued_at": start(), "stored_at": start() });
    let plain = JobId::fresh(1, 3).to_string();
    let former = json!({ "job_id": plain, "times": times, "images": [image(0), image(1)] });
    world.archive.put("shoes/sku/manifest.json", &former.to_string());
    world.archive.put("shoes/sku/0.png", "somebody's");
    world.archive.put("shoes/sku/1.png", "old 1");
    let job = made(&world, 8, 3, "x").await;
    assert_eq!(kept(&world), [job.id.to_string(), plain.clone()]);
    let keys = manifest(&world)["versions"][1]["keys"].clone();
    assert_eq!(keys, json!([format!("shoes/sku/versions/{plain}/1.png")]));
}

#[tokio::test]
async fn a_worker_without_its_lease_replaces_no_image_of_a_refresh() {
    let world = World::new();
    world.archive.put("shoes/sku/0.png", "old");
    let job = refresh(&world, 8, 1, 3, 1);
    let claim = ArchiveClaim {
        job: job.clone(),
        outcome: Some(outcome(vec![waiting("x")])),
        lease: std::sync::Arc::new(FakeLease(None)),
        claimed_at: Duration::ZERO,
    };
    run(&world.env, claim).await;
    assert_eq!(world.archive.object("shoes/sku/0.png").unwrap(), "old");
    assert!(world.jobs.events().is_empty());
}
