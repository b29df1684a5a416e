//! What the provider itself says of an account's limits, and which figures follow from that.
//!
//! Settings win over quotas, quotas over what is documented. One worker asks for all of them now and then; what it was told stands in
//! the account's hash, so that every worker and `status` go by the same figures.

use std::collections::BTreeMap;
use std::time::Duration;

use job::{AccountName, Model, Timestamp};
use serde::{Deserialize, Serialize};

use crate::Queue;
use crate::error::QueueError;
use crate::limits::AccountLimits;

/// The field of the account's hash.
pub(crate) const FIELD: &str = "quotas";

/// What the provider says of one model. A figure that it does not name is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Quota {
    /// Creations per second.
    pub create_per_second: Option<f64>,
    /// Tasks that are processed at once.
    pub in_flight: Option<u32>,
    /// Tasks that may be PENDING behind them.
    pub pending: Option<u32>,
}

/// What the provider says of an account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quotas {
    /// When it was asked.
    pub at: Timestamp,
    /// Where it was asked: another address may be another account.
    pub base_url: String,
    /// What it said. Nothing, where it does not answer such questions.
    pub models: BTreeMap<Model, Quota>,
}

impl Quotas {
    /// What it says of a model, if that was asked at this address.
    #[must_use]
    pub fn of(&self, base_url: &str, model: Model) -> Option<&Quota> {
        self.models.get(&model).filter(|_| self.base_url == base_url)
    }
}

/// Which figures of a model the settings name. What the provider says of these is not looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetFigures {
    /// Creations per second.
    pub create_per_second: bool,
    /// Tasks that are processed at once.
    pub in_flight: bool,
    /// Tasks kept PENDING behind them.
    pub queue_ahead: bool,
}

impl SetFigures {
    /// Whether that is all of them.
    #[must_use]
    pub fn all(self) -> bool {
        self.create_per_second && self.in_flight && self.queue_ahead
    }
}

/// Where a figure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FigureSource {
    /// The settings name it.
    Settings,
    /// The provider says so.
    Quotas,
    /// It is what the provider documents for everybody.
    Documented,
}

/// Where the figures of a model come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FigureSources {
    /// Creations per second.
    pub create_per_second: FigureSource,
    /// Tasks that are processed at once.
    pub in_flight: FigureSource,
    /// Tasks kept PENDING behind them.
    pub queue_ahead: FigureSource,
}

impl AccountLimits {
    /// The same, as the settings and the documents have them, with what the provider says where the settings name nothing.
    #[must_use]
    pub fn under(self, set: SetFigures, quota: Option<&Quota>) -> (Self, FigureSources) {
        let quota = quota.copied().unwrap_or_default();
        let unsaid = |set: bool| if set { FigureSource::Settings } else { FigureSource::Documented };
        let mut sources = FigureSources {
            create_per_second: unsaid(set.create_per_second),
            in_flight: unsaid(set.in_flight),
            queue_ahead: unsaid(set.queue_ahead),
        };
        let mut limits = self;
        if let Some(create_per_second) = quota.create_per_second.filter(|_| !set.create_per_second) {
            (limits.create_per_second, sources.create_per_second) = (create_per_second, FigureSource::Quotas);
        }
        if let Some(in_flight) = quota.in_flight.filter(|_| !set.in_flight) {
            (limits.in_flight, sources.in_flight) = (in_flight, FigureSource::Quotas);
        }
        // How many are kept there is ours to choose, within what the provider lets wait.
        let fewer = |pending: &u32| !set.queue_ahead && *pending < self.queue_ahead;
        if let Some(pending) = quota.pending.filter(fewer) {
            (limits.queue_ahead, sources.queue_ahead) = (pending, FigureSource::Quotas);
        }
        (limits, sources)
    }
}

impl Queue {
    /// Whether it is this worker's turn to ask for an account's quotas: for `hold` it is nobody else's.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn take_quotas_turn(&self, account: &AccountName, hold: Duration) -> Result<bool, QueueError> {
        let mut command = redis::cmd("SET");
        command.arg(self.keys().quotas_turn(account)).arg(self.nonce());
        command.arg("NX").arg("PX").arg(ms(hold));
        let set: Option<String> = self.link().query(&command).await?;
        Ok(set.is_some())
    }

    /// Stores what the provider said. It need not be asked again for `fresh`.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn store_quotas(
        &self,
        account: &AccountName,
        quotas: &Quotas,
        fresh: Duration,
    ) -> Result<(), QueueError> {
        let json = serde_json::to_string(quotas).expect("quotas are plain data and always serialize");
        let keys = self.keys();
        let mut pipeline = redis::pipe();
        pipeline
            .hset(keys.account(account), FIELD, json)
            .ignore()
            .cmd("SET")
            .arg(keys.quotas_turn(account))
            .arg(self.nonce())
            .arg("PX")
            .arg(ms(fresh))
            .ignore();
        self.link().pipeline(&pipeline).await
    }

    /// What the provider said last.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn quotas(&self, account: &AccountName) -> Result<Option<Quotas>, QueueError> {
        let mut command = redis::cmd("HGET");
        command.arg(self.keys().account(account)).arg(FIELD);
        let text: Option<String> = self.link().query(&command).await?;
        Ok(text.and_then(|text| read(&text)))
    }
}

/// What another version wrote may not be readable: then it counts as unsaid.
pub(crate) fn read(text: &str) -> Option<Quotas> {
    let read = serde_json::from_str(text);
    read.inspect_err(|error| tracing::warn!("The provider's quotas cannot be read: {error}")).ok()
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUOTA: Quota = Quota { create_per_second: Some(2.0), in_flight: Some(20), pending: Some(3) };

    #[test]
    fn the_provider_s_figures_stand_where_the_settings_name_none() {
        let (limits, sources) = AccountLimits::default().under(SetFigures::default(), Some(&QUOTA));
        let quotas = FigureSource::Quotas;
        assert_eq!((limits.create_per_second, limits.in_flight, limits.queue_ahead), (2.0, 20, 3));
        assert_eq!(
            sources,
            FigureSources { create_per_second: quotas, in_flight: quotas, queue_ahead: quotas }
        );
        assert_eq!(limits.queries_per_second, AccountLimits::default().queries_per_second);
    }

    #[test]
    fn the_settings_win_and_what_nobody_names_is_documented() {
        let set = SetFigures { in_flight: true, ..SetFigures::default() };
        let partly = Quota { create_per_second: None, ..QUOTA };
        let (limits, sources) =
            AccountLimits { in_flight: 7, ..AccountLimits::default() }.under(set, Some(&partly));
        assert_eq!((limits.create_per_second, limits.in_flight, limits.queue_ahead), (5.0, 7, 3));
        assert_eq!(
            sources,
            FigureSources {
                create_per_second: FigureSource::Documented,
                in_flight: FigureSource::Settings,
                queue_ahead: FigureSource::Quotas,
            }
        );
    }

    #[test]
    fn a_long_queue_at_the_provider_is_no_reason_to_fill_it() {
        let long = Quota { pending: Some(500), ..QUOTA };
        let (limits, sources) = AccountLimits::default().under(SetFigures::default(), Some(&long));
        assert_eq!((limits.queue_ahead, sources.queue_ahead), (5, FigureSource::Documented));
    }

    #[test]
    fn quotas_of_another_address_are_not_believed() {
        let quotas = Quotas {
            at: Timestamp::UNIX_EPOCH,
            base_url: "https://a/api/v1".into(),
            models: BTreeMap::from([(Model::Wan27Image, QUOTA)]),
        };
        assert_eq!(quotas.of("https://a/api/v1", Model::Wan27Image), Some(&QUOTA));
        assert_eq!(quotas.of("https://b/api/v1", Model::Wan27Image), None);
        assert_eq!(quotas.of("https://a/api/v1", Model::Wan27ImagePro), None);
        assert_eq!(read(&serde_json::to_string(&quotas).unwrap()), Some(quotas));
    }

    proptest! {
        /// Whatever the provider says, a figure that the settings name is never touched, and one that it does not name stays.
        #[test]
        fn a_figure_is_the_settings_or_the_provider_s_or_documented(
            set in (any::<bool>(), any::<bool>(), any::<bool>()),
            rate in proptest::option::of(0.01_f64..1e4),
            in_flight in proptest::option::of(1_u32..1_000),
            pending in proptest::option::of(1_u32..1_000),
        ) {
            let of = AccountLimits { create_per_second: 7.0, in_flight: 8, queue_ahead: 9, ..AccountLimits::default() };
            let set = SetFigures { create_per_second: set.0, in_flight: set.1, queue_ahead: set.2 };
            let (limits, sources) = of.under(set, Some(&Quota { create_per_second: rate, in_flight, pending }));
            let is_set = |source| source == FigureSource::Settings;
            prop_assert_eq!(is_set(sources.create_per_second), set.create_per_second);
            prop_assert_eq!(is_set(sources.in_flight), set.in_flight);
            prop_assert_eq!(is_set(sources.queue_ahead), set.queue_ahead);
            let of_provider = |source| source == FigureSource::Quotas;
            let rate = rate.filter(|_| of_provider(sources.create_per_second));
            prop_assert_eq!(limits.create_per_second, rate.unwrap_or(7.0));
            prop_assert_eq!(limits.in_flight, in_flight.filter(|_| of_provider(sources.in_flight)).unwrap_or(8));
            prop_assert_eq!(limits.queue_ahead, pending.filter(|_| of_provider(sources.queue_ahead)).unwrap_or(9));
            prop_assert!(limits.queue_ahead <= 9);
        }
    }
}
