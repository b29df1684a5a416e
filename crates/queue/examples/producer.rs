//! Puts a small catalogue into a batch, twice: the second time nothing is new.
//!
//! ```text
//! IMAGEMILL_REDIS_URL=redis://127.0.0.1:6379 cargo run -p queue --example producer -- spring
//! ```
//!
//! The jobs wait until a worker runs: `imagemill worker`.

#![expect(clippy::print_stdout, reason = "a program for people")]

use std::error::Error;

use dashscope::{ImageRequest, Model, Size};
use job::JobSpec;
use queue::{Producer, Queue, RedisSettings, Tally};
use rand::SeedableRng as _;
use rand::rngs::{StdRng, SysRng};

const CATALOGUE: [(&str, &str); 3] =
    [("sku-1", "a red running shoe"), ("sku-2", "a straw hat"), ("sku-3", "a leather belt")];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let batch = std::env::args().nth(1).unwrap_or_else(|| "example".to_owned());
    let mut settings = RedisSettings::default();
    if let Ok(url) = std::env::var("IMAGEMILL_REDIS_URL") {
        settings.url = url;
    }
    let queue = Queue::connect(&settings, Box::new(StdRng::try_from_rng(&mut SysRng)?)).await?;
    for run in ["first", "second"] {
        let tally = produce(&queue, &batch).await?;
        println!("{run} run: {} new, {} there already, {} changed", tally.new, tally.same, tally.changed);
    }
    Ok(())
}

async fn produce(queue: &Queue, batch: &str) -> Result<Tally, Box<dyn Error>> {
    let mut producer = Producer::new(queue, batch.parse()?);
    for (custom_id, article) in CATALOGUE {
        let mut request = ImageRequest::new(Model::Wan27Image, format!("studio photo of {article} on white"));
        request.size = Size::K1;
        producer.push(JobSpec::named(custom_id.parse()?, request)).await?;
    }
    Ok(producer.finish().await?)
}
