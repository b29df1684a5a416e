//! What a run is made of: accounts with their limits, jobs, workers; and what simulators and workers are told of it.
//!
//! Plain data in service time; the time scale is applied where it becomes settings.

use std::fmt::Write as _;
use std::time::Duration;

use dashscope_sim::{BySize, Config, Durations, Fault, Latency, Limits};

use super::ideal::Places;
use crate::commands::stand_ins::Pace;

/// The model that all jobs ask for: one queue of the provider is what a scenario is about.
pub(super) const MODEL: &str = "wan2.7-image";

/// The batch of a run.
pub(super) const BATCH: &str = "bench";

/// From creation to the earliest start. Source: `dashscope_sim::Durations`, from the samples of the API page.
const SCHEDULE_MS: u64 = 45;

/// How long a create call takes to answer. Source: ours; the provider gives no figure.
pub(super) const CREATE_LATENCY: Latency = Latency::LogNormal { p5_ms: 100, p95_ms: 400 };

/// An account, as its simulator is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AccountSetup {
    /// Its name.
    pub(super) name: &'static str,
    /// Tasks created per second.
    pub(super) creates_per_second: u32,
    /// Tasks processed at once.
    pub(super) in_flight: u32,
    /// Tasks kept PENDING behind them; `None`: the worker's default.
    pub(super) queue_ahead: Option<u32>,
    /// Queries, lists and cancels per second.
    pub(super) queries_per_second: u32,
    /// Tasks PENDING at once that the provider takes; 0: no limit.
    pub(super) pending_max: u32,
    /// The largest page of the task list.
    pub(super) list_page_max: u32,
    /// How long tasks run.
    pub(super) durations: Latency,
    /// How long a create call takes.
    pub(super) create_latency: Latency,
    /// What goes wrong. Times are real.
    pub(super) faults: Vec<Fault>,
}

impl AccountSetup {
    /// An account with the documented limits, whose tasks take 10 to 25 s.
    ///
    /// Source: Model Studio, "Rate limits", Wan series; the durations are those of the issue, about those of the API page's samples.
    pub(super) fn documented() -> Self {
        let limits = Limits::default();
        Self {
            name: "documented",
            creates_per_second: limits.creates_per_second,
            in_flight: limits.tasks_at_once,
            queue_ahead: None,
            queries_per_second: limits.queries_per_second,
            pending_max: limits.pending_max,
            list_page_max: limits.list_page_max,
            durations: Latency::LogNormal { p5_ms: 10_000, p95_ms: 25_000 },
            create_latency: CREATE_LATENCY,
            faults: Vec::new(),
        }
    }

    /// What it can run, for the ideal.
    pub(super) fn places(&self) -> Places {
        Places { slots: self.in_flight, creates_per_second: self.creates_per_second }
    }

    /// Its simulator.
    pub(super) fn simulator(&self, scale: u32, seed: u64) -> Config {
        let all = BySize::all(self.durations);
        Config {
            seed,
            limits: Limits {
                creates_per_second: self.creates_per_second.saturating_mul(scale),
                queries_per_second: self.queries_per_second.saturating_mul(scale),
                tasks_at_once: self.in_flight,
                pending_max: self.pending_max,
                list_page_max: self.list_page_max,
                ..Limits::default()
            },
            durations: Durations {
                pro: all.clone(),
                standard: all,
                set_image_share: 0.0,
                schedule_ms: SCHEDULE_MS / u64::from(scale),
                scale: 1.0 / f64::from(scale),
            },
            create_latency: scaled(self.create_latency, scale),
            faults: self.faults.clone(),
            ..Config::default()
        }
    }

    /// Its part of the workers' settings file. The key stands in the variable [`key_variable`].
    fn settings(&self, number: usize, base_url: &str, scale: u32) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "[[accounts]]\nname = \"{}\"\nbase_url = \"{base_url}\"\napi_key = {{ env = \"{}\" }}\nqueries_per_second = {}\n",
            self.name,
            key_variable(number),
            self.queries_per_second.saturating_mul(scale),
        );
        let _ = writeln!(
            text,
            "[accounts.limits.\"{MODEL}\"]\ncreate_per_second = {}\nin_flight = {}",
            self.creates_per_second.saturating_mul(scale),
            self.in_flight
        );
        if let Some(ahead) = self.queue_ahead {
            let _ = writeln!(text, "queue_ahead = {ahead}");
        }
        text
    }
}

/// The variable that holds the key of an account.
pub(super) fn key_variable(number: usize) -> &'static str {
    ["BENCH_KEY_0", "BENCH_KEY_1", "BENCH_KEY_2", "BENCH_KEY_3"][number.min(3)]
}

fn scaled(latency: Latency, scale: u32) -> Latency {
    let scale = u64::from(scale);
    match latency {
        Latency::Fixed { ms } => Latency::Fixed { ms: ms / scale },
        Latency::LogNormal { p5_ms, p95_ms } => {
            Latency::LogNormal { p5_ms: p5_ms / scale, p95_ms: p95_ms / scale }
        }
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setup {
    /// How many times faster than real the service is.
    pub(super) scale: u32,
    /// Chooses durations, faults, and what else is left to chance.
    pub(super) seed: u64,
    /// Jobs, of one image each.
    pub(super) jobs: usize,
    /// Worker processes.
    pub(super) workers: usize,
    /// The accounts.
    pub(super) accounts: Vec<AccountSetup>,
    /// How slow the store is. Times are real.
    pub(super) store: Pace,
    /// Further settings of the workers, as `section.name=value`.
    pub(super) settings: Vec<String>,
    /// How long nothing may move before the run is given up, in real time.
    pub(super) patience: Duration,
}

impl Setup {
    /// The settings file of the workers, with an account at each of these base URLs.
    pub(super) fn settings_file(&self, base_urls: &[String]) -> String {
        let accounts = self.accounts.iter().zip(base_urls).enumerate();
        accounts.map(|(number, (account, url))| account.settings(number, url, self.scale)).collect()
    }

    /// The input file, with a prompt of its own for each job: the simulator draws a task's duration from it, and its ledger shows
    /// by it whether one was paid for twice. The smallest size that the service takes keeps the pictures out of the measurement.
    pub(super) fn input(&self) -> String {
        lines(self.seed, "p", self.jobs)
    }

    /// A time of the service, from a real one.
    pub(super) fn service_s(&self, real_ms: f64) -> f64 {
        real_ms * f64::from(self.scale) / 1_000.0
    }
}

/// `count` lines of JSONL whose ids begin with `prefix`.
pub(super) fn lines(seed: u64, prefix: &str, count: usize) -> String {
    let mut text = String::with_capacity(count * 130);
    for number in 0..count {
        let _ = writeln!(
            text,
            r#"{{"custom_id":"{prefix}{number:06}","prompt":"Picture {prefix}{number} of seed {seed}","model":"{MODEL}","size":"768*768","n":1}}"#
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_scale_multiplies_rates_and_divides_latencies_and_leaves_numbers_of_places() {
        let account = AccountSetup::documented();
        let config = account.simulator(20, 7);
        assert_eq!((config.limits.creates_per_second, config.limits.queries_per_second), (100, 400));
        assert_eq!((config.limits.tasks_at_once, config.limits.pending_max), (5, 50));
        assert_eq!(config.create_latency, Latency::LogNormal { p5_ms: 5, p95_ms: 20 });
        assert_eq!((config.durations.schedule_ms, config.durations.scale), (2, 0.05));
        assert!(config.check().is_ok());
        let text = account.settings(0, "http://127.0.0.1:1/api/v1", 20);
        assert!(text.contains("create_per_second = 100") && text.contains("in_flight = 5"), "{text}");
        assert!(!text.contains("queue_ahead"), "the worker's own default is what is measured");
    }

    #[test]
    fn every_line_has_a_prompt_of_its_own() {
        let text = lines(7, "p", 50);
        let prompts: std::collections::BTreeSet<String> = text
            .lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["prompt"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(prompts.len(), 50);
    }
}
