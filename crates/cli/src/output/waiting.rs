//! What waits for a claim, in `status`: by model, and by the accounts that it waits for.

use job::{Eta, Model, PinnedTo, Timestamp};
use queue::WaitingJobs;
use serde::Serialize;

use super::eta::{EtaView, in_words};
use super::table::{Column, table};
use super::words::{count, span};

/// Jobs of one model that may be claimed. The shape is stable: fields are added, never changed.
#[derive(Debug, Serialize)]
pub(crate) struct WaitingView {
    /// The model.
    pub(crate) model: Model,
    /// How many.
    pub(crate) jobs: u64,
    /// Whether there are more than were counted.
    pub(crate) at_least: bool,
    /// When the one that has waited longest was enqueued.
    pub(crate) oldest_enqueued_at: Option<Timestamp>,
    /// When all of them will be over.
    #[serde(flatten)]
    pub(crate) eta: EtaView,
    /// The same by the accounts that they wait for; those without a job are left out.
    pub(crate) places: Vec<PlaceView>,
}

/// Jobs of one model that wait for the same accounts.
#[derive(Debug, Serialize)]
pub(crate) struct PlaceView {
    /// The account, where they wait for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) account: Option<String>,
    /// The region, where they wait for any account in it. With neither they wait for any account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// How many.
    pub(crate) jobs: u64,
    /// Whether there are more than were counted.
    pub(crate) at_least: bool,
    /// When the one that has waited longest was enqueued.
    pub(crate) oldest_enqueued_at: Option<Timestamp>,
    /// When they will be over.
    #[serde(flatten)]
    pub(crate) eta: EtaView,
    #[serde(skip)]
    eta_in_words: String,
}

impl WaitingView {
    /// All that waits, with the time of each.
    pub(crate) fn of(waiting: &[(WaitingJobs, Eta)], now: Timestamp) -> Vec<Self> {
        let of_model = |model: Model| {
            let places: Vec<_> = waiting.iter().filter(|(of, _)| of.model == model && of.jobs > 0).collect();
            let more = places.iter().any(|(of, _)| of.at_least);
            Some(Self {
                model,
                jobs: places.iter().map(|(of, _)| of.jobs).sum(),
                at_least: more,
                oldest_enqueued_at: places.iter().filter_map(|(of, _)| of.oldest).min(),
                eta: places.iter().map(|(_, eta)| *eta).max()?.into(),
                places: places.iter().map(|(of, eta)| PlaceView::new(of, *eta, more, now)).collect(),
            })
        };
        Model::ALL.into_iter().filter_map(of_model).collect()
    }
}

impl PlaceView {
    /// `more`: of the model more waits than was counted.
    fn new(of: &WaitingJobs, eta: Eta, more: bool, now: Timestamp) -> Self {
        let (account, region) = match &of.pinned_to {
            None => (None, None),
            Some(PinnedTo::Account(account)) => (Some(account.to_string()), None),
            Some(PinnedTo::Region(region)) => (None, Some(region.to_string())),
        };
        let or_later = if more && matches!(eta, Eta::At(_)) { " or later" } else { "" };
        Self {
            account,
            region,
            jobs: of.jobs,
            at_least: of.at_least,
            oldest_enqueued_at: of.oldest,
            eta: eta.into(),
            eta_in_words: in_words(eta, of.pinned_to.as_ref(), now) + or_later,
        }
    }

    fn place(&self) -> String {
        match (&self.account, &self.region) {
            (Some(account), _) => format!("account {account}"),
            (_, Some(region)) => format!("region {region}"),
            (None, None) => "any account".to_owned(),
        }
    }
}

/// The table of what waits, if anything does.
pub(crate) fn list(waiting: &[WaitingView], now: Timestamp) -> Option<String> {
    let columns = [
        Column::Left("WAITING FOR"),
        Column::Left("MODEL"),
        Column::Right("JOBS"),
        Column::Right("OLDEST"),
        Column::Left("ETA"),
    ];
    let row = |of: &WaitingView, place: &PlaceView| {
        let jobs = count(place.jobs);
        let age = |since: Timestamp| span(now.duration_since(since).unsigned_abs());
        vec![
            place.place(),
            of.model.to_string(),
            if place.at_least { format!("at least {jobs}") } else { jobs },
            place.oldest_enqueued_at.map_or_else(String::new, age),
            place.eta_in_words.clone(),
        ]
    };
    let rows: Vec<_> =
        waiting.iter().flat_map(|of| of.places.iter().map(move |place| row(of, place))).collect();
    (!rows.is_empty()).then(|| table(&columns, rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn waiting() -> Vec<WaitingView> {
        let of = |model, pinned_to, jobs, at_least| {
            let oldest = (jobs > 0).then(|| at(100));
            WaitingJobs { model, pinned_to, jobs, at_least, oldest, images_next: None }
        };
        let account = |name: &str| Some(PinnedTo::Account(name.parse().unwrap()));
        let east = Some(PinnedTo::Region("ap-southeast-1".parse().unwrap()));
        let all = [
            (of(Model::Wan27ImagePro, None, 1_200, true), Eta::At(at(5_000))),
            (of(Model::Wan27ImagePro, account("singapore"), 20, false), Eta::At(at(5_000))),
            (of(Model::Wan27ImagePro, account("beijing"), 300, false), Eta::Stopped),
            (of(Model::Wan27Image, None, 0, false), Eta::FewEnds),
            (of(Model::Wan27Image, east, 7, false), Eta::FewEnds),
        ];
        WaitingView::of(&all, at(1_000))
    }

    #[test]
    fn people_see_who_waits_for_what_how_long_and_until_when() {
        insta::assert_snapshot!(list(&waiting(), at(1_000)).unwrap(), @r"
        WAITING FOR            MODEL                       JOBS   OLDEST  ETA
        any account            wan2.7-image-pro  at least 1,200  15m 00s  in 1h 06m or later
        account singapore      wan2.7-image-pro              20  15m 00s  in 1h 06m or later
        account beijing        wan2.7-image-pro             300  15m 00s  never while beijing may not create
        region ap-southeast-1  wan2.7-image                   7  15m 00s  not known: not enough tasks have ended yet
        ");
        assert_eq!(list(&[], at(1_000)), None);
    }

    #[test]
    fn programs_see_the_worst_of_a_model_and_each_of_its_places() {
        let json = serde_json::to_value(waiting()).unwrap();
        assert_eq!((&json[0]["jobs"], &json[0]["at_least"]), (&1_520.into(), &true.into()));
        assert_eq!((json[0].get("eta"), &json[0]["no_eta"]), (None, &"stopped".into()));
        insta::assert_snapshot!(serde_json::to_string_pretty(&json[0]["places"]).unwrap(), @r#"
        [
          {
            "at_least": true,
            "eta": "1970-01-01T01:23:20Z",
            "jobs": 1200,
            "oldest_enqueued_at": "1970-01-01T00:01:40Z"
          },
          {
            "account": "singapore",
            "at_least": false,
            "eta": "1970-01-01T01:23:20Z",
            "jobs": 20,
            "oldest_enqueued_at": "1970-01-01T00:01:40Z"
          },
          {
            "account": "beijing",
            "at_least": false,
            "jobs": 300,
            "no_eta": "stopped",
            "oldest_enqueued_at": "1970-01-01T00:01:40Z"
          }
        ]
        "#);
        assert_eq!(
            (&json[1]["no_eta"], &json[1]["places"][0]["region"]),
            (&"few_ends".into(), &"ap-southeast-1".into())
        );
    }
}
