//! Work that comes in little by little, so that a run is busy to its end.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::{Imagemill, World};

/// Batches of one workload, each a file of its own.
pub(super) struct Feed {
    batches: Vec<String>,
}

impl Feed {
    /// Writes `lines` into `files` files in the world's folder, under names that begin with `prefix`.
    pub(super) fn write(world: &World, prefix: &str, lines: &str, files: usize) -> anyhow::Result<Self> {
        let lines: Vec<&str> = lines.lines().collect();
        let mut batches = Vec::new();
        for (at, chunk) in lines.chunks(lines.len().div_ceil(files.max(1)).max(1)).enumerate() {
            let name = format!("{prefix}-{at:03}");
            world.write(&format!("{name}.jsonl"), &chunk.join("\n"))?;
            batches.push(name);
        }
        Ok(Self { batches })
    }

    /// Enqueues them evenly over `time`. Enqueueing is repeated for as long as Redis is away: that is safe.
    pub(super) async fn run(self, imagemill: &Imagemill, time: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        let count = u32::try_from(self.batches.len())?;
        for (at, batch) in (0..count).zip(&self.batches) {
            let due = time * at / count;
            tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
            enqueue(imagemill, batch).await?;
        }
        Ok(())
    }
}

async fn enqueue(imagemill: &Imagemill, batch: &str) -> anyhow::Result<()> {
    let file = format!("{batch}.jsonl");
    let started = Instant::now();
    loop {
        let output = imagemill.run(&["enqueue", &file, "--batch", batch]).await?;
        if output.code == 0 {
            return Ok(());
        }
        ensure!(
            output.code == 69 && started.elapsed() < Duration::from_secs(120),
            "enqueue ended with {}: {}",
            output.code,
            output.stderr
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
