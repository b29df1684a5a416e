use std::time::Duration;

use tests::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_works_for_one_namespace_at_a_time() {
    let world = World::quick().await.unwrap();
    let mut first = world.imagemill.start("first", &["worker"]).unwrap();
    eventually("the first worker to begin", Duration::from_secs(30), async || {
        let log = first.log();
        if log.contains("begins") { Ok(()) } else { Err(log) }
    })
    .await;

    let other = world.imagemill.with("IMAGEMILL_REDIS_NAMESPACE", "other");
    let refused = other.run(&["worker", "--until-idle"]).await.unwrap().expect_code(78);
    assert!(refused.stderr.contains("is in use by namespace `imagemill`"), "{}", refused.stderr);
    assert!(refused.stderr.contains("redis.namespace"), "{}", refused.stderr);

    // Another key is another matter, and so is another worker of the same namespace.
    let own_key = other.with("DASHSCOPE_API_KEY", "sk-other");
    own_key.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    first.kill();
}
