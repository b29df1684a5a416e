//! When what waits will be over. Pure.
//!
//! Owns the estimate: what the accounts can get through, and how much waits for which of them. It decides nothing, and takes for granted
//! that workers run. It does not know what a retry, a `not_before` or a stop for the day's images will cost, nor
//! what may be spent: whoever asks says [`Eta::Budget`] where that is too little. Driven by `status`,
//! `batch show` and `watch`.

use std::time::Duration;

use crate::{AccountName, PinnedTo, RegionName, Timestamp};

/// Later than this is as good as never, and must not overflow a time. Source: ours; a century.
const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);

/// With fewer ends than this no pace is read from them. Source: ours; two or three may be one poll that found them together.
const ENDS_MIN: usize = 5;

/// Since when, or from when on, an account may create tasks of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opens {
    /// It may.
    Now,
    /// It may from then on.
    At(Timestamp),
    /// It may once a probe succeeds, or a person lets it.
    Unknown,
}

/// What one account can do for a model.
#[derive(Debug, Clone, PartialEq)]
pub struct CreatingAccount {
    /// Its name.
    pub name: AccountName,
    /// The region that it stands in.
    pub region: Option<RegionName>,
    /// Tasks that are created per second, at most.
    pub per_second: f64,
    /// Tasks that are processed at once, at most.
    pub at_once: u64,
    /// Tasks that it has beyond these: they wait at the provider, and come first.
    pub ahead: u64,
    /// Whether it may create.
    pub opens: Opens,
}

/// Jobs of a model that wait for the same accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingFor {
    /// The account or region; `None`: any account will do.
    pub pinned_to: Option<PinnedTo>,
    /// How many.
    pub jobs: u64,
}

/// When jobs will be over; the greater, the worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Eta {
    /// Then, if nothing else comes.
    At(Timestamp),
    /// Nobody knows how long such tasks run: not enough have ended yet.
    FewEnds,
    /// A budget has no room for all of them.
    Budget,
    /// Not while none of the accounts that they wait for can create.
    Stopped,
}

/// Whether an account may take what waits there.
fn fits(pinned_to: Option<&PinnedTo>, account: &CreatingAccount) -> bool {
    pinned_to.is_none_or(|only| only.allows(&account.name, account.region.as_ref()))
}

impl CreatingAccount {
    /// Tasks per second, and from when on; `None` while nothing can be said.
    fn speed(&self, mean: Duration, now: Timestamp) -> Option<(f64, f64)> {
        let from = match self.opens {
            Opens::Now => 0.0,
            Opens::At(at) => at.duration_since(now).as_secs_f64().max(0.0),
            Opens::Unknown => return None,
        };
        Some((self.per_second.min(self.at_once as f64 / mean.as_secs_f64()), from))
    }

    /// Whether it will create something, as far as is known.
    fn is_open(&self) -> bool {
        self.opens != Opens::Unknown && self.at_once > 0 && self.per_second > 0.0
    }
}

/// When accounts with these rates, each from its time on, have got through so many jobs; `None`: never.
fn time_for(mut speeds: Vec<(f64, f64)>, jobs: f64) -> Option<f64> {
    speeds.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (mut left, mut at, mut rate) = (jobs, 0.0, 0.0);
    for (more, from) in speeds {
        if rate > 0.0 && left <= rate * (from - at) {
            break;
        }
        left -= rate * (from - at);
        (at, rate) = (from, rate + more);
    }
    (rate > 0.0).then(|| at + left.max(0.0) / rate)
}

/// When the jobs of one model will be over: for each of `waiting`, in its order. `mean` is how long a task runs, where that is known.
///
/// Jobs that some account can take are over together: with the last of the groups, an account's, a region's, everybody's, by what waits
/// for its accounts alone and what they can do. No order of claims can be sooner, and theirs, which leaves no account idle, is not
/// much later. Jobs whose accounts all stand still put nobody off.
pub fn etas(
    now: Timestamp,
    mean: Option<Duration>,
    accounts: &[CreatingAccount],
    waiting: &[WaitingFor],
) -> Vec<Eta> {
    let fitting = |pinned_to: &Option<PinnedTo>| {
        let pinned_to = pinned_to.clone();
        accounts.iter().filter(move |account| fits(pinned_to.as_ref(), account))
    };
    let moves = |of: &WaitingFor| fitting(&of.pinned_to).any(CreatingAccount::is_open);
    let over = |mean: Duration| {
        let time_of = |group: &WaitingFor| {
            let open: Vec<_> = fitting(&group.pinned_to).filter(|account| account.is_open()).collect();
            let inside = |other: &&WaitingFor| {
                moves(other)
                    && fitting(&other.pinned_to).all(|account| fits(group.pinned_to.as_ref(), account))
            };
            let jobs: f64 = waiting.iter().filter(inside).map(|other| other.jobs as f64).sum();
            let ahead: f64 = open.iter().map(|account| account.ahead as f64).sum();
            let speeds = open.iter().filter_map(|account| account.speed(mean, now));
            // What is at the provider already waits for no pause.
            let speeds = speeds.map(|(rate, from)| (rate, if jobs > 0.0 { from } else { 0.0 })).collect();
            time_for(speeds, jobs + ahead)
        };
        let last = waiting.iter().filter(|of| moves(of)).filter_map(time_of).fold(0.0, f64::max);
        let span = Duration::try_from_secs_f64(last).unwrap_or(FAR).saturating_add(mean).min(FAR);
        now.saturating_add(span).unwrap_or(Timestamp::MAX)
    };
    let over = mean.map(over);
    let eta = |of: &WaitingFor| match (moves(of), over) {
        (false, _) => Eta::Stopped,
        (true, None) => Eta::FewEnds,
        (true, Some(at)) => Eta::At(at),
    };
    waiting.iter().map(eta).collect()
}

/// When `left` more jobs will be over, if they go on ending as those did that ended at `ends`; `None` with too few of these.
pub fn eta_by_ends(now: Timestamp, ends: &[Timestamp], left: u64) -> Option<Timestamp> {
    let first = ends.iter().min()?;
    // The first end begins the time, and counts no more.
    let counted = ends.len().saturating_sub(1);
    let over = now.duration_since(*first).as_secs_f64();
    if ends.len() < ENDS_MIN || over <= 0.0 {
        return None;
    }
    let span = Duration::try_from_secs_f64(over * left as f64 / counted as f64).unwrap_or(FAR).min(FAR);
    now.checked_add(span).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
    const MEAN: Duration = Duration::from_secs(20);

    fn account(name: &str, at_once: u64) -> CreatingAccount {
        let region = Some(RegionName::parse("east").unwrap());
        let name = AccountName::parse(name).unwrap();
        CreatingAccount { name, region, per_second: 4.75, at_once, ahead: 0, opens: Opens::Now }
    }

    fn any(jobs: u64) -> WaitingFor {
        WaitingFor { pinned_to: None, jobs }
    }

    fn on(name: &str, jobs: u64) -> WaitingFor {
        WaitingFor { pinned_to: Some(PinnedTo::Account(AccountName::parse(name).unwrap())), jobs }
    }

    fn seconds(eta: Eta) -> f64 {
        match eta {
            Eta::At(at) => at.duration_since(NOW).as_secs_f64(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn places_hold_tasks_back_that_run_long_and_the_create_rate_those_that_do_not() {
        // 5 at once for 20 s each are one in 4 s; the last of them runs for 20 s.
        assert_eq!(seconds(etas(NOW, Some(MEAN), &[account("a", 5)], &[any(100)])[0]), 420.0);
        let short = Some(Duration::from_millis(500));
        assert_eq!(seconds(etas(NOW, short, &[account("a", 5)], &[any(475)])[0]), 100.5);
        // What waits at the provider already comes first.
        let ahead = CreatingAccount { ahead: 5, ..account("a", 5) };
        assert_eq!(seconds(etas(NOW, Some(MEAN), &[ahead], &[any(100)])[0]), 440.0);
    }

    #[test]
    fn a_pause_with_an_end_delays_and_one_without_stops_those_alone_that_wait_for_it() {
        let paused = CreatingAccount { opens: Opens::At(NOW + Duration::from_secs(100)), ..account("a", 5) };
        assert_eq!(seconds(etas(NOW, Some(MEAN), std::slice::from_ref(&paused), &[any(25)])[0]), 220.0);
        // The other does 25 in that time, and then both together.
        assert_eq!(seconds(etas(NOW, Some(MEAN), &[paused, account("b", 5)], &[any(125)])[0]), 320.0);
        let stopped = CreatingAccount { opens: Opens::Unknown, ..account("a", 5) };
        assert_eq!(etas(NOW, Some(MEAN), std::slice::from_ref(&stopped), &[any(1)]), [Eta::Stopped]);
        let both =
            etas(NOW, Some(MEAN), &[stopped, account("b", 5)], &[on("a", 1_000), any(100), on("b", 0)]);
        assert_eq!((both[0], seconds(both[1]), both[1]), (Eta::Stopped, 420.0, both[2]));
        assert_eq!(etas(NOW, Some(MEAN), &[account("a", 5)], &[on("gone", 1)]), [Eta::Stopped]);
    }

    #[test]
    fn nothing_is_foretold_before_enough_tasks_have_ended() {
        assert_eq!(etas(NOW, None, &[account("a", 5)], &[any(1)]), [Eta::FewEnds]);
    }

    #[test]
    fn what_would_take_longer_than_times_can_say_is_far_and_no_fault() {
        let slow = CreatingAccount { per_second: 1e-9, ..account("a", 1) };
        assert_eq!(
            seconds(etas(NOW, Some(MEAN), &[slow], &[any(u64::MAX), any(u64::MAX)])[0]),
            FAR.as_secs_f64()
        );
    }

    #[test]
    fn a_pace_is_that_since_the_first_end_up_to_now() {
        let ends: Vec<_> = (0..5).map(|n| NOW - Duration::from_secs(10 + 10 * n)).collect();
        // Four more since 50 s ago.
        assert_eq!(eta_by_ends(NOW, &ends, 8), Some(NOW + Duration::from_secs(100)));
        assert_eq!(eta_by_ends(NOW, &ends[1..], 8), None);
        assert_eq!(eta_by_ends(NOW, &[], 8), None);
        assert_eq!(eta_by_ends(NOW, &ends, u64::MAX), Some(NOW + FAR));
    }

    fn accounts() -> impl Strategy<Value = Vec<CreatingAccount>> {
        let opens = prop_oneof![
            4 => Just(Opens::Now),
            2 => (1u64..500).prop_map(|s| Opens::At(NOW + Duration::from_secs(s))),
            1 => Just(Opens::Unknown),
        ];
        let one = (0u64..8, 0.1f64..5.0, 0u8..2, opens);
        prop::collection::vec(one, 1..5).prop_map(|all| {
            let account = |(at, (at_once, per_second, region, opens)): (usize, (u64, f64, u8, Opens))| {
                let region = Some(RegionName::parse(&format!("r{region}")).unwrap());
                let name = AccountName::parse(&format!("a{at}")).unwrap();
                CreatingAccount { name, region, per_second, at_once, ahead: 0, opens }
            };
            all.into_iter().enumerate().map(account).collect()
        })
    }

    fn waiting() -> impl Strategy<Value = Vec<WaitingFor>> {
        let account = |at: usize| PinnedTo::Account(AccountName::parse(&format!("a{at}")).unwrap());
        let region = |at: usize| PinnedTo::Region(RegionName::parse(&format!("r{at}")).unwrap());
        prop::collection::vec(prop_oneof![Just(0), 0u64..5, 0u64..200], 8).prop_map(move |jobs| {
            let places = [None, Some(region(0)), Some(region(1)), Some(region(2))];
            let places = places.into_iter().chain((0..4).map(|at| Some(account(at))));
            places.zip(jobs).map(|(pinned_to, jobs)| WaitingFor { pinned_to, jobs }).collect()
        })
    }

    /// Whether all that can move can be begun within so many seconds, by an allocation: each takes from its accounts what is left of them,
    /// those with the fewest accounts first.
    fn fits_within(seconds: f64, accounts: &[CreatingAccount], waiting: &[WaitingFor]) -> bool {
        let mut left: Vec<f64> = accounts
            .iter()
            .map(|account| {
                let (rate, from) = account.speed(MEAN, NOW).unwrap_or((0.0, 0.0));
                if account.is_open() { rate * (seconds - from).max(0.0) } else { 0.0 }
            })
            .collect();
        let by_width = |wanted: u8| {
            waiting.iter().filter(move |of| match of.pinned_to {
                Some(PinnedTo::Account(_)) => wanted == 0,
                Some(PinnedTo::Region(_)) => wanted == 1,
                None => wanted == 2,
            })
        };
        for of in (0..3).flat_map(by_width) {
            let may = |at: &usize| fits(of.pinned_to.as_ref(), &accounts[*at]);
            if !(0..accounts.len()).filter(may).any(|at| accounts[at].is_open()) {
                continue;
            }
            let mut jobs = of.jobs as f64;
            for at in (0..accounts.len()).filter(may) {
                let taken = jobs.min(left[at]);
                (jobs, left[at]) = (jobs - taken, left[at] - taken);
            }
            if jobs > 1e-6 {
                return false;
            }
        }
        true
    }

    fn latest(etas: &[Eta]) -> Option<Timestamp> {
        etas.iter().filter_map(|eta| if let Eta::At(at) = eta { Some(*at) } else { None }).max()
    }

    proptest! {
        #[test]
        fn it_is_the_soonest_time_by_which_everything_fits((accounts, waiting) in (accounts(), waiting())) {
            let found = etas(NOW, Some(MEAN), &accounts, &waiting);
            let Some(at) = latest(&found) else { return Ok(()) };
            let begun = at.duration_since(NOW).as_secs_f64() - MEAN.as_secs_f64();
            prop_assert!(fits_within(begun + 1e-3, &accounts, &waiting), "too soon: {begun}");
            if begun > 1e-2 {
                prop_assert!(!fits_within(begun * 0.999 - 1e-3, &accounts, &waiting), "too late: {begun}");
            }
        }

        #[test]
        fn more_jobs_end_no_sooner_and_one_more_account_no_later((accounts, waiting) in (accounts(), waiting()), at in 0usize..8, more in 1u64..100) {
            let before = latest(&etas(NOW, Some(MEAN), &accounts, &waiting));
            let mut longer = waiting.clone();
            longer[at].jobs += more;
            prop_assert!(latest(&etas(NOW, Some(MEAN), &accounts, &longer)) >= before);
            let helped = [&accounts[..], &[account("helper", 3)]].concat();
            if let (Some(with), Some(without)) = (latest(&etas(NOW, Some(MEAN), &helped, &waiting)), before) {
                // What had nobody may have somebody now; else nothing is put off.
                let moved = |accounts: &[CreatingAccount]| etas(NOW, None, accounts, &waiting).iter().filter(|eta| **eta != Eta::Stopped).count();
                prop_assert!(with <= without || moved(&helped) > moved(&accounts));
            }
        }

        #[test]
        fn an_account_that_stands_still_is_none((mut accounts, waiting) in (accounts(), waiting())) {
            accounts[0].opens = Opens::Unknown;
            prop_assert_eq!(etas(NOW, Some(MEAN), &accounts[1..], &waiting), etas(NOW, Some(MEAN), &accounts, &waiting));
        }
    }
}
