//! The long measurements: `scripts/evidence NAME` runs one of them in a release build and prints its figures.
//!
//! Those with bounds end with an error when one is broken.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its output is what it is for")]

mod enqueue;
mod expiry;
mod jobs;
mod resident;
mod scale;
mod stop;
mod trial;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tests::Haste;
use tests::trials::{
    ChaosPlan, PausePlan, RestorePlan, RollingPlan, Workers, chaos, pause, restore, rolling,
};

#[derive(Parser)]
#[command(
    about = "The long measurements, against real servers on this machine",
    after_help = "Without any server: scripts/evidence faults [--seeds N] [--row WORDS] [--from SEED] [--timeline]\n\
                  The limits of accounts, with `imagemill bench`: scripts/evidence limits [--runs N] [NAME...]"
)]
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
    /// A long file is checked and enqueued: time, memory; killed midway and repeated
    Enqueue {
        /// How many lines
        #[arg(long, default_value_t = 100_000)]
        lines: usize,
    },
    /// What a claim costs with more and more jobs waiting, and 100,000 jobs that are due at once
    Scale {
        /// The largest number of waiting jobs
        #[arg(long, default_value_t = 1_000_000)]
        most: usize,
    },
    /// Workers are killed all the time, create answers are lost, Redis and the store go away: nothing lost, nothing paid twice
    Chaos {
        /// How long faults go on
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// Chooses the jobs and the kills
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How long a lease lives, in ms
        #[arg(long, default_value_t = 2_000)]
        lease_ms: u64,
        /// The longest time between two kills, in ms; the shortest is a sixth of it
        #[arg(long, default_value_t = 3_000)]
        kill_ms: u64,
    },
    /// Three generations of four workers are replaced by SIGTERM, one after the other, under load
    Rolling {
        /// The time between two replacements
        #[arg(long, default_value_t = 5)]
        every_s: u64,
        /// Jobs
        #[arg(long, default_value_t = 1_500)]
        jobs: usize,
    },
    /// Workers stand still at every place between two steps, for longer than their leases live
    Pause {
        /// How long: a worker for each place and each of these
        #[arg(long, value_delimiter = ',', default_values_t = [30, 120])]
        pauses_s: Vec<u64>,
        /// How far ahead the clock of every second worker is
        #[arg(long, default_value_t = 0)]
        clock_ahead_s: u64,
        /// How long a lease lives, in ms
        #[arg(long, default_value_t = 10_000)]
        lease_ms: u64,
    },
    /// Redis is replaced by a copy of a minute ago: what became of each task that was billed
    Restore {
        /// How old the copy is
        #[arg(long, default_value_t = 60)]
        lost_s: u64,
        /// Kill all workers before, so that nobody remembers
        #[arg(long)]
        workers_die: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().what).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(what: What) -> anyhow::Result<()> {
    match what {
        What::Jobs { jobs, heavy, seed } => jobs::run(jobs, heavy, seed).await,
        What::Stop { tasks, create_ms } => stop::run(tasks, create_ms).await,
        What::Expiry { tasks, longest_s } => expiry::run(tasks, longest_s).await,
        What::Enqueue { lines } => enqueue::run(lines).await,
        What::Scale { most } => scale::run(most).await,
        What::Chaos { minutes, seed, lease_ms, kill_ms } => {
            let plan = ChaosPlan {
                seed,
                haste: lease(lease_ms),
                kill_from: Duration::from_millis(kill_ms / 6),
                kill_to: Duration::from_millis(kill_ms),
                ..ChaosPlan::minutes(minutes)
            };
            trial::run(&format!("{minutes} minutes of faults, {} jobs", plan.jobs), chaos(&plan)).await
        }
        What::Rolling { every_s, jobs } => {
            let plan = RollingPlan::new(Duration::from_secs(every_s), jobs);
            trial::run("three generations of four workers", rolling(&plan)).await
        }
        What::Pause { pauses_s, clock_ahead_s, lease_ms } => {
            let pauses = pauses_s.into_iter().map(Duration::from_secs).collect();
            let clock_ahead = Duration::from_secs(clock_ahead_s);
            let plan = PausePlan { clock_ahead, ..PausePlan::new(pauses, lease(lease_ms)) };
            trial::run("workers that stand still", pause(&plan)).await
        }
        What::Restore { lost_s, workers_die } => {
            let (fate, how) = match workers_die {
                true => (Workers::Die, "workers die"),
                false => (Workers::Live, "workers live on"),
            };
            let plan = RestorePlan::new(fate, Duration::from_secs(lost_s));
            trial::run(&format!("Redis goes back {lost_s} s, {how}"), restore(&plan)).await
        }
    }
}

fn lease(ms: u64) -> Haste {
    Haste { lease: Duration::from_millis(ms), ..Haste::default() }
}
