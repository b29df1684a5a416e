//! What the medians of a scenario have to keep. Pure.

use super::figures::{Figure, Figures, median};

/// A bound on one figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    /// The figure of this name is at most so large.
    AtMost(&'static str, f64),
    /// The figure of this name is at least so large.
    AtLeast(&'static str, f64),
}

/// A bound against a figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judged {
    /// The bound.
    pub(super) bound: Bound,
    /// The figure; `None`: a run has none, and so the bound is not kept.
    pub(super) figure: Option<Figure>,
}

impl Bound {
    /// The figure's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::AtMost(name, _) | Self::AtLeast(name, _) => name,
        }
    }
}

/// Holds bounds against the medians of runs. What only some of the runs have measured counts as not measured.
pub(super) fn judge(bounds: &[Bound], runs: &[Figures]) -> Vec<Judged> {
    let medians = median(runs);
    let find = |bound: &Bound| {
        let in_all = runs.iter().all(|run| run.get(bound.name()).is_some());
        medians.iter().find(|figure| in_all && figure.name == bound.name()).cloned()
    };
    bounds.iter().map(|bound| Judged { bound: *bound, figure: find(bound) }).collect()
}

impl Judged {
    /// Whether the bound is kept.
    pub(super) fn kept(&self) -> bool {
        let Some(figure) = &self.figure else { return false };
        match self.bound {
            Bound::AtMost(_, most) => figure.value <= most,
            Bound::AtLeast(_, least) => figure.value >= least,
        }
    }

    /// A line for people.
    pub(super) fn say(&self) -> String {
        let Some(figure) = &self.figure else {
            return format!("bound broken: {} was not measured in every run", self.bound.name());
        };
        let verdict = if self.kept() { "kept" } else { "broken" };
        let (than, limit) = match self.bound {
            Bound::AtMost(_, limit) => ("at most", limit),
            Bound::AtLeast(_, limit) => ("at least", limit),
        };
        let show = |value| figure.unit.show(value);
        format!("bound {verdict}: {} {}, {than} {}", figure.label, show(figure.value), show(limit))
            + &match figure.unit.words() {
                "" => String::new(),
                words => format!(" {words}"),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::Unit;
    use super::*;

    fn run(value: f64) -> Figures {
        let mut run = Figures::default();
        run.add("slot_use", "slots RUNNING", Unit::Share, value);
        run
    }

    #[test]
    fn a_bound_is_kept_up_to_and_with_its_limit() {
        let judge = |bound, value| judge(&[bound], &[run(value)])[0].kept();
        assert!(judge(Bound::AtLeast("slot_use", 0.95), 0.95));
        assert!(!judge(Bound::AtLeast("slot_use", 0.95), 0.949));
        assert!(judge(Bound::AtMost("slot_use", 0.0), 0.0));
        assert!(!judge(Bound::AtMost("slot_use", 0.0), 1.0));
    }

    #[test]
    fn what_was_not_measured_is_not_kept() {
        let judged = judge(&[Bound::AtMost("lag", 1.0)], &[run(0.9)]);
        assert!(!judged[0].kept());
        assert_eq!(judged[0].say(), "bound broken: lag was not measured in every run");
        let judged = judge(&[Bound::AtLeast("slot_use", 0.9)], &[run(0.97), Figures::default(), run(0.98)]);
        assert!(!judged[0].kept(), "one run has no figure");
    }

    #[test]
    fn a_line_has_figure_and_limit() {
        let judged = judge(&[Bound::AtLeast("slot_use", 0.95)], &[run(0.978)]);
        assert_eq!(judged[0].say(), "bound kept: slots RUNNING 97.8, at least 95.0 %");
    }
}
