//! What may be done with a model, figure by figure, and where each comes from.

use queue::{AccountLimits, FigureSource, FigureSources};
use serde::Serialize;

/// The limits of one model, and where each of them comes from.
#[derive(Debug, Serialize)]
pub(crate) struct LimitsView {
    /// Creations per second.
    pub(crate) create_per_second: Figure<f64>,
    /// Tasks that are processed at once.
    pub(crate) in_flight: Figure<u32>,
    /// Tasks kept PENDING behind them.
    pub(crate) queue_ahead: Figure<u32>,
}

/// A limit.
#[derive(Debug, Serialize)]
pub(crate) struct Figure<T> {
    /// The figure.
    pub(crate) value: T,
    /// `settings`, `quotas` (the provider says so) or `documented`.
    pub(crate) source: FigureSource,
}

impl LimitsView {
    /// These.
    pub(crate) fn new(limits: AccountLimits, sources: FigureSources) -> Self {
        Self {
            create_per_second: Figure { value: limits.create_per_second, source: sources.create_per_second },
            in_flight: Figure { value: limits.in_flight, source: sources.in_flight },
            queue_ahead: Figure { value: limits.queue_ahead, source: sources.queue_ahead },
        }
    }

    /// For people.
    pub(crate) fn words(&self) -> String {
        let from = |source: FigureSource| match source {
            FigureSource::Settings => "settings",
            FigureSource::Quotas => "quotas",
            FigureSource::Documented => "documented",
        };
        format!(
            "{} creates/s ({}), {} at once ({}), {} behind them ({})",
            self.create_per_second.value,
            from(self.create_per_second.source),
            self.in_flight.value,
            from(self.in_flight.source),
            self.queue_ahead.value,
            from(self.queue_ahead.source)
        )
    }
}
