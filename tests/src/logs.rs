//! Workers' JSON logs, read back: when which step began and ended, who was taken over, and what must never be in them.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

/// One line of a log.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it was written, by the wall clock of its process.
    pub at: Timestamp,
    /// Its text.
    pub message: String,
    fields: Value,
}

impl Line {
    fn read(text: &str) -> Option<Self> {
        let fields: Value = serde_json::from_str(text).ok()?;
        let at = fields["timestamp"].as_str()?.parse().ok()?;
        Some(Self { at, message: fields["message"].as_str()?.to_owned(), fields })
    }

    /// The job it is about, by its own fields or its step's.
    pub fn job(&self) -> Option<&str> {
        self.fields["job.id"].as_str().or_else(|| self.fields["span"]["job.id"].as_str())
    }

    /// The step it was written in; none for a line of the settler, the rescuer and others.
    pub fn step(&self) -> Option<&str> {
        self.fields["span"]["step"].as_str()
    }

    /// A number among its fields.
    pub fn number(&self, field: &str) -> Option<i64> {
        self.fields[field].as_i64()
    }

    /// A text among its fields.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields[field].as_str()
    }

    /// Whether it says that the job of a vanished worker was taken over.
    pub fn is_rescue(&self) -> bool {
        self.message.contains(" vanished ")
    }

    /// Whether it tells of a write of a step: that it was made, or why not.
    pub fn is_of_a_write(&self) -> bool {
        self.text("target") == Some("worker::env")
    }

    /// Whether it says that a step begins.
    pub fn is_beginning(&self) -> bool {
        self.text("step").is_some() && self.message.ends_with(" begins")
    }

    /// Whether it says that a write came too late, because somebody else has the job by now.
    pub fn is_fenced(&self) -> bool {
        self.message.contains(" was taken over; ")
    }
}

/// What a worker did with one claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The job.
    pub job: String,
    /// `submit`, `poll` or `archive`.
    pub step: String,
    /// The claim's fence.
    pub fence: i64,
    /// When its handler began.
    pub began: Timestamp,
    /// When it was over; `None`: it never was.
    pub ended: Option<Timestamp>,
    /// How long after it was due it began, by Redis's clock.
    pub late_ms: Option<i64>,
}

/// The log of one worker.
#[derive(Debug, Clone)]
pub struct WorkerLog {
    /// The worker, by the name that it was started under.
    pub name: String,
    /// Its lines; a last one that a kill cut short is left out.
    pub lines: Vec<Line>,
    text: String,
}

impl WorkerLog {
    /// Reads one.
    pub fn new(name: &str, text: String) -> Self {
        let lines = text.lines().filter_map(Line::read).collect();
        Self { name: name.to_owned(), lines, text }
    }

    /// Reads every `NAME.log` of a folder.
    pub fn read_all(folder: &Path) -> anyhow::Result<Vec<Self>> {
        let mut logs = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log")
                && let Some(name) = path.file_stem().and_then(|name| name.to_str())
            {
                logs.push(Self::new(name, std::fs::read_to_string(&path)?));
            }
        }
        logs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(logs)
    }

    /// Its steps, in the order of their beginning. Claims of settling are not among them.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let mut open: BTreeMap<(String, i64), usize> = BTreeMap::new();
        for line in &self.lines {
            let (Some(job), Some(step), Some(fence)) = (line.job(), line.text("step"), line.number("fence"))
            else {
                continue;
            };
            let key = (job.to_owned(), fence);
            if line.is_beginning() {
                open.insert(key, steps.len());
                steps.push(Step {
                    job: job.to_owned(),
                    step: step.to_owned(),
                    fence,
                    began: line.at,
                    ended: None,
                    late_ms: line.number("late_ms"),
                });
            } else if line.message.ends_with(" is over")
                && let Some(at) = open.remove(&key)
            {
                steps[at].ended = Some(line.at);
            }
        }
        steps
    }

    /// How long it is.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The first of these texts that it holds.
    pub fn holds<'a>(&self, forbidden: &'a [String]) -> Option<&'a str> {
        forbidden.iter().find(|text| self.text.contains(*text)).map(String::as_str)
    }
}

/// Texts that no log may hold: parts of prompts of [`crate::workload`], the key of a [`crate::World`], signatures of links.
pub fn secrets() -> Vec<String> {
    ["of a seeded workload", "sk-test", "Signature=", "test-secret-key", "X-Amz-Credential"]
        .map(str::to_owned)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(second: u32, rest: &str) -> String {
        format!("{{\"timestamp\":\"2026-01-01T00:00:{second:02}Z\",\"level\":\"DEBUG\",{rest}}}\n")
    }

    #[test]
    fn steps_are_paired_by_job_and_fence_and_one_that_was_killed_has_no_end() {
        let begins = |job: &str, fence: i64| {
            format!(
                "\"message\":\"Job {job} is claimed: poll begins\",\"job.id\":\"{job}\",\"step\":\"poll\",\"fence\":{fence},\"late_ms\":7"
            )
        };
        let over = |job: &str, fence: i64| {
            format!(
                "\"message\":\"Job {job}: poll is over\",\"job.id\":\"{job}\",\"step\":\"poll\",\"fence\":{fence}"
            )
        };
        let text = [
            line(1, &begins("A", 3)),
            "stopping: a line for people\n".to_owned(),
            line(2, &begins("B", 5)),
            line(3, &over("A", 3)),
            line(4, &begins("A", 4)),
            "{\"timestamp\":\"2026-01-01T00:00:05Z\",\"mess".to_owned(),
        ];
        let steps = WorkerLog::new("w", text.concat()).steps();
        let ends: Vec<_> =
            steps.iter().map(|step| (step.job.as_str(), step.fence, step.ended.is_some())).collect();
        assert_eq!(ends, [("A", 3, true), ("B", 5, false), ("A", 4, false)]);
        assert_eq!(steps[0].late_ms, Some(7));
    }

    #[test]
    fn a_secret_is_found_wherever_it_stands() {
        let log = WorkerLog::new("w", "not JSON, and Signature=abc in it".to_owned());
        assert_eq!(log.holds(&secrets()), Some("Signature="));
        assert_eq!(WorkerLog::new("w", "clean".to_owned()).holds(&secrets()), None);
    }
}
