//! Images that the task did not bring: which of them are missing, and what becomes of the rest.

use super::*;

#[tokio::test]
async fn images_that_the_task_does_not_name_are_missing_and_end_nothing_too_early() {
    let world = World::new();
    let job = archiving(&world, 4, 1);
    world.jobs.meddle(job.id, |job| {
        if let JobState::Archiving { images, .. } = &mut job.state {
            *images = 3;
        }
    });
    let job = world.jobs.job(job.id);
    world.archive.fail(&link("z"), &[CopyCure::Later]);
    let brought = outcome(vec![waiting("x"), waiting("y"), waiting("z")]);
    let later = round(&world, &job, Some(brought)).await;
    assert_eq!((later.state_name(), later.stored), (StateName::Archiving, 2));
    world.jobs.advance(Duration::from_secs(60));
    let after = round(&world, &later, world.jobs.outcome(job.id)).await;
    assert!(matches!(after.state, JobState::Succeeded { partial: true, .. }), "{:?}", after.state);
    assert_eq!((after.stored, after.lost_images()), (3, 0), "what was not made was not billed either");
    let manifest: serde_json::Value =
        serde_json::from_str(&world.archive.object("b/sku/manifest.json").unwrap()).unwrap();
    assert_eq!(manifest["images"][3]["lost"], "not_made");
    assert_eq!(
        manifest["images"][3]["reason"],
        "the task brought 3 of the 4 images that were asked for, and bills 3"
    );
}

#[tokio::test]
async fn a_store_that_fails_at_the_end_of_a_job_with_missing_images_is_tried_again() {
    let world = World::new();
    let job = archiving(&world, 2, 1);
    world.jobs.meddle(job.id, |job| {
        if let JobState::Archiving { images, .. } = &mut job.state {
            *images = 1;
        }
    });
    let job = world.jobs.job(job.id);
    world.archive.fail_store(true);
    let later = round(&world, &job, Some(outcome(vec![waiting("x")]))).await;
    assert_eq!(later.state_name(), StateName::Archiving);
    world.jobs.advance(Duration::from_secs(60));
    let after = round(&world, &later, world.jobs.outcome(job.id)).await;
    assert!(matches!(after.state, JobState::Succeeded { partial: true, .. }), "{:?}", after.state);
}

#[tokio::test]
async fn a_set_with_fewer_images_than_asked_for_is_whole() {
    let world = World::new();
    let job = archiving(&world, 4, 1);
    let (_, spec) = world.submitting(4);
    let mut spec = (*spec).clone();
    spec.request.enable_sequential = true;
    world.jobs.put(job.clone(), spec);
    world.jobs.meddle(job.id, |job| {
        if let JobState::Archiving { images, .. } = &mut job.state {
            *images = 1;
        }
    });
    let job = world.jobs.job(job.id);
    let after = round(&world, &job, Some(outcome(vec![waiting("x")]))).await;
    assert!(matches!(after.state, JobState::Succeeded { partial: false, .. }), "{:?}", after.state);
}

#[tokio::test]
async fn a_failed_item_is_missing_with_the_service_s_reason_and_the_others_are_stored() {
    let world = World::new();
    let job = archiving(&world, 2, 1);
    let failed =
        ImageState::Lost { code: "DataInspectionFailed".into(), reason: "it was not let through".into() };
    let after = round(&world, &job, Some(outcome(vec![failed, waiting("y")]))).await;
    assert!(matches!(after.state, JobState::Succeeded { partial: true, .. }), "{:?}", after.state);
    assert_eq!(world.archive.object("b/sku/1.png").unwrap(), link("y"));
    let manifest = world.archive.object("b/sku/manifest.json").unwrap();
    assert!(
        manifest.contains("DataInspectionFailed") && manifest.contains("it was not let through"),
        "{manifest}"
    );
}
