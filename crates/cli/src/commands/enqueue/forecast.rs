//! What an input would cost on which accounts, and how long it would take at their limits. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use dashscope::Model;
use job::{CreatingAccount, Eta, Micros, Opens, PinnedTo, Prices, Timestamp, WaitingFor, etas};
use queue::USED_SHARE;
use serde::Serialize;

use crate::input::work::{Share, Work};
use crate::output::batch::Cost;
use crate::output::words::{counted, money, span};
use crate::settings::Account;

/// How long a task of one image runs, while nothing was learned.
///
/// Source: samples of the service's documentation and SDKs, 12 to 21 s for one image at 2K.
const TASK_OF_ONE: Duration = Duration::from_secs(20);

/// How long a task of several images runs, while nothing was learned.
///
/// Source: samples of the service's documentation and SDKs, about 25 s and about 60 s for sets of four.
const TASK_OF_SEVERAL: Duration = Duration::from_secs(45);

/// All of it. The shape is stable: fields are added, never changed.
#[derive(Debug, Serialize)]
pub(super) struct Forecast {
    /// By model and by where jobs may run.
    shares: Vec<ShareView>,
    /// How long it takes, if workers run and nothing else waits; not there where jobs have no account that could make them.
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<u64>,
    /// Whether how long tasks run was learned from this queue; else the documented samples stand in.
    learned: bool,
}

#[derive(Debug, Serialize)]
struct ShareView {
    model: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    jobs: u64,
    images_max: u64,
    cost_max: Cost,
}

impl Forecast {
    /// Of these jobs, for these accounts. `learned` is how long tasks of a model run, where that is known.
    pub(super) fn new(
        work: &Work,
        prices: &Prices,
        accounts: &[Account],
        learned: impl Fn(Model) -> Option<Duration>,
    ) -> Self {
        let shares = &work.shares;
        let view = |((model, pinned_to), share): (&(Model, Option<PinnedTo>), &Share)| {
            let cost = prices.per_image(*model).times(share.images);
            let (account, region) = match pinned_to {
                Some(PinnedTo::Account(account)) => (Some(account.to_string()), None),
                Some(PinnedTo::Region(region)) => (None, Some(region.to_string())),
                None => (None, None),
            };
            let cost_max = Cost::new(cost, &prices.currency);
            ShareView {
                model: model.as_str(),
                account,
                region,
                jobs: share.jobs,
                images_max: share.images,
                cost_max,
            }
        };
        let asked: Vec<Model> =
            Model::ALL.into_iter().filter(|model| shares.keys().any(|(of, _)| of == model)).collect();
        let times = asked.iter().map(|model| time_of(*model, work, accounts, learned(*model)));
        Self {
            shares: shares.iter().map(view).collect(),
            // Models have places of their own: what takes longest is over last.
            seconds: times.collect::<Option<Vec<_>>>().map(|times| times.into_iter().max().unwrap_or(0)),
            learned: asked.iter().all(|model| learned(*model).is_some()),
        }
    }

    /// For people: a line for each kind of place, and the time.
    pub(super) fn render(&self) -> String {
        if self.shares.is_empty() {
            return String::new();
        }
        let mut places: BTreeMap<String, (u64, u64, i64, &str)> = BTreeMap::new();
        for share in &self.shares {
            let place = match (&share.account, &share.region) {
                (Some(account), _) => format!("on account {account}"),
                (None, Some(region)) => format!("in region {region}"),
                (None, None) => "on any account".to_owned(),
            };
            let sum = places.entry(place).or_insert((0, 0, 0, &share.cost_max.currency));
            sum.0 += share.jobs;
            sum.1 += share.images_max;
            sum.2 = sum.2.saturating_add(share.cost_max.micros);
        }
        let mut text = String::new();
        for (place, (jobs, images, micros, currency)) in places {
            let (jobs, images) = (counted(jobs, "job"), counted(images, "image"));
            let cost = money(Micros(micros), currency);
            text.push_str(&format!("  {jobs} {place}: at most {images} for {cost}\n"));
        }
        let source = if self.learned {
            "as tasks of this queue have run"
        } else {
            "with the documented 20 to 45 s a task"
        };
        match self.seconds {
            Some(seconds) => {
                let time = span(Duration::from_secs(seconds));
                text.push_str(&format!(
                    "At the limits of the accounts it takes about {time}, {source}, if nothing else waits.\n"
                ));
            }
            None => text
                .push_str("How long it takes is not known: some jobs have no account that may make them.\n"),
        }
        text
    }
}

/// How many seconds the jobs of a model take.
fn time_of(model: Model, work: &Work, accounts: &[Account], learned: Option<Duration>) -> Option<u64> {
    let mine = || work.shares.iter().filter(|((of, _), _)| *of == model);
    let (jobs, several) =
        mine().fold((0, 0), |(jobs, several), (_, share)| (jobs + share.jobs, several + share.several));
    let typical = TASK_OF_ONE
        .saturating_mul(u32::try_from(jobs - several).unwrap_or(u32::MAX))
        .saturating_add(TASK_OF_SEVERAL.saturating_mul(u32::try_from(several).unwrap_or(u32::MAX)));
    let mean = learned.unwrap_or_else(|| typical.div_f64(jobs.max(1) as f64));
    let creating: Vec<CreatingAccount> = accounts
        .iter()
        .map(|account| {
            let limits = account.limits_of(model);
            CreatingAccount {
                name: account.name().clone(),
                region: account.region(),
                per_second: limits.create_per_second * USED_SHARE,
                at_once: limits.in_flight.into(),
                ahead: 0,
                opens: Opens::Now,
            }
        })
        .collect();
    let waiting: Vec<WaitingFor> = mine()
        .map(|((_, pinned_to), share)| WaitingFor { pinned_to: pinned_to.clone(), jobs: share.jobs })
        .collect();
    let now = Timestamp::UNIX_EPOCH;
    let seconds = |eta| match eta {
        Eta::At(at) => u64::try_from(at.duration_since(now).as_secs()).ok(),
        Eta::FewEnds | Eta::Stopped | Eta::Budget => None,
    };
    etas(now, Some(mean), &creating, &waiting)
        .into_iter()
        .map(seconds)
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Settings, Sources};

    fn accounts(at_once: u32) -> Settings {
        let environment = [
            ("DASHSCOPE_API_KEY", "k".to_owned()),
            ("IMAGEMILL_IN_FLIGHT", at_once.to_string()),
            ("IMAGEMILL_CREATE_PER_SECOND", "100".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        Settings::load(&Sources { environment: environment.into(), ..Sources::default() }).unwrap()
    }

    fn work() -> Work {
        let on = |name: &str| Some(PinnedTo::Account(name.parse().unwrap()));
        let shares = BTreeMap::from([
            ((Model::Wan27Image, None), Share { jobs: 90, images: 90, ..Share::default() }),
            ((Model::Wan27ImagePro, None), Share { jobs: 10, images: 40, several: 10, ..Share::default() }),
            ((Model::Wan27Image, on("default")), Share { jobs: 10, images: 10, ..Share::default() }),
        ]);
        Work { shares, ..Work::default() }
    }

    fn forecast(settings: &Settings, learned: Option<u64>) -> Forecast {
        let learned = |_| learned.map(Duration::from_secs);
        Forecast::new(&work(), &Prices::default(), settings.accounts(), learned)
    }

    #[test]
    fn people_and_programs_see_where_it_is_made_what_it_costs_and_how_long_it_takes() {
        let settings = accounts(10);
        insta::assert_snapshot!(forecast(&settings, None).render(), @r"
          10 jobs on account default: at most 10 images for 0.30 USD
          100 jobs on any account: at most 130 images for 5.70 USD
        At the limits of the accounts it takes about 3m 40s, with the documented 20 to 45 s a task, if nothing else waits.
        ");
        insta::assert_snapshot!(serde_json::to_string(&forecast(&settings, Some(10))).unwrap(), @r#"{"shares":[{"model":"wan2.7-image-pro","jobs":10,"images_max":40,"cost_max":{"amount":3.0,"micros":3000000,"currency":"USD"}},{"model":"wan2.7-image","jobs":90,"images_max":90,"cost_max":{"amount":2.7,"micros":2700000,"currency":"USD"}},{"model":"wan2.7-image","account":"default","jobs":10,"images_max":10,"cost_max":{"amount":0.3,"micros":300000,"currency":"USD"}}],"seconds":110,"learned":true}"#);
    }

    #[test]
    fn twice_the_places_take_half_the_time_and_no_account_takes_for_ever() {
        // 100 tasks of 20 s, ten at once, and the last of them.
        assert_eq!(forecast(&accounts(10), None).seconds, Some(220));
        assert_eq!(forecast(&accounts(20), None).seconds, Some(120));
        let mut work = work();
        let gone = Some(PinnedTo::Account("gone".parse().unwrap()));
        work.shares.insert((Model::Wan27Image, gone), Share { jobs: 1, images: 1, ..Share::default() });
        let settings = accounts(10);
        let forecast = Forecast::new(&work, &Prices::default(), settings.accounts(), |_| None);
        assert_eq!(forecast.seconds, None);
    }

    #[test]
    fn nothing_to_make_takes_no_time_and_no_words() {
        let settings = accounts(10);
        let forecast = Forecast::new(&Work::default(), &Prices::default(), settings.accounts(), |_| None);
        assert_eq!((forecast.render().as_str(), forecast.seconds), ("", Some(0)));
    }
}
