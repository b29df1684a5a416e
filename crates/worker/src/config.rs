//! What a worker is told: accounts, rules, limits of its own. Plain values, checked once by [`WorkerConfig::check`].

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;

use archive::StoreSettings;
use dashscope::{ApiKey, BaseUrl, Model, WorkspaceId};
use job::{AccountName, Curve, KeyTemplate, Prices, RegionName, Rules};
use queue::{AccountLimits, Budgets, Quotas, Retention, SetFigures};

use crate::outbox::{OutboxConfig, Webhook};

/// Everything a worker needs to know besides the queue and the bucket.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Begins the names of this worker's stages in logs; a random suffix tells its starts apart. Default `worker`.
    pub name: String,
    /// The accounts it works for, at least one, when it begins. Later ones come through a [`crate::Reloader`].
    pub accounts: Vec<AccountConfig>,
    /// How failures, polls and rounds of copying are timed.
    pub rules: Rules,
    /// What images cost.
    pub prices: Prices,
    /// What may be spent, beside each account's own budget.
    pub budgets: Budgets,
    /// Where images go.
    pub key_template: KeyTemplate,
    /// Create calls at once. Default 64: a create answers in well under a second, and the account's rate is the real limit.
    pub submit_concurrency: usize,
    /// Queries at once. Default 64.
    pub poll_concurrency: usize,
    /// Jobs whose images are copied at once, at the most: fewer where more are no faster, or where the store pushes back. Default 64; the
    /// archive's byte budget bounds the memory.
    pub archive_concurrency: usize,
    /// Images of one job that are copied at once. Default 4.
    pub images_at_once: usize,
    /// How often leases are renewed. Default 3 s, under a third of the lease.
    pub renew_every: Duration,
    /// A create is not sent when the last renewal is older than this. Default 4 s: well within a lease of 10 s.
    pub renewal_age_max: Duration,
    /// How often leases that ran out are looked for. Default 1 s.
    pub rescue_every: Duration,
    /// How long after its claim a create may be sent. Default 5 s.
    pub send_within: Duration,
    /// How creates without an answer are settled.
    pub settle: SettleConfig,
    /// How input images reach the provider.
    pub inputs: InputTransport,
    /// How to reach buckets other than our own that users name for inputs: endpoint, region and credentials count, bucket and
    /// prefix do not. Default none: a job with such an input fails and says why.
    pub input_store: Option<StoreSettings>,
    /// How long a presigned link to an input lives. Default 24 h: a task that has not begun by then is over.
    pub presign_for: Duration,
    /// How long ended work is kept.
    pub retention: Retention,
    /// How often retention looks for what is to go. Default 60 s.
    pub retain_every: Duration,
    /// How long one pass of the slow sweep takes, in which every record is held against the indexes. Default 1 h: nothing is expected
    /// to be found, and what is lost waits no longer than that.
    pub sweep_every: Duration,
    /// What follows from a batch's end.
    pub outbox: OutboxConfig,
    /// Who is told of it, when it begins. Later ones come through a [`crate::Reloader`].
    pub webhooks: Vec<Webhook>,
    /// Whether to end once nothing is left to do.
    pub until_idle: bool,
}

impl WorkerConfig {
    /// The defaults, for these accounts.
    pub fn new(accounts: Vec<AccountConfig>) -> Self {
        Self {
            name: "worker".to_owned(),
            accounts,
            rules: Rules::default(),
            prices: Prices::default(),
            budgets: Budgets::default(),
            key_template: KeyTemplate::default(),
            submit_concurrency: 64,
            poll_concurrency: 64,
            archive_concurrency: 64,
            images_at_once: 4,
            renew_every: Duration::from_secs(3),
            renewal_age_max: Duration::from_secs(4),
            rescue_every: Duration::from_secs(1),
            send_within: Duration::from_secs(5),
            settle: SettleConfig::default(),
            inputs: InputTransport::default(),
            input_store: None,
            presign_for: Duration::from_secs(24 * 3600),
            retention: Retention::default(),
            retain_every: Duration::from_secs(60),
            sweep_every: Duration::from_secs(3600),
            outbox: OutboxConfig::default(),
            webhooks: Vec::new(),
            until_idle: false,
        }
    }

    /// How long after the claim of a probe its answer is there at the latest; then another may go out.
    pub(crate) fn probe_window(&self) -> Duration {
        /// For the commit, and for clocks. Source: ours.
        const MARGIN: Duration = Duration::from_secs(5);
        self.send_within + self.rules.create_timeout + MARGIN
    }

    /// Refuses what cannot work.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn check(&self, lease: Duration) -> Result<(), ConfigError> {
        check_accounts(&self.accounts)?;
        let concurrencies = [
            ("submit_concurrency", self.submit_concurrency),
            ("poll_concurrency", self.poll_concurrency),
            ("archive_concurrency", self.archive_concurrency),
            ("images_at_once", self.images_at_once),
        ];
        if let Some((name, _)) = concurrencies.into_iter().find(|(_, number)| *number == 0) {
            return Err(ConfigError::Zero(name));
        }
        // A renewal may fail once and still come in time.
        if self.renew_every * 2 >= lease {
            return Err(ConfigError::RenewsTooSeldom { every: self.renew_every, lease });
        }
        if self.renewal_age_max <= self.renew_every || self.renewal_age_max >= lease {
            return Err(ConfigError::RenewalAge {
                max: self.renewal_age_max,
                every: self.renew_every,
                lease,
            });
        }
        Ok(())
    }
}

/// Refuses accounts that cannot work.
pub(crate) fn check_accounts(accounts: &[AccountConfig]) -> Result<(), ConfigError> {
    if accounts.is_empty() {
        return Err(ConfigError::NoAccount);
    }
    let mut names = BTreeSet::new();
    for account in accounts {
        if !names.insert(&account.name) {
            return Err(ConfigError::TwoAccounts(account.name.clone()));
        }
        if account.api_keys.is_empty() {
            return Err(ConfigError::NoKey(account.name.clone()));
        }
        if account.limits.is_empty() {
            return Err(ConfigError::NoModel(account.name.clone()));
        }
    }
    Ok(())
}

/// Why a worker's settings cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Without an account nothing can be created.
    #[error("there is no account")]
    NoAccount,
    /// Two accounts of one name.
    #[error("two accounts are called `{0}`")]
    TwoAccounts(AccountName),
    /// An account without a key.
    #[error("account `{0}` has no key")]
    NoKey(AccountName),
    /// An account without a model.
    #[error("account `{0}` has no model")]
    NoModel(AccountName),
    /// A concurrency of zero would wait for ever.
    #[error("`{0}` is 0")]
    Zero(&'static str),
    /// One lost renewal would lose the lease.
    #[error("leases of {lease:?} are renewed every {every:?}: at least twice in a lease is needed")]
    RenewsTooSeldom {
        /// The interval.
        every: Duration,
        /// The lease.
        lease: Duration,
    },
    /// With this age creates would never, or too late, be held back.
    #[error(
        "a renewal may be {max:?} old before a create: that must lie between {every:?} and the lease of {lease:?}"
    )]
    RenewalAge {
        /// The age.
        max: Duration,
        /// The interval.
        every: Duration,
        /// The lease.
        lease: Duration,
    },
}

/// One main account in one region.
#[derive(Debug, Clone, PartialEq)]
pub struct AccountConfig {
    /// Its name in the settings, in Redis and in logs.
    pub name: AccountName,
    /// Up to and with `/api/v1`.
    pub base_url: BaseUrl,
    /// The region that it stands in, where that is known: jobs for that region are its as well.
    pub region: Option<RegionName>,
    /// Its share of the jobs that several accounts could start at once. Default 1.
    pub weight: u32,
    /// Its keys, at least one. Creates take turns; everything else uses the first.
    pub api_keys: Vec<ApiKey>,
    /// The workspace to act in, on a shared host.
    pub workspace: Option<WorkspaceId>,
    /// The models it may use, each with its limits.
    pub limits: BTreeMap<Model, AccountLimits>,
    /// Which of these figures are to stand, whatever the provider says. Of models that are not here, none.
    pub set: BTreeMap<Model, SetFigures>,
}

impl AccountConfig {
    /// Which figures of a model are to stand, whatever the provider says.
    pub(crate) fn set_of(&self, model: Model) -> SetFigures {
        self.set.get(&model).copied().unwrap_or_default()
    }

    /// The same with what the provider says.
    pub(crate) fn under(&self, quotas: Option<&Quotas>) -> Self {
        let mut under = self.clone();
        for (model, limits) in &mut under.limits {
            let quota = quotas.and_then(|quotas| quotas.of(self.base_url.as_str(), *model));
            *limits = limits.under(self.set_of(*model), quota).0;
        }
        under
    }
}

/// What is done about a create without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ambiguous {
    /// Decide from evidence, and ask a person where there is none.
    #[default]
    Settle,
    /// Ask a person at once.
    Hold,
    /// Send it again without looking: may be paid twice.
    ResubmitMayPayTwice,
}

/// Whether a task that fits may be taken for the one of an attempt without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Adopt {
    /// Where nothing speaks against it.
    #[default]
    Auto,
    /// Never: a person decides.
    Never,
}

/// How creates without an answer are settled.
#[derive(Debug, Clone, PartialEq)]
pub struct SettleConfig {
    /// What is done about them.
    pub ambiguous: Ambiguous,
    /// Whether a task may be adopted.
    pub adopt: Adopt,
    /// How late the provider's list may show a task. To show that the list is up to date, a task of ours must have been created so
    /// much later than the last moment at which the attempt's request may be acted upon. Default 30 s.
    pub settle_lag: Duration,
    /// On an account that creates nothing: how long after the attempt an older task of ours is proof enough. Default 10 min.
    pub idle_control: Duration,
    /// How far the provider's clock may be from Redis's. Default 10 s.
    pub clock_margin: Duration,
    /// The waits between looks. Default 10 s × 2 up to 2 min.
    pub looks: Curve,
    /// How long after the attempt a person is asked. Default 30 min.
    pub give_up_after: Duration,
    /// Pages of the provider's list that are read for one look. Default 2,000.
    pub pages_max: u32,
    /// How often tasks of ours that nobody owns are counted. Default 1 h: a count reads the account's whole list.
    pub orphans_every: Duration,
}

impl Default for SettleConfig {
    fn default() -> Self {
        Self {
            ambiguous: Ambiguous::default(),
            adopt: Adopt::default(),
            settle_lag: Duration::from_secs(30),
            idle_control: Duration::from_secs(600),
            clock_margin: Duration::from_secs(10),
            looks: Curve { first: Duration::from_secs(10), factor: 2.0, cap: Duration::from_secs(120) },
            give_up_after: Duration::from_secs(1800),
            pages_max: 2_000,
            orphans_every: Duration::from_secs(3600),
        }
    }
}

/// How input images that live in a bucket reach the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InputTransport {
    /// By a link that the provider fetches.
    #[default]
    Presign,
    /// Inside the request.
    Inline,
    /// Through the provider's temporary store.
    Upload,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn account(name: &str) -> AccountConfig {
        AccountConfig {
            name: name.parse().unwrap(),
            base_url: "http://127.0.0.1:1/api/v1".parse().unwrap(),
            api_keys: vec![ApiKey::new("sk-0123456789abcdef").unwrap()],
            region: None,
            weight: 1,
            workspace: None,
            limits: BTreeMap::from([(Model::Wan27Image, AccountLimits::default())]),
            set: BTreeMap::new(),
        }
    }

    #[test]
    fn the_defaults_fit_each_other() {
        assert_eq!(WorkerConfig::new(vec![account("a")]).check(LEASE), Ok(()));
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let refused = |change: &dyn Fn(&mut WorkerConfig)| {
            let mut config = WorkerConfig::new(vec![account("a")]);
            change(&mut config);
            config.check(LEASE).unwrap_err()
        };
        assert_eq!(refused(&|config| config.accounts.clear()), ConfigError::NoAccount);
        let twice = refused(&|config| config.accounts.push(account("a")));
        assert_eq!(twice, ConfigError::TwoAccounts("a".parse().unwrap()));
        assert!(matches!(refused(&|config| config.accounts[0].api_keys.clear()), ConfigError::NoKey(_)));
        assert!(matches!(refused(&|config| config.accounts[0].limits.clear()), ConfigError::NoModel(_)));
        assert_eq!(refused(&|config| config.poll_concurrency = 0), ConfigError::Zero("poll_concurrency"));
        assert!(matches!(
            refused(&|config| config.renew_every = LEASE / 2),
            ConfigError::RenewsTooSeldom { .. }
        ));
        assert!(matches!(refused(&|config| config.renewal_age_max = LEASE), ConfigError::RenewalAge { .. }));
    }

    #[test]
    fn a_key_is_not_printed_with_the_settings() {
        let printed = format!("{:?}", WorkerConfig::new(vec![account("a")]));
        assert!(!printed.contains("0123456789"), "{printed}");
    }
}
