//! What a trial measured, and which of its bounds were broken.

use std::fmt;

use anyhow::bail;

/// Figures in the order of their making, and the bounds that did not hold.
#[derive(Debug, Clone, Default)]
pub struct Report {
    rows: Vec<(String, String)>,
    broken: Vec<String>,
}

impl Report {
    /// Adds a figure.
    pub fn say(&mut self, what: impl Into<String>, figure: impl fmt::Display) {
        self.rows.push((what.into(), figure.to_string()));
    }

    /// Adds a bound: broken, unless it holds.
    pub fn bound(&mut self, holds: bool, what: impl Into<String>) {
        if !holds {
            self.broken.push(what.into());
        }
    }

    /// The bounds that did not hold.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    /// An error, if a bound did not hold.
    pub fn verdict(&self) -> anyhow::Result<()> {
        if !self.broken.is_empty() {
            bail!("broken: {}", self.broken.join("; "));
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        for (what, figure) in &self.rows {
            writeln!(f, "{what:<width$}  {figure}")?;
        }
        self.broken.iter().try_for_each(|broken| writeln!(f, "BROKEN: {broken}"))
    }
}

/// The value below which this share of the values lies; `None` of nothing.
pub fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = (last as f64 * share.clamp(0.0, 1.0)).ceil() as usize;
    values.get(at).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_values_and_errs_to_the_greater() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut values, 0.5), Some(51.0));
        assert_eq!(quantile(&mut values, 0.99), Some(100.0));
        assert_eq!(quantile(&mut [], 0.5), None);
    }

    #[test]
    fn one_broken_bound_is_an_error_that_names_it() {
        let mut report = Report::default();
        report.bound(true, "not this");
        assert!(report.verdict().is_ok());
        report.bound(false, "3 jobs lost");
        assert_eq!(report.verdict().unwrap_err().to_string(), "broken: 3 jobs lost");
    }
}
