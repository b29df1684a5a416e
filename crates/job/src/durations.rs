//! How long tasks run, learned from those that ended: counts in steps that grow with the time, one series for each kind of task.
//!
//! Counts can be added to by every worker at once and cost one increment of a field in Redis; any quantile can be read from
//! them. Pure. The queue keeps the counts and halves them now and then, so that what was long ago counts less and less.

use std::collections::BTreeMap;
use std::time::Duration;

use dashscope::Model;

use crate::Shape;

/// The upper end of the first step. Source: ours; nothing that is waited for in the service ends sooner.
const FIRST_STEP_MS: f64 = 10.0;

/// How much longer each step is than the one before: a quantile is off by no more than this share.
///
/// Source: ours; at 20 s a step is one second wide, about the lag that is aimed at.
const STEP_FACTOR: f64 = 1.05;

/// The last step: about 6 h, twice the time after which the provider stops a task.
const STEPS: u16 = 300;

/// With fewer ends than this nothing is said. Source: ours; the least with which a 5 % quantile is not one accident.
const ENDS_MIN: u64 = 12;

/// A kind of task: those that are expected to run alike long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TaskKind {
    /// The model.
    pub model: Model,
    /// What it makes; `None` where that is not known: then all of the model's count.
    pub shape: Option<Shape>,
}

/// How long tasks of each kind ran.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Durations(BTreeMap<(Model, Shape), Series>);

/// Ends by step.
type Series = BTreeMap<u16, u64>;

/// What is likely for tasks of one kind, from the begin of work to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Likely {
    /// One in fifty ends sooner.
    pub earliest: Duration,
    /// The mean.
    pub mean: Duration,
    /// One in fifty ends later.
    pub latest: Duration,
}

/// The step that a time falls into.
fn step_of(time: Duration) -> u16 {
    let ms = time.as_secs_f64() * 1_000.0;
    if ms <= FIRST_STEP_MS {
        return 0;
    }
    let step = ((ms / FIRST_STEP_MS).ln() / STEP_FACTOR.ln()).ceil();
    // At most `STEPS`, so that it fits.
    step.min(f64::from(STEPS)) as u16
}

/// The upper end of a step.
fn end_of(step: u16) -> Duration {
    Duration::from_secs_f64(FIRST_STEP_MS / 1_000.0 * STEP_FACTOR.powi(i32::from(step)))
}

impl Durations {
    /// The name under which one end is counted: `<model>:<shape>:<step>`.
    pub fn field(model: Model, shape: Shape, ran: Duration) -> String {
        format!("{model}:{shape}:{}", step_of(ran))
    }

    /// Reads counts back. Names that this version does not know are passed over.
    pub fn read<'a>(counts: impl IntoIterator<Item = (&'a str, u64)>) -> Self {
        let mut all = Self::default();
        for (field, count) in counts {
            let mut parts = field.split(':');
            let (Some(model), Some(shape), Some(step)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let (Ok(model), Ok(shape), Ok(step)) = (model.parse(), shape.parse(), step.parse()) else {
                continue;
            };
            all.add(model, shape, step, count);
        }
        all
    }

    fn add(&mut self, model: Model, shape: Shape, step: u16, count: u64) {
        *self.0.entry((model, shape)).or_default().entry(step.min(STEPS)).or_default() += count;
    }

    /// One more end.
    pub fn learn(&mut self, model: Model, shape: Shape, ran: Duration) {
        self.add(model, shape, step_of(ran), 1);
    }

    /// What is likely for a kind; `None` while too little is known of it and of its model.
    pub fn likely(&self, kind: TaskKind) -> Option<Likely> {
        let exact = kind.shape.and_then(|shape| self.0.get(&(kind.model, shape)));
        if let Some(likely) = exact.and_then(Likely::of) {
            return Some(likely);
        }
        let mut all = Series::new();
        for (_, series) in self.0.iter().filter(|((model, _), _)| *model == kind.model) {
            for (step, count) in series {
                *all.entry(*step).or_default() += count;
            }
        }
        Likely::of(&all)
    }
}

impl Likely {
    fn of(series: &Series) -> Option<Self> {
        let ends: u64 = series.values().sum();
        if ends < ENDS_MIN {
            return None;
        }
        let mean: f64 = series
            .iter()
            .map(|(step, count)| middle(*step).as_secs_f64() * *count as f64 / ends as f64)
            .sum();
        Some(Self {
            earliest: quantile(series, ends, 0.02),
            mean: Duration::from_secs_f64(mean),
            latest: quantile(series, ends, 0.98),
        })
    }
}

fn start_of(step: u16) -> Duration {
    step.checked_sub(1).map_or(Duration::ZERO, end_of)
}

fn middle(step: u16) -> Duration {
    (start_of(step) + end_of(step)) / 2
}

/// The time below which a share of the ends lies, as if they were spread evenly over their step.
fn quantile(series: &Series, ends: u64, share: f64) -> Duration {
    let wanted = share * ends as f64;
    let mut before = 0.0;
    for (step, count) in series {
        let here = *count as f64;
        if before + here >= wanted {
            let part = if here > 0.0 { (wanted - before) / here } else { 0.0 };
            let (start, end) = (start_of(*step), end_of(*step));
            return start + (end - start).mul_f64(part.clamp(0.0, 1.0));
        }
        before += here;
    }
    series.keys().next_back().map_or(Duration::ZERO, |step| end_of(*step))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODEL: Model = Model::Wan27ImagePro;

    fn shape(text: &str) -> Shape {
        text.parse().unwrap()
    }

    fn learned(seconds: impl Iterator<Item = f64>) -> Durations {
        let mut durations = Durations::default();
        seconds.for_each(|s| durations.learn(MODEL, shape("2k"), Duration::from_secs_f64(s)));
        durations
    }

    fn kind(shape: Option<Shape>) -> TaskKind {
        TaskKind { model: MODEL, shape }
    }

    #[test]
    fn a_few_ends_are_no_knowledge() {
        let few = learned((0..11).map(|_| 20.0));
        assert_eq!(few.likely(kind(Some(shape("2k")))), None);
        let enough = learned((0..12).map(|_| 20.0)).likely(kind(Some(shape("2k")))).unwrap();
        assert!(enough.earliest > Duration::from_secs(19) && enough.latest < Duration::from_secs(21));
    }

    #[test]
    fn a_shape_that_is_not_known_yet_goes_by_its_model_and_never_by_another() {
        let known = learned((0..50).map(|n| 10.0 + f64::from(n) / 5.0));
        assert!(known.likely(kind(Some(shape("4k")))).is_some());
        assert!(known.likely(kind(None)).is_some());
        assert_eq!(known.likely(TaskKind { model: Model::Wan27Image, shape: None }), None);
    }

    #[test]
    fn counts_survive_their_way_through_names() {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for n in 0..200 {
            let ran = Duration::from_millis(8_000 + n * 61);
            *counts.entry(Durations::field(MODEL, shape("1k+"), ran)).or_default() += 1;
        }
        counts.insert("wan9:1k:3".to_owned(), 1_000);
        counts.insert("nonsense".to_owned(), 1_000);
        let read = Durations::read(counts.iter().map(|(field, count)| (field.as_str(), *count)));
        let likely = read.likely(kind(Some(shape("1k+")))).unwrap();
        assert!(likely.earliest >= Duration::from_secs(8) && likely.earliest <= Duration::from_millis(8_700));
        assert!(likely.latest >= Duration::from_secs(19) && likely.latest <= Duration::from_secs(21));
    }

    proptest! {
        #[test]
        fn what_is_likely_lies_within_what_was_seen_to_a_step(times in prop::collection::vec(20u64..5_000_000, 12..300)) {
            let likely = learned(times.iter().map(|ms| *ms as f64 / 1_000.0)).likely(kind(None)).unwrap();
            let (least, most) = (*times.iter().min().unwrap() as f64, *times.iter().max().unwrap() as f64);
            let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
            prop_assert!(ms(likely.earliest) >= least / 1.06 && ms(likely.latest) <= most * 1.06);
            prop_assert!(likely.earliest <= likely.latest);
            let mean = times.iter().sum::<u64>() as f64 / times.len() as f64;
            prop_assert!((ms(likely.mean) / mean - 1.0).abs() < 0.06, "{:?} for {mean}", likely.mean);
        }

        #[test]
        fn every_time_falls_into_the_step_that_ends_at_or_after_it(ms in 0u64..20_000_000) {
            let time = Duration::from_millis(ms);
            let step = step_of(time);
            prop_assert!(start_of(step) <= time + Duration::from_micros(1));
            prop_assert!(step == STEPS || end_of(step) + Duration::from_micros(1) >= time);
        }
    }
}
