//! What stood there before: manifests that cannot be read, former images without a successor, versions under other names.

use super::refresh::{kept, made, manifest, of, refresh};
use super::replaced::{of_task_2, run_again};
use super::*;
use job::{JobId, MANIFEST_BYTES_MAX};
use serde_json::json;

const ITEM: &str = "shoes/sku/manifest.json";
const PLAIN: &str = "b/sku/manifest.json";

/// Makes the manifest at a key one that can never be read, in each of the ways.
fn spoil(world: &World, key: &str, way: usize) {
    match way {
        0 => world.archive.put(key, "<html>not found</html>"),
        1 => world.archive.put(key, ""),
        2 => world.archive.put(key, &" ".repeat(usize::try_from(MANIFEST_BYTES_MAX).unwrap() + 1)),
        _ => world.archive.archive(key),
    }
}

const WAYS: usize = 4;

#[tokio::test]
async fn a_refresh_ends_beside_a_manifest_that_can_never_be_read_and_replaces_nothing() {
    for keep in [0, 2] {
        for way in 0..WAYS {
            let world = World::new();
            let first = made(&world, 8, 2, "old").await;
            spoil(&world, ITEM, way);
            let spoilt = world.archive.object(ITEM);
            let job = refresh(&world, 9, 1, keep, 9);
            let after = round(&world, &job, Some(outcome(vec![waiting("new")]))).await;
            assert!(
                matches!(after.state, JobState::Succeeded { partial: false, .. }),
                "way {way}: {:?}",
                after.state
            );
            assert_eq!(world.archive.object("shoes/sku/0.png"), Some(link("old")), "way {way}");
            assert_eq!(world.archive.object(ITEM), spoilt, "way {way}: a person is to look at it");
            assert_eq!(world.archive.object(&of(&first, "0.png")), Some(link("old")), "way {way}");
            // What was paid for can be found.
            assert_eq!(world.archive.object(&of(&job, "0.png")), Some(link("new")), "way {way}");
            let beside: serde_json::Value =
                serde_json::from_str(&world.archive.object(&of(&job, "manifest.json")).unwrap()).unwrap();
            assert_eq!(beside["images"][0]["key"], of(&job, "0.png"), "way {way}");
            let recorded = world.jobs.outcome(job.id).unwrap();
            assert!(recorded.unpublished, "way {way}");
            assert!(
                matches!(&recorded.images[0].state, ImageState::Stored(stored) if stored.key.as_str() == of(&job, "0.png"))
            );
            // Where a person has deleted it, the next job is shown.
            let next = if way + 1 == WAYS { continue } else { refresh(&world, 10, 1, 1, 10) };
            world.archive.take_away(ITEM);
            round(&world, &next, Some(outcome(vec![waiting("newer")]))).await;
            assert_eq!(manifest(&world)["job_id"], next.id.to_string());
            assert!(!world.jobs.outcome(next.id).unwrap().unpublished);
        }
    }
}

#[tokio::test]
async fn a_refresh_waits_for_an_image_that_is_to_be_kept_and_lies_in_an_archive_class() {
    let world = World::new();
    // Of a time when no versions were kept.
    made(&world, 8, 0, "old").await;
    world.archive.archive("shoes/sku/0.png");
    let job = refresh(&world, 9, 1, 2, 9);
    let waits = round(&world, &job, Some(outcome(vec![waiting("new")]))).await;
    assert_eq!(waits.state_name(), StateName::Archiving);
    assert_eq!(world.archive.object("shoes/sku/0.png"), Some(link("old")));
    assert_eq!(world.archive.object(&of(&job, "0.png")), Some(link("new")));
    world.archive.bring_back("shoes/sku/0.png");
    let brought = world.jobs.outcome(job.id);
    world.jobs.advance(Duration::from_secs(600));
    let after = round(&world, &waits, brought).await;
    assert_eq!(after.state_name(), StateName::Succeeded);
    assert_eq!(world.archive.object("shoes/sku/0.png"), Some(link("new")));
    assert_eq!(kept(&world).len(), 2);
    assert!(!world.jobs.outcome(job.id).unwrap().unpublished);
}

#[tokio::test]
async fn what_an_older_job_brought_is_recorded_as_never_shown() {
    let world = World::new();
    let newer = made(&world, 20, 3, "new").await;
    let older = made(&world, 10, 3, "old").await;
    let unpublished = |job: &Job| world.jobs.outcome(job.id).unwrap().unpublished;
    assert_eq!((unpublished(&newer), unpublished(&older)), (false, true));
}

#[tokio::test]
async fn a_replaced_job_ends_over_a_manifest_that_can_never_be_read_and_removes_nothing() {
    for way in 0..WAYS {
        let world = World::new();
        let job = run_again(&world, 2, 1).await;
        spoil(&world, PLAIN, way);
        let after = round(&world, &job, Some(of_task_2(vec![waiting("new")]))).await;
        assert_eq!(after.state_name(), StateName::Succeeded, "way {way}");
        assert_eq!(world.archive.object("b/sku/0.png"), Some(link("new")), "way {way}");
        assert_eq!(world.archive.object("b/sku/1.png"), Some(link("old-1")), "way {way}");
        assert!(world.archive.object(PLAIN).unwrap().contains("\"t2\""), "way {way}");
        assert!(!world.jobs.outcome(job.id).unwrap().unpublished, "way {way}");
    }
}

/// Runs a job to its end, whatever fails on the way: in how many rounds.
async fn ended(world: &World, mut job: Job, mut brought: Option<Outcome>) -> u32 {
    let mut rounds = 0;
    while !job.state_name().is_final() {
        rounds += 1;
        assert!(rounds < 5, "{:?}", job.state);
        job = round(world, &job, brought).await;
        brought = world.jobs.outcome(job.id);
        world.jobs.advance(Duration::from_secs(600));
    }
    rounds
}

#[tokio::test]
async fn no_former_image_is_left_because_the_store_was_away_when_it_was_to_be_deleted() {
    let mut met = [0, 0];
    for calls in 0..20 {
        let world = World::new();
        let job = run_again(&world, 3, 1).await;
        world.archive.fail_store_after(calls);
        met[0] += ended(&world, job, Some(of_task_2(vec![waiting("new")]))).await - 1;
        let old = |index: u8| world.archive.object(&format!("b/sku/{index}.png"));
        assert_eq!((old(1), old(2)), (None, None), "replaced, fault at call {calls}");

        let world = World::new();
        let first = refresh(&world, 8, 3, 1, 1);
        round(&world, &first, Some(outcome(vec![waiting("a"), waiting("b"), waiting("c")]))).await;
        let job = refresh(&world, 9, 1, 1, 2);
        world.archive.fail_store_after(calls);
        met[1] += ended(&world, job, Some(outcome(vec![waiting("new")]))).await - 1;
        let old = |index: u8| world.archive.object(&format!("shoes/sku/{index}.png"));
        assert_eq!((old(1), old(2)), (None, None), "refresh, fault at call {calls}");
    }
    assert!(met.iter().all(|met| *met >= 6), "only {met:?} faults were met");
}

#[tokio::test]
async fn what_somebody_else_has_put_in_a_former_images_place_is_not_deleted() {
    let world = World::new();
    let job = run_again(&world, 3, 1).await;
    world.archive.put("b/sku/1.png", "a refresh's");
    round(&world, &job, Some(of_task_2(vec![waiting("new")]))).await;
    assert_eq!(world.archive.object("b/sku/1.png"), Some("a refresh's".into()));
    assert_eq!(world.archive.object("b/sku/2.png"), None);

    let world = World::new();
    let first = refresh(&world, 8, 3, 1, 1);
    round(&world, &first, Some(outcome(vec![waiting("a"), waiting("b"), waiting("c")]))).await;
    world.archive.put("shoes/sku/1.png", "a plain job's");
    made(&world, 9, 1, "new").await;
    assert_eq!(world.archive.object("shoes/sku/1.png"), Some("a plain job's".into()));
    assert_eq!(world.archive.object("shoes/sku/2.png"), None);
}

/// An entry of a version, and whether it is there, once an item without versions was refreshed.
async fn old_version_with(keys: &[String]) -> World {
    let world = World::new();
    for key in keys {
        world.archive.put(key, "old");
    }
    let version = json!({ "job_id": old().to_string(), "stored_at": start(), "keys": keys });
    world.archive.put(ITEM, &json!({ "versions": [version] }).to_string());
    made(&world, 8, 0, "x").await;
    world
}

fn old() -> JobId {
    JobId::fresh(1, 3)
}

#[tokio::test]
async fn old_versions_whose_files_an_earlier_template_has_named_are_deleted() {
    let keys = ["img-0.jpg", "img-1.jpg"].map(|file| format!("shoes/sku/versions/{}/{file}", old()));
    let world = old_version_with(&keys).await;
    assert!(keys.iter().all(|key| world.archive.object(key).is_none()), "{:?}", world.archive.objects());
    assert!(kept(&world).is_empty());
}

#[tokio::test]
async fn a_version_that_names_another_object_stays_listed_and_nothing_of_it_is_deleted() {
    let own = format!("shoes/sku/versions/{}/0.png", old());
    for other in [
        "shoes/sku/notes.png".to_owned(),
        format!("shoes/sku/versions/{}/0.png", JobId::fresh(1, 4)),
        format!("shoes/boot/versions/{}/0.png", old()),
        format!("shoes/skuversions/{}/0.png", old()),
        format!("shoes/sku/versions/{}/deeper/0.png", old()),
    ] {
        let world = old_version_with(&[own.clone(), other.clone()]).await;
        assert_eq!(world.archive.object(&other), Some("old".into()));
        assert_eq!(world.archive.object(&own), Some("old".into()), "beside {other}");
        assert_eq!(kept(&world), [old().to_string()], "beside {other}");
        assert_eq!(manifest(&world)["versions"][0]["keys"], json!([own, other]));
    }
}
