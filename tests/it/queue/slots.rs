use job::Event;
use redis::AsyncCommands as _;

use super::{World, account, name};

#[tokio::test]
async fn a_place_belongs_to_each_attempt_that_may_be_at_the_provider() {
    let world = World::new().await;
    world.enqueue("spring", 4).await;
    let (first, second) = (world.claim().await.unwrap(), world.claim().await.unwrap());
    world.created(&first, "task-1").await;
    world.queue.commit(&second, Event::NotSent, &world.rules, None).await.unwrap();
    let third = world.claim().await.unwrap();
    let no_answer = Event::NoAnswer { cause: "timeout".to_owned() };
    world.queue.commit(&third, no_answer, &world.rules, None).await.unwrap();

    let found = world.queue.audit_slots(Some(&name("spring")), &[account()]).await.unwrap();
    assert_eq!((found.jobs, found.differences.as_slice()), (4, [].as_slice()));
    let taken: u64 = found.taken.iter().map(|(_, _, taken)| taken).sum();
    assert_eq!(taken, 2, "one polls and one settles: {found:?}");
}

#[tokio::test]
async fn a_place_that_is_lost_or_that_nobody_holds_is_told() {
    let world = World::new().await;
    world.enqueue("spring", 2).await;
    let job = world.claim().await.unwrap();
    let key = world.queue.keys().slots(&account(), job.model);
    let mut connection = world.redis.connection().await.unwrap();
    let own = format!("{}:1", job.id);
    let removed: u64 = connection.zrem(&key, &own).await.unwrap();
    assert_eq!(removed, 1);
    let added: u64 = connection.zadd(&key, "somebody:3", 1).await.unwrap();
    assert_eq!(added, 1);
    let found = world.queue.audit_slots(Some(&name("spring")), &[account()]).await.unwrap();
    let expected = [format!("lacks {key} {own} submitting"), format!("has {key} somebody:3 unknown")];
    assert_eq!(found.differences, expected);
}

#[tokio::test]
async fn more_jobs_than_one_look_may_take_are_refused() {
    let world = World::new().await;
    world.enqueue("spring", 501).await;
    let refused = world.queue.audit_slots(Some(&name("spring")), &[account()]).await.unwrap_err();
    assert!(format!("{refused:?}").contains("500 jobs at most"), "{refused:?}");
}
