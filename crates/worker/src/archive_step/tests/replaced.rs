//! Jobs that ended, were given another spec, and run again.

use super::*;

/// A job that brought `before` images, and is about to end for a spec that asks for another number.
pub(super) async fn run_again(world: &World, before: u8, now: u8) -> Job {
    let names: Vec<String> = (0..before).map(|index| format!("old-{index}")).collect();
    let job = archiving(world, before, 1);
    round(world, &job, Some(outcome(names.iter().map(|name| waiting(name)).collect()))).await;
    let again = archiving(world, now, 2);
    assert_eq!(again.id, job.id);
    world.jobs.meddle(again.id, |job| {
        job.replaced_after = 1;
        if let JobState::Archiving { task, .. } = &mut job.state {
            *task = "t2".parse().unwrap();
        }
    });
    world.jobs.job(again.id)
}

pub(super) fn of_task_2(states: Vec<ImageState>) -> Outcome {
    Outcome { task: "t2".parse().unwrap(), ..outcome(states) }
}

#[tokio::test]
async fn fewer_images_than_the_former_request_had_leave_none_of_the_former_ones() {
    let world = World::new();
    let job = run_again(&world, 4, 1).await;
    world.archive.put("b/sku/notes.png", "somebody's own");
    let after = round(&world, &job, Some(of_task_2(vec![waiting("new")]))).await;
    assert_eq!(after.state_name(), StateName::Succeeded);
    assert_eq!(
        world.archive.objects(),
        [
            format!("b/sku/0.png = {}", link("new")),
            "b/sku/manifest.json".into(),
            "b/sku/notes.png = somebody's own".into()
        ]
    );
}

#[tokio::test]
async fn the_former_images_stand_until_all_of_the_new_ones_are_in_place() {
    let world = World::new();
    let job = run_again(&world, 4, 2).await;
    world.archive.fail(&link("y"), &[CopyCure::Later]);
    let half = round(&world, &job, Some(of_task_2(vec![waiting("x"), waiting("y")]))).await;
    assert_eq!(half.state_name(), StateName::Archiving);
    for index in 0..4 {
        let old = format!("b/sku/{index}.png = {}", link(&format!("old-{index}")));
        assert!(world.archive.objects().contains(&old), "{old} of {:?}", world.archive.objects());
    }
}

#[tokio::test]
async fn a_manifest_of_another_job_lets_nothing_be_deleted() {
    let world = World::new();
    let job = run_again(&world, 2, 1).await;
    let manifest = serde_json::json!({
        "job_id": job::JobId::fresh(0, 9).to_string(), "task_id": "t1",
        "images": [{"index": 1, "key": "b/sku/1.png", "sha256": "0"}],
    });
    world.archive.put("b/sku/manifest.json", &manifest.to_string());
    round(&world, &job, Some(of_task_2(vec![waiting("new")]))).await;
    let old = format!("b/sku/1.png = {}", link("old-1"));
    assert!(world.archive.objects().contains(&old), "{:?}", world.archive.objects());
}
