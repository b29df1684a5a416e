//! `[[accounts]]`, or the one account of the environment.

use std::collections::{BTreeMap, BTreeSet};

use dashscope::{ApiKey, ApiKeyError, BaseUrl, Model, WorkspaceId, base_url};
use job::{AccountName, RegionName};
use queue::{AccountLimits, FigureSources, Quotas, SetFigures};

use super::document::{Table, Value};
use super::layers::{Environment, Layers, Scope, Section as _, Source, Variables, problem_at, section};
use super::problem::{Place, Problem};
use super::rules::Money;
use super::secret::{SecretError, SecretSource, SecretSources};
use super::value::{Rate, Setting, Whole, Wrong, parsed, quoted};

/// The variable that holds the key of the environment's account, as the official SDK names it.
pub(crate) const KEY_VARIABLE: &str = "DASHSCOPE_API_KEY";

section! {
    /// One main account of Model Studio in one region. Its limits are shared by all its keys and by all workers.
    AccountRow {
        /// Its name in jobs, lists and logs.
        name: Name = Name(AccountName::parse("default").expect("the name is a plain word"));
        /// Up to and with /api/v1. Hosts of workspaces work as well.
        base_url: ServiceAddress = ServiceAddress(base_url::SINGAPORE.parse().expect("the address is a constant")),
            env "DASHSCOPE_HTTP_BASE_URL";
        /// The region that jobs name to run here. Not set: the one of `base_url`, where that is a host of the provider.
        region: Option<Region> = None, example "ap-southeast-1";
        /// Its share of the jobs that name no account and that several could start at once. At 3 it takes three times the part of its
        /// places that one at 1 takes.
        weight: Whole<1, 1_000> = Whole(1);
        /// Whether `base_url` may be plain http on another host than this one. Keys, prompts and links then travel in the clear.
        insecure_http: bool = false, env "IMAGEMILL_INSECURE_HTTP";
        /// Where its key stands, `{ env = "NAME" }` or `{ file = "path" }`; a list for several keys of this account.
        api_key: SecretSources = SecretSources(vec![SecretSource::Env(KEY_VARIABLE.to_owned())]);
        /// The workspace to act in, on a shared host.
        workspace: Option<Workspace> = None, env "DASHSCOPE_WORKSPACE", example "ws-0123456789";
        /// Queries, lists and cancels per second, together.
        queries_per_second: Rate = Rate(AccountLimits::default().queries_per_second), env "IMAGEMILL_QUERIES_PER_SECOND";
        /// A stop: no image is created beyond this number per UTC day. Not set: no stop.
        max_images_per_day: Option<Whole<1, 1_000_000_000>> = None, env "IMAGEMILL_MAX_IMAGES_PER_DAY", example "2000";
        /// What may be spent on it per UTC day, in the currency of `[prices]`; "0" is nothing. Not set: no budget. See `[budget]`.
        budget_per_day: Option<Money> = None, example "25.00";
    }
}

section! {
    /// Limits of one model. What is not set is what the provider's quotas say, or what Model Studio documents for the Wan series.
    LimitsRow {
        /// Tasks created per second.
        create_per_second: Rate = Rate(AccountLimits::default().create_per_second), env "IMAGEMILL_CREATE_PER_SECOND";
        /// Tasks processed at once.
        in_flight: Whole<1, 100_000> = Whole(AccountLimits::default().in_flight.into()), env "IMAGEMILL_IN_FLIGHT";
        /// Tasks kept PENDING behind them, so that no place idles while an end is noticed; about a tenth of `in_flight`, where that is raised.
        queue_ahead: Whole<0, 100_000> = Whole(AccountLimits::default().queue_ahead.into()), env "IMAGEMILL_QUEUE_AHEAD";
    }
}

/// An account and the limits of its models.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// The account's own settings.
    pub(crate) row: AccountRow,
    /// The limits of each model.
    pub(crate) limits: BTreeMap<Model, LimitsRow>,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// It cannot be had.
    #[error("the key of account `{account}` cannot be read")]
    Unreadable {
        /// The account.
        account: AccountName,
        /// Why.
        source: SecretError,
    },
    /// It is no key that can be used.
    #[error("the key of account `{account}` cannot be used")]
    Refused {
        /// The account.
        account: AccountName,
        /// Why.
        source: ApiKeyError,
    },
}

impl Account {
    /// The account's name.
    pub(crate) fn name(&self) -> &AccountName {
        &self.row.name.value.0
    }

    /// The address that calls go to.
    pub(crate) fn base_url(&self) -> &BaseUrl {
        &self.row.base_url.value.0
    }

    /// The region that it stands in: as it is set, or that of its host.
    pub(crate) fn region(&self) -> Option<RegionName> {
        let set = self.row.region.value.as_ref().map(|region| region.0.clone());
        set.or_else(|| RegionName::parse(self.base_url().region()?).ok())
    }

    /// Its keys.
    ///
    /// # Errors
    ///
    /// A key that cannot be read, or that is of a kind that does not work here.
    pub(crate) fn keys(&self, environment: &Environment) -> Result<Vec<ApiKey>, KeyError> {
        let key = |source: &SecretSource| {
            let account = self.name().clone();
            match source.read(environment) {
                Ok(text) => ApiKey::new(&text).map_err(|source| KeyError::Refused { account, source }),
                Err(source) => Err(KeyError::Unreadable { account, source }),
            }
        };
        self.row.api_key.value.0.iter().map(key).collect()
    }

    /// What may be done with a model.
    pub(crate) fn limits_of(&self, model: Model) -> AccountLimits {
        let row = self.limits.get(&model).expect("every model has its limits");
        AccountLimits {
            create_per_second: row.create_per_second.value.0,
            queries_per_second: self.row.queries_per_second.value.0,
            in_flight: row.in_flight.value.small(),
            queue_ahead: row.queue_ahead.value.small(),
            images_per_day: self.row.max_images_per_day.value.map(|images| images.0),
            cost_per_day: self.row.budget_per_day.value.map(|budget| budget.0),
        }
    }

    /// Whether there is a budget of its own.
    pub(crate) fn has_budget(&self) -> bool {
        self.row.budget_per_day.value.is_some()
    }

    /// Which figures of a model are set, and not those that everybody has.
    fn set_of(&self, model: Model) -> SetFigures {
        let row = self.limits.get(&model).expect("every model has its limits");
        SetFigures {
            create_per_second: row.create_per_second.source != Source::Default,
            in_flight: row.in_flight.source != Source::Default,
            queue_ahead: row.queue_ahead.source != Source::Default,
        }
    }

    /// What may be done with a model by the settings and by what the provider says, and where each figure comes from.
    pub(crate) fn limits_under(
        &self,
        model: Model,
        quotas: Option<&Quotas>,
    ) -> (AccountLimits, FigureSources) {
        let quota = quotas.and_then(|quotas| quotas.of(self.base_url().as_str(), model));
        self.limits_of(model).under(self.set_of(model), quota)
    }

    /// For the worker.
    ///
    /// # Errors
    ///
    /// As [`Self::keys`].
    pub(crate) fn config(&self, environment: &Environment) -> Result<worker::AccountConfig, KeyError> {
        Ok(worker::AccountConfig {
            name: self.name().clone(),
            base_url: self.base_url().clone(),
            api_keys: self.keys(environment)?,
            region: self.region(),
            weight: self.row.weight.value.small(),
            workspace: self.workspace().cloned(),
            limits: Model::ALL.into_iter().map(|model| (model, self.limits_of(model))).collect(),
            set: Model::ALL.into_iter().map(|model| (model, self.set_of(model))).collect(),
        })
    }

    /// The host that results may come from because calls go there: only on loopback, for simulators.
    pub(crate) fn loopback_host(&self) -> Option<String> {
        self.base_url().is_loopback().then(|| self.base_url().host().to_owned())
    }

    /// The workspace to act in.
    pub(crate) fn workspace(&self) -> Option<&WorkspaceId> {
        self.row.workspace.value.as_ref().map(|workspace| &workspace.0)
    }
}

/// Reads all accounts. Those of the file hide the one of the environment, which is said in `warnings`.
pub(crate) fn resolve(
    layers: &Layers<'_>,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<String>,
) -> Vec<Account> {
    let Some(node) = layers.document.root.get("accounts") else {
        return vec![read(layers, None, "accounts".to_owned(), Variables::Declared, problems)];
    };
    let Value::List(items) = &node.value else {
        let what = format!("`accounts` is {}, but each account is a table `[[accounts]]`", node.value.kind());
        problems.push(problem_at(layers.document, node.at, what));
        return Vec::new();
    };
    let mut accounts = Vec::with_capacity(items.len());
    let mut names = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let Value::Table(table) = &item.value else {
            let what = format!("`accounts[{index}]` is {}, but it must be a table", item.value.kind());
            problems.push(problem_at(layers.document, item.at, what));
            continue;
        };
        let account = read(layers, Some(table), format!("accounts[{index}]"), Variables::Off, problems);
        if !names.insert(account.name().clone()) {
            let what = format!("a second account is called `{}`", account.name());
            problems.push(problem_at(layers.document, item.at, what));
        }
        accounts.push(account);
    }
    if accounts.is_empty() && items.is_empty() {
        problems.push(problem_at(layers.document, node.at, "`accounts` is empty".to_owned()));
    }
    warnings.extend(ignored_variables(layers.environment, &accounts));
    accounts
}

fn read(
    layers: &Layers<'_>,
    table: Option<&Table>,
    path: String,
    variables: Variables,
    problems: &mut Vec<Problem>,
) -> Account {
    let row = {
        let mut scope = Scope::new(layers, path.clone(), table, variables, problems).with_inner(&["limits"]);
        AccountRow::resolve(&mut scope)
    };
    problems.extend(sent_in_the_clear(layers, table, &row));
    let limits = table.and_then(|table| table.get("limits"));
    let of_models = match limits.map(|node| (&node.value, node.at)) {
        Some((Value::Table(models), _)) => Some(models),
        Some((other, at)) => {
            let what = format!("`{path}.limits` is {}, but it must be a table of models", other.kind());
            problems.push(problem_at(layers.document, at, what));
            None
        }
        None => None,
    };
    let names = Model::ALL.map(Model::as_str);
    for entry in of_models.iter().flat_map(|models| &models.0) {
        if !names.contains(&entry.name.as_str()) {
            let place = Place::File { file: layers.document.file.clone(), at: entry.at };
            let what = format!("there is no model `{}`", entry.name);
            let near = dashscope::request::nearest_name(&entry.name, &names);
            let hint = near.map_or_else(
                || format!("limits are set as [accounts.limits.\"{}\"]", names[0]),
                |near| format!("did you mean \"{near}\", in quotes?"),
            );
            problems.push(Problem { place, what, hint: Some(hint) });
        }
    }
    let mut limits_of = |model: Model| {
        let path = format!("{path}.limits.{model}");
        let table = match of_models.and_then(|models| models.get(model.as_str())) {
            None => None,
            Some(node) => match &node.value {
                Value::Table(table) => Some(table),
                other => {
                    let what = format!("`{path}` is {}, but it must be a table", other.kind());
                    problems.push(problem_at(layers.document, node.at, what));
                    None
                }
            },
        };
        // The variables are those of all models: a fault in one is noted once.
        let mut found = Vec::new();
        let row = LimitsRow::resolve(&mut Scope::new(layers, path, table, variables, &mut found));
        let new: Vec<Problem> = found
            .into_iter()
            .filter(|problem| !problems.iter().any(|known| known.place == problem.place))
            .collect();
        problems.extend(new);
        row
    };
    let limits = Model::ALL.into_iter().map(|model| (model, limits_of(model))).collect();
    Account { row, limits }
}

/// A key must not travel over a network in the clear, unless somebody said that it may.
fn sent_in_the_clear(layers: &Layers<'_>, table: Option<&Table>, row: &AccountRow) -> Option<Problem> {
    let address = &row.base_url.value.0;
    if address.is_https() || address.is_loopback() || row.insecure_http.value {
        return None;
    }
    let place = match &row.base_url.source {
        Source::Environment(name) => Place::Environment(name.clone()),
        Source::Flag(name) => Place::Flag(name.clone()),
        Source::File(_) | Source::Default => match table.and_then(|table| table.get("base_url")) {
            Some(node) => Place::File { file: layers.document.file.clone(), at: node.at },
            None => Place::Settings,
        },
    };
    let what =
        format!("`base_url` {} is plain http: the key would travel in the clear", quoted(address.as_str()));
    let hint = match &row.base_url.source {
        Source::Environment(_) => "write https, or set IMAGEMILL_INSECURE_HTTP=true",
        _ => "write https, or add `insecure_http = true` to the account",
    };
    Some(Problem { place, what, hint: Some(hint.to_owned()) })
}

/// The variables that describe the environment's account, beside its key.
pub(crate) fn declared_variables() -> impl Iterator<Item = &'static str> {
    AccountRow::FIELDS.iter().chain(LimitsRow::FIELDS).flat_map(|field| field.env.iter().copied())
}

/// Says which variables would describe an account and are not looked at.
fn ignored_variables(environment: &Environment, accounts: &[Account]) -> Option<String> {
    let used = |name: &str| {
        let source = SecretSource::Env(name.to_owned());
        accounts.iter().any(|account| account.row.api_key.value.0.contains(&source))
    };
    let set: Vec<&str> = std::iter::once(KEY_VARIABLE)
        .chain(declared_variables())
        .filter(|name| environment.get(*name).is_some_and(|text| !text.is_empty()) && !used(name))
        .collect();
    (!set.is_empty())
        .then(|| format!("the settings file has [[accounts]], so that {} is ignored", set.join(", ")))
}

/// An account's name.
#[derive(Debug, Clone)]
pub(crate) struct Name(AccountName);

impl Setting for Name {
    const WANTED: &'static str = "a name";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let refuse = |error: job::InvalidName| {
            Wrong::new(format_args!("`{}`", error.value), format_args!("it must be {}", error.rule))
        };
        AccountName::parse(text).map(Self).map_err(refuse)
    }

    fn show(&self) -> Option<String> {
        Some(quoted(self.0.as_str()))
    }
}

/// The name of a region.
#[derive(Debug, Clone)]
pub(crate) struct Region(RegionName);

impl Setting for Region {
    const WANTED: &'static str = "the name of a region";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let refuse = |error: job::InvalidName| {
            Wrong::new(format_args!("`{}`", error.value), format_args!("it must be {}", error.rule))
        };
        RegionName::parse(text).map(Self).map_err(refuse)
    }

    fn show(&self) -> Option<String> {
        Some(quoted(self.0.as_str()))
    }
}

/// Where an account's calls go.
#[derive(Debug, Clone)]
pub(crate) struct ServiceAddress(BaseUrl);

impl Setting for ServiceAddress {
    const WANTED: &'static str = "an address such as \"https://dashscope-intl.aliyuncs.com/api/v1\"";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        parsed(text).map(Self)
    }

    fn show(&self) -> Option<String> {
        Some(quoted(self.0.as_str()))
    }
}

/// A workspace's id.
#[derive(Debug, Clone)]
pub(crate) struct Workspace(WorkspaceId);

impl Setting for Workspace {
    const WANTED: &'static str = "a workspace id";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        parsed(text).map(Self)
    }

    fn show(&self) -> Option<String> {
        Some(quoted(self.0.as_str()))
    }
}
