//! The examples for those who enqueue from programs: they must do what they say.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tests::World;
use tokio::process::Command;

/// What a program printed, once it has ended well.
async fn printed(command: &mut Command) -> String {
    command.stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(600), command.output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}: {text}", output.status);
    text
}

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_producer_example_adds_its_jobs_once_and_a_worker_makes_them() {
    let world = World::quick().await.unwrap();
    let mut example = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    example.args(["run", "--quiet", "--package", "queue", "--example", "producer", "--", "spring"]);
    example.current_dir(workspace()).env("IMAGEMILL_REDIS_URL", world.redis.url());
    let said = printed(&mut example).await;
    assert_eq!(
        said,
        "first run: 3 new, 0 there already, 0 changed\nsecond run: 0 new, 3 there already, 0 changed\n"
    );
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    assert_eq!(world.check_all_succeeded().await.unwrap().images, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_enqueues_a_shop_and_says_how_far_its_images_are() {
    let world = World::quick().await.unwrap();
    let run = async || {
        let mut python = Command::new("python3");
        python.arg(workspace().join("deploy/examples/catalogue.py")).arg("shop").env_clear();
        python.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        python.envs(world.imagemill.environment().iter().cloned());
        python.env("IMAGEMILL", world.imagemill.binary().unwrap()).current_dir(world.folder());
        printed(&mut python).await
    };
    assert_eq!(
        run().await,
        "3 new, 0 there already, 0 changed, 0 wrong\n\
         batch shop is running: 0 of 3 articles done, 0 of 4 images stored\n"
    );
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    assert_eq!(
        run().await,
        "0 new, 3 there already, 0 changed, 0 wrong\n\
         batch shop is done: 3 of 3 articles done, 4 of 4 images stored\n"
    );
}
