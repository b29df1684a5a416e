//! What the runs came to, as a table and as JSON. Pure.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::bounds::{Bound, Judged, judge};
use super::figures::{Figure, Figures, median};
use super::machine;
use crate::output::table::{Column, table};

/// The runs of one scenario.
#[derive(Debug, Clone)]
pub(super) struct Report {
    /// The scenario's name.
    pub(super) scenario: &'static str,
    /// What it is.
    pub(super) about: &'static str,
    /// The time scale.
    pub(super) scale: u32,
    /// Worker processes.
    pub(super) workers: usize,
    /// The seed of the first run; each further one has the next.
    pub(super) seed: u64,
    /// What the medians have to keep.
    pub(super) bounds: &'static [Bound],
    /// The runs.
    pub(super) runs: Vec<Figures>,
}

/// What `bench --json` prints. The shape is stable: fields are added, never changed.
#[derive(Debug, Serialize)]
pub(super) struct ReportView {
    scenario: &'static str,
    about: &'static str,
    time_scale: u32,
    workers: usize,
    seed: u64,
    /// Of the machine: the figures depend on it.
    processors: usize,
    /// Whether no run has a problem and the medians keep their bounds.
    ok: bool,
    /// The median of each figure over the runs.
    median: Map<String, Value>,
    /// What the medians have to keep.
    bounds: Vec<BoundView>,
    runs: Vec<RunView>,
}

#[derive(Debug, Serialize)]
struct BoundView {
    figure: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_most: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<f64>,
    kept: bool,
}

#[derive(Debug, Serialize)]
struct RunView {
    figures: Map<String, Value>,
    /// By command: calls and their time, those inside of scripts too.
    redis_commands: Map<String, Value>,
    /// What must not be.
    problems: Vec<String>,
}

impl Report {
    /// Whether no run has a problem and the medians keep their bounds.
    pub(super) fn ok(&self) -> bool {
        self.runs.iter().all(|run| run.problems.is_empty())
            && judge(self.bounds, &self.runs).iter().all(Judged::kept)
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let medians = median(&self.runs);
        let mut columns = vec![Column::Left("FIGURE")];
        columns.extend(RUNS.iter().take(self.runs.len()).copied().map(Column::Right));
        if self.runs.len() > 1 {
            columns.push(Column::Right("MEDIAN"));
        }
        columns.push(Column::Left("UNIT"));
        let row = |figure: &Figure| {
            let show = |value: Option<f64>| value.map_or_else(String::new, |value| figure.unit.show(value));
            let mut row = vec![figure.label.to_string()];
            row.extend(self.runs.iter().map(|run| show(run.get(&figure.name))));
            if self.runs.len() > 1 {
                row.push(show(Some(figure.value)));
            }
            row.push(figure.unit.words().to_owned());
            row
        };
        let mut text = format!("{}: {}\n{}\n\n", self.scenario, self.about, self.circumstances());
        text.push_str(&table(&columns, medians.iter().map(row).collect()));
        for judged in judge(self.bounds, &self.runs) {
            text.push_str(&(judged.say() + "\n"));
        }
        for (number, run) in self.runs.iter().enumerate() {
            for problem in &run.problems {
                text.push_str(&format!("run {}: {problem}\n", number + 1));
            }
        }
        text
    }

    fn circumstances(&self) -> String {
        let workers = crate::output::words::counted(self.workers as u64, "worker");
        let time = match self.scale {
            1 => "in real time".to_owned(),
            scale => format!("time scale {scale} (service time = real time x {scale}; the rest is real)"),
        };
        format!("{workers}, {time}, seed {}, {} processors", self.seed, machine::processors())
    }

    /// For programs.
    pub(super) fn view(&self) -> ReportView {
        let medians = median(&self.runs);
        ReportView {
            scenario: self.scenario,
            about: self.about,
            time_scale: self.scale,
            workers: self.workers,
            seed: self.seed,
            processors: machine::processors(),
            ok: self.ok(),
            median: values(&medians),
            bounds: judge(self.bounds, &self.runs).iter().map(BoundView::of).collect(),
            runs: self.runs.iter().map(RunView::of).collect(),
        }
    }
}

/// Names of columns; there are at most so many runs.
const RUNS: [&str; 9] = ["RUN 1", "RUN 2", "RUN 3", "RUN 4", "RUN 5", "RUN 6", "RUN 7", "RUN 8", "RUN 9"];

/// The most runs that are asked for at once.
pub(crate) const RUNS_MAX: u32 = RUNS.len() as u32;

impl BoundView {
    fn of(judged: &Judged) -> Self {
        let (at_most, at_least) = match judged.bound {
            Bound::AtMost(_, most) => (Some(most), None),
            Bound::AtLeast(_, least) => (None, Some(least)),
        };
        Self { figure: judged.bound.name(), at_most, at_least, kept: judged.kept() }
    }
}

impl RunView {
    fn of(run: &Figures) -> Self {
        let command = |(name, (calls, time_us)): (&String, &(u64, u64))| {
            (name.clone(), json!({ "calls": calls, "time_us": time_us }))
        };
        Self {
            figures: values(&run.list),
            redis_commands: run.redis_commands.iter().map(command).collect(),
            problems: run.problems.clone(),
        }
    }
}

/// Rounded to six decimals: what is below that is noise.
fn values(figures: &[Figure]) -> Map<String, Value> {
    figures
        .iter()
        .map(|figure| (figure.name.to_string(), json!((figure.value * 1e6).round() / 1e6)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::figures::Unit;
    use super::*;

    fn report(runs: usize) -> Report {
        let run = |number: usize| {
            let mut figures = Figures::default();
            figures.add("makespan_s", "makespan", Unit::ServiceSeconds, 640.0 + number as f64);
            figures.add("slot_use", "slots RUNNING while work waits", Unit::Share, 0.97);
            figures.redis_commands.insert("evalsha".to_owned(), (12, 340));
            figures
        };
        Report {
            scenario: "documented",
            about: "the documented limits",
            scale: 20,
            workers: 4,
            seed: 7,
            bounds: &[Bound::AtLeast("slot_use", 0.95), Bound::AtMost("makespan_s", 600.0)],
            runs: (0..runs).map(run).collect(),
        }
    }

    #[test]
    fn a_table_has_each_run_and_the_median() {
        let text =
            report(3).table().replace(&format!("{} processors", machine::processors()), "N processors");
        insta::assert_snapshot!(text, @r"
        documented: the documented limits
        4 workers, time scale 20 (service time = real time x 20; the rest is real), seed 7, N processors

        FIGURE                           RUN 1   RUN 2   RUN 3  MEDIAN  UNIT
        makespan                        640.00  641.00  642.00  641.00  s service time
        slots RUNNING while work waits    97.0    97.0    97.0    97.0  %
        bound kept: slots RUNNING while work waits 97.0, at least 95.0 %
        bound broken: makespan 641.00, at most 600.00 s service time
        ");
    }

    #[test]
    fn a_problem_is_shown_with_its_run_and_the_report_is_not_ok() {
        let mut report = report(2);
        assert!(!report.ok(), "a bound is broken");
        report.bounds = &[Bound::AtLeast("slot_use", 0.95)];
        assert!(report.ok());
        report.runs[1].problems.push("1 jobs are failed".to_owned());
        assert!(!report.ok());
        assert!(report.table().ends_with("run 2: 1 jobs are failed\n"), "{}", report.table());
    }

    #[test]
    fn json_has_the_medians_the_runs_and_the_commands() {
        let json = serde_json::to_value(report(3).view()).unwrap();
        assert_eq!(json["median"]["makespan_s"], 641.0);
        assert_eq!(json["runs"][2]["figures"]["makespan_s"], 642.0);
        assert_eq!(json["runs"][0]["redis_commands"]["evalsha"]["calls"], 12);
        assert_eq!(json["bounds"][1], json!({ "figure": "makespan_s", "at_most": 600.0, "kept": false }));
        assert_eq!((json["ok"].clone(), json["time_scale"].clone()), (json!(false), json!(20)));
    }
}
