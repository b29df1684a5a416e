//! `imagemill job retry` and `imagemill batch retry`.

use std::str::FromStr;

use clap::Args;
use dashscope::request::nearest_name;
use job::{BatchName, FailureClass, StateName};

/// Run jobs again that failed, were canceled or expired
#[derive(Debug, Args)]
#[command(after_help = "\
A job that runs again makes a new task, which is billed if it succeeds. What its earlier tasks cost stays counted. A held job is
not retried: `imagemill job resolve` decides about it.

Examples:
  imagemill job retry 01KBXW0Z7T3Q9V5C2M8N4R6P1D
  imagemill job retry --batch spring sku-1042 sku-1043 --yes")]
pub(crate) struct RetryJobs {
    /// Job ids; with --batch, custom_ids
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,

    /// The batch in which the IDs are custom_ids
    #[arg(long, short, value_name = "NAME")]
    pub(crate) batch: Option<BatchName>,

    /// Do not ask: the cost is agreed
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Run the jobs of a batch again that failed, were canceled or expired, or ask for missing images
#[derive(Debug, Args)]
#[command(after_help = "\
Conditions: class=CLASS, code=CODE (the service's), state=STATE. All of them must hold; one may name several values with commas.
  Classes: moderation, invalid_request, input_download, service, service_timeout, transport, by_person, local
  States: failed, canceled, expired; with --missing: succeeded, expired

--missing leaves the old jobs as they are: they, and the batch, count as partial or expired also when the new ones bring it all.
For each that succeeded with fewer images than it asked for, or whose links died before all images were copied, it enqueues a new
job in the same batch that asks for as many as are missing, by the same prompt and parameters. Its custom_id is the old one with
`~missing` (the second time `~missing2`; without a custom_id the old job's id), and its images stand under keys of its own. A set
may bring fewer images than were asked for: of it only those count that were made and lost.

The command may be repeated, after an interruption too: nothing is asked for twice. An expired job whose images were asked for
with --missing does not run again. Held jobs are left as they are: `imagemill job resolve`.

Examples:
  imagemill batch retry spring --dry-run
  imagemill batch retry spring --where class=service,service_timeout --yes
  imagemill batch retry spring --where state=failed --where code=DataInspectionFailed
  imagemill batch retry spring --missing")]
pub(crate) struct RetryBatch {
    /// The batch
    #[arg(value_name = "BATCH")]
    pub(crate) name: BatchName,

    /// Only jobs of which this is true; may be repeated. Jobs that a person gave up are meant only with class=by_person
    #[arg(long = "where", value_name = "KEY=VALUE")]
    pub(crate) conditions: Vec<Where>,

    /// Ask for the images that ended jobs did not deliver, as new jobs
    #[arg(long)]
    pub(crate) missing: bool,

    /// Only say what would be done, and what it may cost
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Do not ask: the cost is agreed
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
}

/// A condition on jobs: any of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Where {
    /// The class of its failure.
    Class(Vec<FailureClass>),
    /// The code of its failure.
    Code(Vec<String>),
    /// Its state.
    State(Vec<StateName>),
}

/// What can be asked of a job.
const KEYS: [&str; 3] = ["class", "code", "state"];

/// The states of jobs that may run again, or of which images may be missing.
const STATES: [StateName; 4] =
    [StateName::Failed, StateName::Canceled, StateName::Expired, StateName::Succeeded];

impl FromStr for Where {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, values) = text.split_once('=').unwrap_or((text, ""));
        let values: Vec<&str> = values.split(',').map(str::trim).filter(|value| !value.is_empty()).collect();
        let known = KEYS.contains(&key);
        if known && values.is_empty() {
            return Err(format!("write it as `{key}=VALUE`"));
        }
        match key {
            "class" => {
                let names = FailureClass::ALL.map(FailureClass::as_str);
                let class = |value: &&str| value.parse().map_err(|_| unknown("class", value, &names));
                Ok(Self::Class(values.iter().map(class).collect::<Result<_, _>>()?))
            }
            "code" => Ok(Self::Code(values.into_iter().map(str::to_owned).collect())),
            "state" => {
                let names = STATES.map(StateName::as_str);
                let state = |value: &&str| match value.parse() {
                    Ok(StateName::Held) => {
                        Err("a held job is not retried: `imagemill job resolve` decides about it".to_owned())
                    }
                    Ok(state) if STATES.contains(&state) => Ok(state),
                    Ok(state) => Err(format!("a {state} job is not over; states are {}", names.join(", "))),
                    Err(_) => Err(unknown("state", value, &names)),
                };
                Ok(Self::State(values.iter().map(state).collect::<Result<_, _>>()?))
            }
            _ => Err(unknown("key", key, &KEYS)),
        }
    }
}

fn unknown(what: &str, value: &str, names: &[&str]) -> String {
    let shown: String = value.chars().take(40).collect();
    let near =
        nearest_name(value, names).map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
    let list = names.join(", ");
    format!("there is no {what} `{shown}`{near}; there are {list}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_names_a_key_and_its_values() {
        let read = |text: &str| text.parse::<Where>();
        assert_eq!(
            read("class=service, transport"),
            Ok(Where::Class(vec![FailureClass::Service, FailureClass::Transport]))
        );
        assert_eq!(read("code=DataInspectionFailed"), Ok(Where::Code(vec!["DataInspectionFailed".into()])));
        assert_eq!(read("state=expired"), Ok(Where::State(vec![StateName::Expired])));
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_is() {
        let wrong = |text: &str| text.parse::<Where>().unwrap_err();
        let all: Vec<String> = [
            "clas=service",
            "class=moderatoin",
            "state=faild",
            "state=held",
            "state=polling",
            "code=",
            "class",
        ]
        .into_iter()
        .map(wrong)
        .collect();
        insta::assert_snapshot!(all.join("\n"), @r"
        there is no key `clas` (did you mean `class`?); there are class, code, state
        there is no class `moderatoin` (did you mean `moderation`?); there are moderation, invalid_request, input_download, service, service_timeout, transport, by_person, local
        there is no state `faild` (did you mean `failed`?); there are failed, canceled, expired, succeeded
        a held job is not retried: `imagemill job resolve` decides about it
        a polling job is not over; states are failed, canceled, expired, succeeded
        write it as `code=VALUE`
        write it as `class=VALUE`
        ");
    }
}
