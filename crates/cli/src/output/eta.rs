//! When something will be over, as scripts and people see it.

use std::time::Duration;

use job::{Eta, PinnedTo, Timestamp};
use serde::Serialize;

use super::words::{counted, relative, span};

/// A time, or why there is none. The shape is stable: fields are added, never changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct EtaView {
    /// When it will be over, if workers run and nothing else comes. Not there where nobody can say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) eta: Option<Timestamp>,
    /// `few_ends`: not enough tasks have ended to know how long they run; `budget`: a budget has no room for all of it; `stopped`: no account that they wait for may create tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) no_eta: Option<&'static str>,
}

impl From<Eta> for EtaView {
    fn from(eta: Eta) -> Self {
        match eta {
            Eta::At(at) => Self { eta: Some(to_the_second(at)), no_eta: None },
            Eta::FewEnds => Self { eta: None, no_eta: Some("few_ends") },
            Eta::Budget => Self { eta: None, no_eta: Some("budget") },
            Eta::Stopped => Self { eta: None, no_eta: Some("stopped") },
        }
    }
}

/// An estimate has no milliseconds.
fn to_the_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// When jobs that wait for these accounts will be over, in words.
pub(crate) fn in_words(eta: Eta, pinned_to: Option<&PinnedTo>, now: Timestamp) -> String {
    match (eta, pinned_to) {
        (Eta::At(at), _) => relative(at, now),
        (Eta::FewEnds, _) => "not known: not enough tasks have ended yet".to_owned(),
        (Eta::Budget, _) => "not known: a budget has no room for all of it".to_owned(),
        (Eta::Stopped, None) => "never while no account may create".to_owned(),
        (Eta::Stopped, Some(PinnedTo::Account(account))) => format!("never while {account} may not create"),
        (Eta::Stopped, Some(PinnedTo::Region(region))) => {
            format!("never while none of {region} may create")
        }
    }
}

/// When a batch, or everything, will be over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BatchEta {
    /// Then, if its jobs go on ending as they did in the last minutes.
    AtPace(Timestamp),
    /// Then at the latest, if nothing else comes: with everything that waits for the same accounts.
    AtTheLatest {
        /// The time.
        at: Timestamp,
        /// Jobs that wait for their time, and are not in it.
        delayed: u64,
    },
    /// Nobody can say, for what waits for these accounts.
    Unknown(Eta, Option<PinnedTo>),
}

impl BatchEta {
    /// From the estimate for all that waits for these accounts, beside `delayed` jobs that wait for their time.
    pub(crate) fn of(eta: Eta, pinned_to: Option<PinnedTo>, delayed: u64) -> Self {
        match eta {
            Eta::At(at) => Self::AtTheLatest { at, delayed },
            Eta::FewEnds | Eta::Budget | Eta::Stopped => Self::Unknown(eta, pinned_to),
        }
    }

    /// The time, where there is one.
    pub(crate) fn at(&self) -> Option<Timestamp> {
        match self {
            Self::AtPace(at) | Self::AtTheLatest { at, .. } => Some(to_the_second(*at)),
            Self::Unknown(..) => None,
        }
    }

    /// For people.
    pub(crate) fn render(&self, now: Timestamp) -> String {
        match self {
            Self::AtPace(at) => format!("{}, at the pace of the last minutes", relative(*at, now)),
            Self::AtTheLatest { at, delayed: 0 } => {
                format!("{} at the latest, with all that waits for the same accounts", relative(*at, now))
            }
            Self::AtTheLatest { at, delayed } => {
                format!("{}, without {} waiting for their time", relative(*at, now), counted(*delayed, "job"))
            }
            Self::Unknown(eta, pinned_to) => in_words(*eta, pinned_to.as_ref(), now),
        }
    }

    /// For a line of progress: how much time is left. `None` where only time will tell.
    pub(crate) fn left(&self, now: Timestamp) -> Option<String> {
        let until = |at: Timestamp| span(Duration::try_from(at.duration_since(now)).unwrap_or_default());
        match self {
            Self::AtPace(at) => Some(format!("{} left", until(*at))),
            Self::AtTheLatest { at, delayed: 0 } => Some(format!("at most {} left", until(*at))),
            Self::AtTheLatest { .. } => None,
            Self::Unknown(Eta::Budget, _) => Some("a budget has no room for all of it".to_owned()),
            Self::Unknown(Eta::Stopped, pinned_to) => Some(in_words(Eta::Stopped, pinned_to.as_ref(), now)),
            Self::Unknown(..) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_stands_still_says_whose_pause_or_breaker_it_is() {
        let account = PinnedTo::Account("beijing".parse().unwrap());
        let region = PinnedTo::Region("ap-southeast-1".parse().unwrap());
        let said = [None, Some(&account), Some(&region)].map(|of| in_words(Eta::Stopped, of, at(0)));
        assert_eq!(
            said,
            [
                "never while no account may create",
                "never while beijing may not create",
                "never while none of ap-southeast-1 may create"
            ]
        );
    }

    #[test]
    fn a_line_of_progress_tells_what_is_left_by_what_is_known() {
        let left = |eta: BatchEta| eta.left(at(40));
        assert_eq!(left(BatchEta::AtPace(at(100))).as_deref(), Some("1m 00s left"));
        assert_eq!(left(BatchEta::of(Eta::At(at(100)), None, 0)).as_deref(), Some("at most 1m 00s left"));
        assert_eq!(left(BatchEta::of(Eta::FewEnds, None, 0)), None);
        assert_eq!(
            left(BatchEta::of(Eta::Stopped, None, 0)).as_deref(),
            Some("never while no account may create")
        );
        assert_eq!(
            left(BatchEta::of(Eta::Budget, None, 0)).as_deref(),
            Some("a budget has no room for all of it")
        );
        // Nobody knows of these: a bound would be none.
        assert_eq!(left(BatchEta::of(Eta::At(at(100)), None, 3)), None);
        // The time has come, and the jobs are late.
        assert_eq!(left(BatchEta::AtPace(at(10))).as_deref(), Some("0s left"));
    }

    #[test]
    fn times_for_programs_are_whole_seconds() {
        let exact = at(100) + Duration::from_millis(700);
        assert_eq!(EtaView::from(Eta::At(exact)).eta, Some(at(100)));
        assert_eq!(BatchEta::AtPace(exact).at(), Some(at(100)));
    }
}
