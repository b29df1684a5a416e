//! The twins under the statements that the real adapters are under in `tests/it/conformance.rs`.

use worker::testing::conformance::{API, ARCHIVE, JOBS, twin_api, twin_archive, twin_jobs};

#[tokio::test(start_paused = true)]
async fn the_queues_twin_does_what_every_queue_must_do() {
    for (name, holds) in JOBS {
        println!("{name}");
        holds(&twin_jobs()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_providers_twin_does_what_every_provider_must_do() {
    for (name, holds) in API {
        println!("{name}");
        holds(&twin_api()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_buckets_twin_does_what_every_bucket_must_do() {
    for (name, holds) in ARCHIVE {
        println!("{name}");
        holds(&twin_archive()).await;
    }
}
