//! Settings: read once from flags, environment, `imagemill.toml` and defaults, and believed afterwards.
//!
//! Names that are not known are refused, wherever they stand, and every problem is found at once. What other crates get are
//! their own types, made here. Nothing in this module connects to anything; secrets are read when a command asks for them.

mod accounts;
mod budget;
mod document;
pub(crate) mod layers;
mod log;
mod problem;
mod redis;
mod results;
mod rules;
mod schedules;
mod secret;
mod show;
mod store;
mod value;
mod webhooks;
mod work;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use self::redis::RedisSection;
pub(crate) use accounts::{Account, KeyError};
use budget::BudgetSection;
use document::Document;
use layers::{Environment, Layers, Scope, Section, Variables, table_of};
pub(crate) use log::LogFormat;
use log::LogSection;
use problem::Place;
pub(crate) use problem::Problem;
use results::{InputsSection, ResultsSection, Transport};
pub(crate) use rules::Money;
use rules::{BreakerSection, CopySection, PollSection, PricesSection, RetrySection};
pub(crate) use schedules::{Schedule, SourcePlace};
pub(crate) use show::{changed_settings, effective, effective_json, example};
use store::S3Section;
pub(crate) use store::StoreProblem;
use url::Host;
pub(crate) use value::Setting;
pub(crate) use webhooks::WebhookError;
use webhooks::{DeliverySection, WebhookRow};
use worker::outbox::OutboxConfig;

use work::{RetentionSection, SettleSection, WorkerSection};

/// The file that is read where no other is named, if it is there.
const DEFAULT_FILE: &str = "imagemill.toml";

/// The variable that names the settings file.
const FILE_VARIABLE: &str = "IMAGEMILL_CONFIG";

/// Everything that can be set.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    redis: RedisSection,
    s3: S3Section,
    results: ResultsSection,
    inputs: InputsSection,
    worker: WorkerSection,
    settle: SettleSection,
    retry: RetrySection,
    breaker: BreakerSection,
    poll: PollSection,
    copy: CopySection,
    retention: RetentionSection,
    prices: PricesSection,
    budget: BudgetSection,
    delivery: DeliverySection,
    log: LogSection,
    webhooks: Vec<WebhookRow>,
    accounts: Vec<Account>,
    schedules: Vec<Schedule>,
    environment: Environment,
    /// What is allowed and probably not meant.
    pub(crate) warnings: Vec<String>,
    /// The file that was read.
    pub(crate) file: Option<PathBuf>,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The file that was named cannot be read.
    #[error("the settings file {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Settings cannot be used.
    #[error("{}", count(problems.len()))]
    Problems {
        /// Each of them.
        problems: Vec<Problem>,
    },
}

fn count(problems: usize) -> String {
    if problems == 1 {
        "a setting cannot be used".to_owned()
    } else {
        format!("{problems} settings cannot be used")
    }
}

/// Where settings come from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sources {
    /// `--config`.
    pub(crate) file: Option<PathBuf>,
    /// Flags by "section.name".
    pub(crate) flags: BTreeMap<String, String>,
    /// The environment.
    pub(crate) environment: Environment,
}

impl Settings {
    /// Reads everything.
    ///
    /// # Errors
    ///
    /// A named file that cannot be read, or every problem in what was set.
    pub(crate) fn load(sources: &Sources) -> Result<Self, SettingsError> {
        let named = sources.file.clone().or_else(|| {
            sources.environment.get(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
        });
        let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(SettingsError::Unreadable { path, source }),
        };
        let file = text.is_some().then(|| path.clone());
        Self::read(text.as_deref().unwrap_or_default(), &path, sources)
            .map(|settings| Self { file, ..settings })
            .map_err(|problems| SettingsError::Problems { problems })
    }

    /// Reads settings whose file holds `text`.
    fn read(text: &str, path: &Path, sources: &Sources) -> Result<Self, Vec<Problem>> {
        let document = Document::parse(text, &path.to_string_lossy())?;
        let layers = Layers { flags: &sources.flags, environment: &sources.environment, document: &document };
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        refuse_unknown_sections(&document, &mut problems);
        refuse_unknown_flags(&sources.flags, &mut problems);
        let mut settings = Self {
            redis: section(&layers, "redis", &mut problems),
            s3: section(&layers, "s3", &mut problems),
            results: section(&layers, "results", &mut problems),
            inputs: section(&layers, "inputs", &mut problems),
            worker: section(&layers, "worker", &mut problems),
            settle: section(&layers, "settle", &mut problems),
            retry: section(&layers, "retry", &mut problems),
            breaker: section(&layers, "breaker", &mut problems),
            poll: section(&layers, "poll", &mut problems),
            copy: section(&layers, "copy", &mut problems),
            retention: section(&layers, "retention", &mut problems),
            prices: section(&layers, "prices", &mut problems),
            budget: section(&layers, "budget", &mut problems),
            delivery: section(&layers, "delivery", &mut problems),
            log: section(&layers, "log", &mut problems),
            webhooks: webhooks::resolve(&layers, &mut problems),
            accounts: accounts::resolve(&layers, &mut problems, &mut warnings),
            schedules: Vec::new(),
            environment: sources.environment.clone(),
            warnings: Vec::new(),
            file: None,
        };
        settings.schedules = schedules::resolve(
            &layers,
            &settings.accounts,
            settings.template(),
            &mut problems,
            &mut warnings,
        );
        problems.extend(settings.contradictions());
        warnings.extend(misspelt_variables(&sources.environment));
        if problems.is_empty() {
            return Ok(Self { warnings, ..settings });
        }
        // In the order of the file; what stands elsewhere comes after it.
        problems.sort_by_key(|problem| match &problem.place {
            Place::File { at, .. } => (at.line, at.column),
            _ => (usize::MAX, 0),
        });
        Err(problems)
    }

    /// Settings that do not go together, each fine by itself.
    fn contradictions(&self) -> Vec<Problem> {
        let mut found = self.s3.contradictions();
        if let Err(error) = self.results.download(&self.loopback_hosts()) {
            found.push(Problem::of_settings(format!("`results.allow` cannot be used: {error}")));
        }
        let (lease, every) = (self.redis.lease(), self.worker.renew_every.value.0);
        let age = self.worker.renewal_age_max.value.0;
        if every * 2 >= lease {
            let what = "`worker.renew_every` must be under half of `redis.lease`, or one lost renewal loses the lease";
            found.push(Problem::of_settings(what));
        }
        if age <= every || age >= lease {
            let what = "`worker.renewal_age_max` must lie between `worker.renew_every` and `redis.lease`";
            found.push(Problem::of_settings(what));
        }
        found
    }

    /// Where the queue is.
    pub(crate) fn redis(&self) -> queue::RedisSettings {
        self.redis.settings()
    }

    /// The queue's address, without a password.
    pub(crate) fn redis_address(&self) -> String {
        self.redis.url.value.masked()
    }

    /// Whether anybody said where the queue is.
    pub(crate) fn redis_is_set(&self) -> bool {
        self.redis.url.source != layers::Source::Default
    }

    /// Whether a Redis that can lose jobs may be used.
    pub(crate) fn unsafe_redis(&self) -> bool {
        self.worker.unsafe_redis.value
    }

    /// Where images go.
    ///
    /// # Errors
    ///
    /// No bucket is named, or a fixed key cannot be had.
    pub(crate) fn store(&self) -> Result<archive::StoreSettings, StoreProblem> {
        self.s3.settings(&self.environment)
    }

    /// How results are fetched.
    pub(crate) fn download(&self) -> archive::DownloadSettings {
        self.results
            .download(&self.loopback_hosts())
            .expect("the hosts were judged when the settings were read")
    }

    /// The most bytes of images in memory at once.
    pub(crate) fn image_memory(&self) -> u64 {
        self.results.memory.value.0
    }

    /// The keys of images.
    pub(crate) fn template(&self) -> &job::KeyTemplate {
        &self.results.template.value.0
    }

    /// What images cost.
    pub(crate) fn prices(&self) -> job::Prices {
        self.prices.prices()
    }

    /// What may be spent, beside the accounts' own budgets.
    pub(crate) fn budgets(&self) -> queue::Budgets {
        self.budget.budgets()
    }

    /// The numbers that decisions depend on.
    pub(crate) fn rules(&self) -> job::Rules {
        rules::rules(&self.retry, &self.breaker, &self.poll, &self.copy, &self.worker)
    }

    /// All accounts, at least one.
    pub(crate) fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// All schedules, in the order of the file.
    pub(crate) fn schedules(&self) -> &[Schedule] {
        &self.schedules
    }

    /// What paths in the settings file are relative to.
    pub(crate) fn folder(&self) -> PathBuf {
        let folder = self.file.as_deref().and_then(Path::parent).map(Path::to_owned);
        folder.filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| PathBuf::from("."))
    }

    /// The environment that secrets are read from.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The format of logs.
    pub(crate) fn log_format(&self) -> LogFormat {
        self.log.format.value
    }

    /// What is logged, where that is set.
    pub(crate) fn log_filter(&self) -> Option<&str> {
        self.log.filter.value.as_ref().map(|filter| filter.0.as_str())
    }

    /// Everything a worker has to know.
    ///
    /// # Errors
    ///
    /// A key that cannot be had or used.
    pub(crate) fn worker(&self) -> Result<worker::WorkerConfig, KeyError> {
        let accounts = self.worker_accounts()?;
        Ok(worker::WorkerConfig {
            name: self.worker.name.value.clone(),
            rules: self.rules(),
            prices: self.prices(),
            budgets: self.budgets(),
            key_template: self.template().clone(),
            submit_concurrency: self.worker.submit_concurrency.value.size(),
            poll_concurrency: self.worker.poll_concurrency.value.size(),
            archive_concurrency: self.worker.archive_concurrency.value.size(),
            images_at_once: self.worker.images_at_once.value.size(),
            renew_every: self.worker.renew_every.value.0,
            renewal_age_max: self.worker.renewal_age_max.value.0,
            rescue_every: self.worker.rescue_every.value.0,
            send_within: self.worker.send_within.value.0,
            settle: self.settle.config(),
            inputs: self.input_transport(),
            presign_for: self.inputs.presign_for.value.0,
            // Whoever names a bucket of his own names one that the same store and key can read.
            input_store: self.store().ok(),
            retention: self.retention.policy(),
            retain_every: self.retention.every.value.0,
            sweep_every: self.worker.sweep_every.value.0,
            outbox: self.outbox(),
            ..worker::WorkerConfig::new(accounts)
        })
    }

    /// What follows from a batch's end.
    fn outbox(&self) -> OutboxConfig {
        OutboxConfig {
            namespace: self.redis().namespace,
            batch_manifest: self.results.batch_manifest.value,
            place: self.store().ok().map(|store| job::BucketPlace::new(store.bucket, &store.prefix)),
            ..self.delivery.config()
        }
    }

    /// The webhooks as they are set, without their secrets.
    pub(crate) fn webhook_rows(&self) -> &[WebhookRow] {
        &self.webhooks
    }

    /// The webhooks as a worker knows them.
    ///
    /// # Errors
    ///
    /// A secret that cannot be had or used.
    pub(crate) fn webhooks(&self) -> Result<Vec<worker::outbox::Webhook>, WebhookError> {
        let all: Result<Vec<_>, _> = self.webhooks.iter().map(|row| row.config(&self.environment)).collect();
        Ok(all?.into_iter().flatten().collect())
    }

    /// How long a webhook's receiver may take to answer.
    pub(crate) fn delivery_timeout(&self) -> std::time::Duration {
        self.delivery.timeout.value.0
    }

    /// The accounts as a worker knows them.
    ///
    /// # Errors
    ///
    /// As [`Self::worker`].
    pub(crate) fn worker_accounts(&self) -> Result<Vec<worker::AccountConfig>, KeyError> {
        self.accounts.iter().map(|account| account.config(&self.environment)).collect()
    }

    fn input_transport(&self) -> worker::InputTransport {
        match self.inputs.transport.value {
            Some(Transport::Presign) => worker::InputTransport::Presign,
            Some(Transport::Inline) => worker::InputTransport::Inline,
            Some(Transport::Upload) => worker::InputTransport::Upload,
            None if self.store_is_private() => worker::InputTransport::Inline,
            None => worker::InputTransport::Presign,
        }
    }

    /// Whether the store's address is one that the provider certainly cannot reach.
    fn store_is_private(&self) -> bool {
        let endpoint = self.s3.endpoint.value.as_ref();
        match endpoint.and_then(|endpoint| endpoint.0.host()) {
            None => false,
            Some(Host::Domain(name)) => {
                name == "localhost" || !name.contains('.') || name.ends_with(".internal")
            }
            Some(Host::Ipv4(address)) => {
                address.is_loopback() || address.is_private() || address.is_link_local()
            }
            Some(Host::Ipv6(address)) => {
                address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
            }
        }
    }

    fn loopback_hosts(&self) -> Vec<String> {
        self.accounts.iter().filter_map(Account::loopback_host).collect()
    }
}

/// The sections in the order of the example file, each with its declaration. `accounts` is written apart.
macro_rules! sections {
    ($each:ident) => {
        $each!(redis: RedisSection, s3: S3Section, results: ResultsSection, inputs: InputsSection, worker: WorkerSection,
            settle: SettleSection, retry: RetrySection, breaker: BreakerSection, poll: PollSection, copy: CopySection,
            retention: RetentionSection, prices: PricesSection, budget: BudgetSection, delivery: DeliverySection, log: LogSection)
    };
}
use sections;

macro_rules! known_settings {
    ($($name:ident: $section:ty),+) => {
        [$( (stringify!($name), <$section>::FIELDS) ),+]
    };
}

/// Every section with its settings, without accounts.
fn known_settings() -> [(&'static str, &'static [layers::Field]); 15] {
    sections!(known_settings)
}

fn section<S: Section>(layers: &Layers<'_>, name: &str, problems: &mut Vec<Problem>) -> S {
    let table = table_of(layers.document, name, problems);
    S::resolve(&mut Scope::new(layers, name, table, Variables::Derived, problems))
}

fn refuse_unknown_sections(document: &Document, problems: &mut Vec<Problem>) {
    let known: Vec<&str> =
        known_settings().iter().map(|(name, _)| *name).chain(["accounts", "schedules", "webhooks"]).collect();
    for entry in document.root.0.iter().filter(|entry| !known.contains(&entry.name.as_str())) {
        let place = Place::File { file: document.file.clone(), at: entry.at };
        let hint = match dashscope::request::nearest_name(&entry.name, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", known.join(", ")),
        };
        problems.push(Problem {
            place,
            what: format!("there is no section `{}`", entry.name),
            hint: Some(hint),
        });
    }
}

fn refuse_unknown_flags(flags: &BTreeMap<String, String>, problems: &mut Vec<Problem>) {
    let names: Vec<String> = known_settings()
        .iter()
        .flat_map(|(section, fields)| fields.iter().map(move |field| format!("{section}.{}", field.name)))
        .collect();
    let known: Vec<&str> = names.iter().map(String::as_str).collect();
    for (name, text) in flags {
        let place = Place::Flag(format!("--set {name}"));
        if name == "redis.url" && text.contains('@') {
            let what = "a password must not stand on a command line, where every user of the machine sees it";
            let hint = Some("set IMAGEMILL_REDIS_URL, or `redis.url` in the settings file".to_owned());
            problems.push(Problem { place, what: what.to_owned(), hint });
        } else if !known.contains(&name.as_str()) {
            let hint =
                dashscope::request::nearest_name(name, &known).map(|near| format!("did you mean `{near}`?"));
            problems.push(Problem { place, what: format!("there is no setting `{name}`"), hint });
        }
    }
}

/// Variables that look like a setting of ours and are none, where a slip is likely.
fn misspelt_variables(environment: &Environment) -> Vec<String> {
    let derived = known_settings();
    let derived = derived.iter().flat_map(|(section, fields)| {
        fields.iter().map(move |field| layers::variable_name(section, field.name))
    });
    let declared = accounts::declared_variables().map(str::to_owned);
    let known: Vec<String> = derived.chain(declared).chain([FILE_VARIABLE.to_owned()]).collect();
    let names: Vec<&str> = known.iter().map(|name| name.trim_start_matches("IMAGEMILL_")).collect();
    environment
        .keys()
        .filter(|name| !known.contains(name))
        .filter_map(|name| {
            let rest = name.strip_prefix("IMAGEMILL_")?;
            let near = dashscope::request::nearest_name(rest, &names)?;
            Some(format!("the environment variable {name} sets nothing; did you mean IMAGEMILL_{near}?"))
        })
        .collect()
}
