//! A run in figures, and the median of several runs. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::spread::Spread;

/// What a figure counts. Times of the service are real times multiplied by the time scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Seconds of the service.
    ServiceSeconds,
    /// Real seconds.
    Seconds,
    /// Real milliseconds.
    Millis,
    /// Real microseconds.
    Micros,
    /// A share, 0 to 1, shown in percent.
    Share,
    /// One thing in relation to another.
    Ratio,
    /// A number of things.
    Count,
    /// A mean number of things.
    Mean,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// What stands behind the figures in a table.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::ServiceSeconds => "s service time",
            Self::Seconds => "s",
            Self::Millis => "ms",
            Self::Micros => "us",
            Self::Share => "%",
            Self::Ratio | Self::Count | Self::Mean => "",
            Self::Bytes => "bytes",
        }
    }

    /// A value as a table shows it.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::ServiceSeconds | Self::Seconds | Self::Mean | Self::Millis => format!("{value:.2}"),
            Self::Micros => format!("{value:.1}"),
            Self::Share => format!("{:.1}", value * 100.0),
            Self::Ratio => format!("{value:.3}"),
            Self::Count | Self::Bytes => crate::output::words::count(value.round().max(0.0) as u64),
        }
    }
}

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    /// Its name in JSON, with its unit.
    pub(super) name: Cow<'static, str>,
    /// What a table calls it.
    pub(super) label: Cow<'static, str>,
    /// Its unit.
    pub(super) unit: Unit,
    /// Its value.
    pub(super) value: f64,
}

/// What came of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Figures {
    /// In the order of a table.
    pub(super) list: Vec<Figure>,
    /// How often Redis ran each command, also inside of scripts, and what that took: calls and microseconds.
    pub(super) redis_commands: BTreeMap<String, (u64, u64)>,
    /// What must not be, such as a job that was lost. None in a run that is well.
    pub(super) problems: Vec<String>,
}

impl Figures {
    /// Adds a figure.
    pub(super) fn add(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        label: impl Into<Cow<'static, str>>,
        unit: Unit,
        value: f64,
    ) {
        self.list.push(Figure { name: name.into(), label: label.into(), unit, value });
    }

    /// Adds a figure that may not be known.
    pub(super) fn add_known(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        label: impl Into<Cow<'static, str>>,
        unit: Unit,
        value: Option<f64>,
    ) {
        if let Some(value) = value {
            self.add(name, label, unit, value);
        }
    }

    /// Adds the percentiles of something.
    pub(super) fn add_spread(&mut self, name: &str, label: &str, suffix: &str, unit: Unit, spread: &Spread) {
        let at = [
            ("p50", spread.at(50.0)),
            ("p95", spread.at(95.0)),
            ("p99", spread.at(99.0)),
            ("max", spread.max()),
        ];
        for (percentile, value) in at {
            self.add_known(
                format!("{name}_{percentile}_{suffix}"),
                format!("{label}, {percentile}"),
                unit,
                value,
            );
        }
    }

    /// A figure's value.
    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.list.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }
}

/// The median of each figure over the runs that have it, in the order of the first run that does.
pub(super) fn median(runs: &[Figures]) -> Vec<Figure> {
    let mut medians: Vec<Figure> = Vec::new();
    for figure in runs.iter().flat_map(|run| &run.list) {
        if medians.iter().any(|known| known.name == figure.name) {
            continue;
        }
        let values: Spread = runs.iter().filter_map(|run| run.get(&figure.name)).collect();
        if let Some(value) = values.median() {
            medians.push(Figure { value, ..figure.clone() });
        }
    }
    medians
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(values: &[(&'static str, f64)]) -> Figures {
        let mut figures = Figures::default();
        for (name, value) in values {
            figures.add(*name, *name, Unit::Mean, *value);
        }
        figures
    }

    #[test]
    fn each_figure_has_its_own_median() {
        let runs = [
            run(&[("a", 1.0), ("b", 9.0)]),
            run(&[("a", 3.0), ("b", 7.0)]),
            run(&[("a", 2.0), ("b", 8.0), ("c", 5.0)]),
        ];
        let medians: Vec<(String, f64)> =
            median(&runs).into_iter().map(|figure| (figure.name.into_owned(), figure.value)).collect();
        assert_eq!(medians, [("a".to_owned(), 2.0), ("b".to_owned(), 8.0), ("c".to_owned(), 5.0)]);
    }

    #[test]
    fn values_are_shown_with_their_unit() {
        assert_eq!(Unit::Share.show(0.9567), "95.7");
        assert_eq!(Unit::Bytes.show(12_345.0), "12,345");
        assert_eq!(Unit::Ratio.show(1.0449), "1.045");
    }
}
