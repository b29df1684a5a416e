//! Faults on demand: where one strikes, when, and what it does.
//!
//! This file owns what a script may say; [`book`] counts and decides at run time. Nothing here touches a request: the
//! world and the server carry out what [`book::FaultBook`] picks.

mod act;
mod book;

use serde::{Deserialize, Serialize};

pub use act::{Act, ContentLength};
pub(crate) use book::{Candidate, FaultBook, Phase};

/// One scripted fault. The crate's README has the table of all of them.
///
/// ```
/// let faults = dashscope_sim::faults_from_toml(r#"
///     [[faults]]
///     on = "create"
///     when = { nth = [2], prompt_contains = "lighthouse" }
///     do = "accept_then_cut"
/// "#)?;
/// assert_eq!(faults[0].on, dashscope_sim::On::Create);
/// # Ok::<(), dashscope_sim::FaultError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// A label for the ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it strikes.
    pub on: On,
    /// Which of the candidates it strikes; absent: each of them.
    #[serde(default)]
    pub when: When,
    /// How often at most; absent: without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// What happens.
    #[serde(rename = "do")]
    pub act: Act,
}

/// The place of a fault: a kind of request, or the making of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// Create calls, asynchronous and synchronous.
    Create,
    /// A task as it is created: how it will run and what its answers look like.
    Task,
    /// Queries of one task.
    Query,
    /// Pages of the task list.
    List,
    /// Cancellations.
    Cancel,
    /// Downloads of a result.
    Result,
    /// The limits endpoint.
    Quotas,
    /// Upload policies and uploads.
    Upload,
}

/// The conditions of a fault. All that are given must hold.
///
/// Candidates are counted per fault, from 1, over those that meet every condition but `nth`, `every` and `rate`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct When {
    /// These candidates, counted from 1.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nth: Vec<u64>,
    /// Every k-th candidate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
    /// This share of the candidates, 0 to 1, drawn from the seed and the identity of the task or request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Count candidates for each task by itself, so that `nth = [1]` is the first query of every task.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub per_task: bool,
    /// The prompt of the request, or of the task it is about, contains this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_contains: Option<String>,
    /// Not before so many seconds after the simulator's start, by its own clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_s: Option<f64>,
    /// Only before so many seconds after the simulator's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_s: Option<f64>,
}

/// Why a fault cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// The script is not TOML or JSON, or has an unknown field.
    #[error("the fault script cannot be read: {reason}")]
    Unreadable {
        /// Line and reason, as the reader gives them.
        reason: String,
    },
    /// The act does not exist at that place.
    #[error("`{act}` cannot happen on `{on:?}`; use one of {allowed:?}")]
    Misplaced {
        /// The act's name.
        act: &'static str,
        /// Where it was put.
        on: On,
        /// Where it may be put.
        allowed: &'static [On],
    },
    /// A share outside 0 to 1, or `every = 0`.
    #[error("`when.{field}` is out of range")]
    OutOfRange {
        /// The condition.
        field: &'static str,
    },
    /// A status that HTTP does not have, or that is no final answer.
    #[error("{http} is not an HTTP status from 200 to 599")]
    Status {
        /// What was given.
        http: u16,
    },
}

impl Fault {
    /// A fault that strikes each candidate.
    pub fn new(on: On, act: Act) -> Self {
        Self { name: None, on, when: When::default(), times: None, act }
    }

    /// The same, at these candidates only, counted from 1.
    #[must_use]
    pub fn nth(mut self, nth: &[u64]) -> Self {
        self.when.nth = nth.to_vec();
        self
    }

    /// The same, for prompts that contain `text` only.
    #[must_use]
    pub fn prompt_contains(mut self, text: &str) -> Self {
        self.when.prompt_contains = Some(text.to_owned());
        self
    }

    /// The same, at most so often.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Checks that the act exists at its place and that the numbers make sense.
    ///
    /// # Errors
    /// For the first thing that cannot be.
    pub fn check(&self) -> Result<(), FaultError> {
        let allowed = self.act.places();
        if !allowed.contains(&self.on) {
            return Err(FaultError::Misplaced { act: self.act.name(), on: self.on, allowed });
        }
        if self.when.every == Some(0) {
            return Err(FaultError::OutOfRange { field: "every" });
        }
        if self.when.rate.is_some_and(|rate| !(0.0..=1.0).contains(&rate)) {
            return Err(FaultError::OutOfRange { field: "rate" });
        }
        match self.act.http() {
            Some(http) if !(200..600).contains(&http) => Err(FaultError::Status { http }),
            _ => Ok(()),
        }
    }
}

/// The form of a fault script: a list under the name `faults`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Script {
    #[serde(default)]
    faults: Vec<Fault>,
}

/// Reads a fault script in TOML: a list of `[[faults]]`.
///
/// # Errors
/// If it cannot be read, or a fault cannot be used.
pub fn faults_from_toml(text: &str) -> Result<Vec<Fault>, FaultError> {
    checked(toml::from_str(text).map_err(|error| FaultError::Unreadable { reason: error.to_string() })?)
}

/// Reads a fault script in JSON: `{"faults": […]}`.
///
/// # Errors
/// If it cannot be read, or a fault cannot be used.
pub fn faults_from_json(text: &str) -> Result<Vec<Fault>, FaultError> {
    checked(serde_json::from_str(text).map_err(|error| FaultError::Unreadable { reason: error.to_string() })?)
}

fn checked(script: Script) -> Result<Vec<Fault>, FaultError> {
    script.faults.iter().try_for_each(Fault::check)?;
    Ok(script.faults)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_script_reads_from_toml_and_json() {
        let toml = faults_from_toml(
            r#"
            [[faults]]
            name = "busy"
            on = "create"
            when = { nth = [1, 2], after_s = 0.5 }
            times = 2
            do = { status = { http = 429, code = "Throttling", retry_after_s = 3 } }
            [[faults]]
            on = "query"
            do = "unknown_once"
            "#,
        )
        .unwrap();
        let json = faults_from_json(
            r#"{"faults": [
                {"name": "busy", "on": "create", "when": {"nth": [1, 2], "after_s": 0.5}, "times": 2,
                 "do": {"status": {"http": 429, "code": "Throttling", "retry_after_s": 3}}},
                {"on": "query", "do": "unknown_once"}]}"#,
        )
        .unwrap();
        assert_eq!(toml, json);
    }

    #[test]
    fn a_fault_in_the_wrong_place_is_refused_with_the_right_ones() {
        let error = faults_from_toml("[[faults]]\non = \"query\"\ndo = \"fewer_images\"").unwrap_err();
        assert_eq!(error.to_string(), "`fewer_images` cannot happen on `Query`; use one of [Task]");
    }

    #[test]
    fn unknown_fields_and_impossible_numbers_are_refused() {
        for script in [
            "[[faults]]\non = \"create\"\ndo = \"hang\"\nwhenn = {}",
            "[[faults]]\non = \"create\"\ndo = \"hang\"\nwhen = { rate = 1.1 }",
            "[[faults]]\non = \"create\"\ndo = \"hang\"\nwhen = { every = 0 }",
            "[[faults]]\non = \"create\"\ndo = { status = { http = 99 } }",
        ] {
            assert!(faults_from_toml(script).is_err(), "{script}");
        }
    }
}
