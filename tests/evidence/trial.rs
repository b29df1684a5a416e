//! Runs a trial and prints its figures; a broken bound is an error.

use std::time::Instant;

use tests::Report;

pub(crate) async fn run(
    what: &str,
    trial: impl Future<Output = anyhow::Result<Report>>,
) -> anyhow::Result<()> {
    println!("== {what}");
    let started = Instant::now();
    let report = trial.await?;
    print!("{report}");
    println!("took {:.0} s", started.elapsed().as_secs_f64());
    println!();
    report.verdict()
}
