//! How long things take: a fixed time, or a log-normal spread given by two percentiles.
//!
//! Pure: the draw is an argument.

use serde::{Deserialize, Serialize};

use crate::draw::Draw;

/// Standard normal quantile at 95 %; the 5 % one is its negative.
const Z_95: f64 = 1.644_853_626_951_472_2;

/// A distribution of durations in milliseconds.
///
/// In TOML: `{ fixed = { ms = 100 } }` or `{ log_normal = { p5_ms = 12000, p95_ms = 22000 } }`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Latency {
    /// Always the same.
    Fixed {
        /// Milliseconds.
        ms: u64,
    },
    /// Log-normal: one in twenty is shorter than `p5_ms`, one in twenty longer than `p95_ms`.
    LogNormal {
        /// The 5th percentile, in milliseconds.
        p5_ms: u64,
        /// The 95th percentile, in milliseconds; not below `p5_ms`.
        p95_ms: u64,
    },
}

impl Latency {
    /// One duration, in milliseconds, times `scale`.
    pub(crate) fn sample_ms(self, draw: &Draw, scale: f64) -> i64 {
        let ms = match self {
            Self::Fixed { ms } => ms as f64,
            Self::LogNormal { p5_ms, p95_ms } => {
                let (low, high) = ((p5_ms.max(1) as f64).ln(), (p95_ms.max(p5_ms).max(1) as f64).ln());
                let (mean, deviation) = ((low + high) / 2.0, (high - low) / (2.0 * Z_95));
                (mean + deviation * draw.normal()).exp()
            }
        };
        (ms * scale).round() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_nine_in_ten_samples_fall_between_the_two_percentiles() {
        let latency = Latency::LogNormal { p5_ms: 12_000, p95_ms: 22_000 };
        let samples =
            (0..2_000u64).map(|task| latency.sample_ms(&Draw::new(7, "t", &[&task.to_be_bytes()]), 1.0));
        let inside = samples.filter(|ms| (12_000..=22_000).contains(ms)).count();
        assert!((1_740..=1_860).contains(&inside), "{inside} of 2000 were inside");
    }

    #[test]
    fn a_scale_shortens_every_duration_alike() {
        let draw = Draw::new(7, "t", &[]);
        assert_eq!(Latency::Fixed { ms: 4_000 }.sample_ms(&draw, 0.25), 1_000);
    }
}
