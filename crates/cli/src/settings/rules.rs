//! `[retry]`, `[poll]`, `[copy]`, `[prices]`: the numbers that decisions depend on.

use std::sync::Arc;

use job::{Curve, InvalidAmount, ListSchedule, Micros, PollSchedule, Prices, RetryPolicy, Rules};

use super::document::Value;
use super::layers::section;
use super::value::{Rate, Setting, Span, Whole, Wrong, quoted};
use super::work::WorkerSection;

section! {
    /// How often a job is tried again after which failure. Each retry is a new task; failed tasks are free.
    /// Moderation and invalid parameters are never tried again; refusals such as 429 always, without end.
    RetrySection {
        /// After failures of the connection, before anything was sent.
        transport: Whole<0, 100> = Whole(u64::from(RetryPolicy::default().transport));
        /// After faults inside the service.
        service: Whole<0, 100> = Whole(u64::from(RetryPolicy::default().service));
        /// After the service gave up on a task by itself, which takes it up to 3 h.
        service_timeout: Whole<0, 100> = Whole(u64::from(RetryPolicy::default().service_timeout));
        /// After the service could not fetch an input image.
        input_download: Whole<0, 100> = Whole(u64::from(RetryPolicy::default().input_download));
        /// The first wait; later ones grow by `factor` up to `cap`, with jitter.
        first: Span<10> = Span(RetryPolicy::default().curve.first);
        /// What each wait is multiplied by.
        factor: Rate = Rate(RetryPolicy::default().curve.factor);
        /// The longest wait.
        cap: Span<10> = Span(RetryPolicy::default().curve.cap);
    }
}

section! {
    /// An account or a model that will not work until a person acts, or that does not answer: its jobs stay queued, and one create
    /// at a time finds out whether it works again.
    BreakerSection {
        /// The wait before the first such probe; later ones grow by `factor` up to `cap`.
        first: Span<10> = Span(Rules::default().breaker.first);
        /// What each wait is multiplied by.
        factor: Rate = Rate(Rules::default().breaker.factor);
        /// The longest wait.
        cap: Span<10> = Span(Rules::default().breaker.cap);
    }
}

section! {
    /// When a task is asked whether it is done.
    PollSection {
        /// The wait before the first question.
        first: Span<20> = Span(PollSchedule::default().first);
        /// The wait after it; later ones grow by `factor` up to `cap`, with jitter.
        step: Span<20> = Span(PollSchedule::default().curve.first);
        /// What each wait is multiplied by.
        factor: Rate = Rate(PollSchedule::default().curve.factor);
        /// The longest wait.
        cap: Span<20> = Span(PollSchedule::default().curve.cap);
        /// The longest time between two questions while the end of a task is likely, once it was learned how long such tasks take.
        dense: Span<20> = Span(PollSchedule::default().dense);
        /// From so many tasks in flight of one model on, the provider's list is read in place of single questions; 0: never.
        list_from: Whole<0, 1_000_000> = Whole(u64::from(ListSchedule::default().from));
        /// The shortest time between two looks at that list.
        list_every: Span<20> = Span(ListSchedule::default().every);
        /// How much longer the waits are while a task is PENDING.
        pending_factor: Rate = Rate(PollSchedule::default().pending_factor);
        /// From this age on a task is asked every `slow_every` only. It is never given up before the provider does.
        slow_after: Span<1_000> = Span(PollSchedule::default().slow_after);
        /// The wait in that slow lane.
        slow_every: Span<20> = Span(PollSchedule::default().slow_every);
        /// Answers of UNKNOWN in a row, before `task_retention`, after which a person is asked.
        unknowns_max: Whole<1, 100> = Whole(u64::from(Rules::default().unknowns_max));
        /// How long the provider keeps a task and its links.
        task_retention: Span<1_000> = Span(Rules::default().task_retention);
    }
}

section! {
    /// Rounds of copying images into the bucket. They end when the links die, not before.
    CopySection {
        /// The wait after a round that left images uncopied; later ones grow by `factor` up to `cap`.
        first: Span<10> = Span(Rules::default().archive.first);
        /// What each wait is multiplied by.
        factor: Rate = Rate(Rules::default().archive.factor);
        /// The longest wait.
        cap: Span<10> = Span(Rules::default().archive.cap);
    }
}

section! {
    /// What an image costs, for cost figures; flat over sizes. The provider's bill is what counts.
    PricesSection {
        /// The currency.
        currency: String = Prices::default().currency;
        /// One image of wan2.7-image-pro.
        pro("wan2.7-image-pro"): Money = Money(Prices::default().pro);
        /// One image of wan2.7-image.
        standard("wan2.7-image"): Money = Money(Prices::default().standard);
    }
}

/// The rules of all jobs.
pub(crate) fn rules(
    retry: &RetrySection,
    breaker: &BreakerSection,
    poll: &PollSection,
    copy: &CopySection,
    work: &WorkerSection,
) -> Rules {
    Rules {
        retry: RetryPolicy {
            transport: retry.transport.value.tiny(),
            service: retry.service.value.tiny(),
            service_timeout: retry.service_timeout.value.tiny(),
            input_download: retry.input_download.value.tiny(),
            curve: Curve { first: retry.first.value.0, factor: retry.factor.value.0, cap: retry.cap.value.0 },
        },
        poll: PollSchedule {
            first: poll.first.value.0,
            curve: Curve { first: poll.step.value.0, factor: poll.factor.value.0, cap: poll.cap.value.0 },
            dense: poll.dense.value.0,
            pending_factor: poll.pending_factor.value.0,
            slow_after: poll.slow_after.value.0,
            slow_every: poll.slow_every.value.0,
        },
        list: ListSchedule { from: poll.list_from.value.small(), every: poll.list_every.value.0 },
        durations: Arc::default(),
        breaker: Curve {
            first: breaker.first.value.0,
            factor: breaker.factor.value.0,
            cap: breaker.cap.value.0,
        },
        archive: Curve { first: copy.first.value.0, factor: copy.factor.value.0, cap: copy.cap.value.0 },
        create_timeout: work.create_timeout.value.0,
        held_request_timeout: work.held_request_timeout.value.0,
        rescues_max: work.rescues_max.value.tiny(),
        unknowns_max: poll.unknowns_max.value.tiny(),
        task_retention: poll.task_retention.value.0,
    }
}

impl PricesSection {
    /// For cost figures.
    pub(crate) fn prices(&self) -> Prices {
        Prices {
            currency: self.currency.value.clone(),
            pro: self.pro.value.0,
            standard: self.standard.value.0,
        }
    }
}

/// An amount of money, written as decimals in quotes: exact to a millionth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Money(pub(crate) Micros);

impl Setting for Money {
    const WANTED: &'static str = "an amount in quotes, such as \"0.075\"";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let refuse = |why: InvalidAmount| match why {
            InvalidAmount::NoNumber => Wrong::new("no amount", why),
            InvalidAmount::Negative | InvalidAmount::TooMuch | InvalidAmount::TooFine => {
                Wrong::new(format_args!("`{text}`"), why)
            }
        };
        text.parse().map(Self).map_err(refuse)
    }

    fn from_value(value: &Value) -> Result<Self, Wrong> {
        match value {
            Value::Whole(number) => Self::from_text(&number.to_string()),
            // The shortest decimals of the number are what the user wrote.
            Value::Number(number) => Self::from_text(&number.to_string()),
            other => Err(Wrong::new(other.kind(), format_args!("it must be {}", Self::WANTED))),
        }
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.0.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact() {
        let read = |text: &str| Money::from_text(text).map(|money| money.0.0);
        assert_eq!(read("0.075"), Ok(75_000));
        assert_eq!(read("12"), Ok(12_000_000));
        assert_eq!(read("0.000001"), Ok(1));
        for text in ["", ".5", "-1", "0.0000001", "1e3", "0,5", "9999999999"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert_eq!(Money::from_value(&Value::Number(0.2)).unwrap().show().unwrap(), "\"0.20\"");
    }
}
