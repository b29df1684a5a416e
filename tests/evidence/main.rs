//! The long measurements: `scripts/evidence NAME` runs one of them in a release build and prints its figures.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod expiry;
mod jobs;
mod resident;
mod scale;
mod stop;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "The long measurements, against real servers on this machine")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Mixed jobs through the built binary, a real Redis and SeaweedFS: every object, job and bill is checked
    Jobs {
        /// How many
        #[arg(long, default_value_t = 5_000)]
        jobs: usize,
        /// How many jobs of real weight (2K and 4K) after them
        #[arg(long, default_value_t = 50)]
        heavy: usize,
        /// Chooses the mix
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// A worker that is told to stop under load: how long it stays, and whether another one carries on
    Stop {
        /// Tasks at the provider
        #[arg(long, default_value_t = 1_000)]
        tasks: usize,
        /// How long a create call takes to answer
        #[arg(long, default_value_t = 100)]
        create_ms: u64,
    },
    /// Links that die at mixed times, with more and with less copying than is needed: what is lost, and what must be
    Expiry {
        /// Finished tasks
        #[arg(long, default_value_t = 2_000)]
        tasks: usize,
        /// How long the last of their links live, in seconds
        #[arg(long, default_value_t = 72)]
        longest_s: u64,
    },
    /// What a claim costs with more and more jobs waiting, and 100,000 jobs that are due at once
    Scale {
        /// The largest number of waiting jobs
        #[arg(long, default_value_t = 1_000_000)]
        most: usize,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Arguments::parse().what {
        What::Jobs { jobs, heavy, seed } => jobs::run(jobs, heavy, seed).await,
        What::Stop { tasks, create_ms } => stop::run(tasks, create_ms).await,
        What::Expiry { tasks, longest_s } => expiry::run(tasks, longest_s).await,
        What::Scale { most } => scale::run(most).await,
    }
}
