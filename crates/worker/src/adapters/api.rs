//! The provider behind its HTTP client, one or several keys for each account.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use archive::Sha256Digest;
use async_trait::async_trait;
use bytes::Bytes;
use dashscope::client::{
    BuildClientError, CallError, CancelTaskError, Client, CreateTaskError, ListQuery, NotSent,
    PreparedCreate, Timeouts, UploadError,
};
use dashscope::error::Refusal;
use dashscope::request::OssUri;
use dashscope::response::{QuotaPage, TaskPage, TaskReport};
use dashscope::{ApiKey, BaseUrl, ImageInput, ImageRequest, WorkspaceId};
use job::{AccountName, Model, TaskId};

use super::chain;
use super::uploads::Uploads;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::config::AccountConfig;
use crate::ports::{Answer, CallFault, CreateFault, Created, Gate, ImageApi, Withheld};

/// Tasks on a page of the provider's list.
///
/// Source: ours; no most is documented, and a full page of this size stays far below the most that is read of an answer.
const LIST_PAGE: u32 = 100;

/// [`ImageApi`] over HTTP.
pub struct DashScopeApi {
    accounts: RwLock<Clients>,
    timeouts: Timeouts,
    uploads: Uploads,
    clock: Arc<dyn Clock>,
    chance: Chance,
}

/// The clients of each account.
pub(crate) type Clients = HashMap<AccountName, Arc<Account>>;

/// The clients of one account.
pub(crate) struct Account {
    /// What they were made of.
    made_of: MadeOf,
    /// One for each key.
    clients: Vec<Client>,
    next: AtomicUsize,
}

#[derive(PartialEq)]
struct MadeOf {
    base_url: BaseUrl,
    workspace: Option<WorkspaceId>,
    api_keys: Vec<ApiKey>,
}

impl MadeOf {
    fn of(account: &AccountConfig) -> Self {
        let AccountConfig { base_url, workspace, api_keys, .. } = account.clone();
        Self { base_url, workspace, api_keys }
    }

    fn clients(&self, timeouts: Timeouts) -> Result<Vec<Client>, BuildClientError> {
        let client = |key: &ApiKey| {
            let builder = Client::builder(self.base_url.clone(), key.clone()).timeouts(timeouts);
            match &self.workspace {
                Some(workspace) => builder.workspace(workspace.clone()),
                None => builder,
            }
            .build()
        };
        self.api_keys.iter().map(client).collect()
    }
}

impl Account {
    /// The client for everything but creates: any key of a main account sees all of its tasks.
    fn first(&self) -> Result<&Client, CallFault> {
        self.clients.first().ok_or(CallFault::UnknownAccount)
    }

    /// The client whose turn it is to create.
    fn next(&self) -> Option<&Client> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.clients.get(turn.checked_rem(self.clients.len())?)
    }
}

/// The client of an account cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the client of account `{account}` cannot be made")]
pub struct ApiSetupError {
    /// The account.
    pub account: AccountName,
    /// Why.
    #[source]
    pub source: BuildClientError,
}

impl DashScopeApi {
    /// Clients for all accounts. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// A client cannot be made, for example because no crypto provider is installed.
    pub fn new(
        accounts: &[AccountConfig],
        create_timeout: Duration,
        clock: Arc<dyn Clock>,
        chance: Chance,
    ) -> Result<Self, ApiSetupError> {
        let timeouts = Timeouts { create: create_timeout, ..Timeouts::default() };
        let api = Self { accounts: RwLock::default(), timeouts, uploads: Uploads::default(), clock, chance };
        api.adopt(api.prepare(accounts)?);
        Ok(api)
    }

    /// Clients for those of the accounts that have none yet, or whose address or keys are others now.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub(crate) fn prepare(&self, accounts: &[AccountConfig]) -> Result<Clients, ApiSetupError> {
        let known = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let mut clients = Clients::new();
        for account in accounts {
            let (name, made_of) = (account.name.clone(), MadeOf::of(account));
            // The others keep theirs, with its open connections.
            if known.get(&name).is_some_and(|known| known.made_of == made_of) {
                continue;
            }
            let made = made_of.clients(self.timeouts);
            let made = made.map_err(|source| ApiSetupError { account: name.clone(), source })?;
            clients.insert(name, Arc::new(Account { made_of, clients: made, next: AtomicUsize::new(0) }));
        }
        Ok(clients)
    }

    /// Uses these for every call that begins from now on. Accounts that are not among them keep theirs.
    pub(crate) fn adopt(&self, clients: Clients) {
        for account in clients.keys() {
            // Another key may be another main account's, which cannot see what was uploaded.
            self.uploads.forget(account);
        }
        self.accounts.write().unwrap_or_else(PoisonError::into_inner).extend(clients);
    }

    /// Lets go of an account's clients.
    pub(crate) fn forget(&self, account: &AccountName) {
        self.uploads.forget(account);
        self.accounts.write().unwrap_or_else(PoisonError::into_inner).remove(account);
    }

    fn account(&self, account: &AccountName) -> Result<Arc<Account>, CallFault> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.get(account).cloned().ok_or(CallFault::UnknownAccount)
    }
}

#[async_trait]
impl ImageApi for DashScopeApi {
    async fn create(
        &self,
        account: &AccountName,
        request: &ImageRequest,
        gate: Gate,
    ) -> Result<Created, CreateFault> {
        let known = self.account(account).ok();
        let Some(client) = known.as_ref().and_then(|account| account.next()) else {
            return Err(CreateFault::NotConnected { message: CallFault::UnknownAccount.to_string() });
        };
        let prepared = PreparedCreate::new(request)
            .map_err(|violations| CreateFault::Invalid { message: violations.to_string() })?;
        // The client tells only that its gate refused: why, is kept here.
        let withheld = Arc::new(std::sync::OnceLock::new());
        let noted = withheld.clone();
        let Gate { ready, pass } = gate;
        let gate = move || {
            pass().map_err(|reason| {
                let text = reason.to_string();
                let _ = noted.set(reason);
                NotSent::new(text)
            })
        };
        match client.create_when(&prepared, ready, gate).await {
            Ok(created) => Ok(Created { task: created.task_id, request_id: created.request_id }),
            Err(error) => Err(create_fault(error, withheld.get().copied())),
        }
    }

    async fn fetch(&self, account: &AccountName, task: &TaskId) -> Result<TaskReport, CallFault> {
        self.account(account)?.first()?.fetch_task(task).await.map_err(call_fault)
    }

    async fn list(&self, account: &AccountName, model: Model, page: u32) -> Result<TaskPage, CallFault> {
        let query = ListQuery {
            page_no: Some(page),
            page_size: Some(LIST_PAGE),
            model: Some(model),
            ..ListQuery::default()
        };
        self.account(account)?.first()?.list_tasks(&query).await.map_err(call_fault)
    }

    async fn cancel(&self, account: &AccountName, task: &TaskId) -> Result<(), CallFault> {
        self.account(account)?.first()?.cancel_task(task).await.map_err(|error| match error {
            CancelTaskError::NotCancellable { source } => CallFault::Refused(answer(&source)),
            CancelTaskError::Call { source } => call_fault(source),
        })
    }

    async fn quotas(&self, account: &AccountName, model: Model) -> Result<QuotaPage, CallFault> {
        self.account(account)?.first()?.quotas(Some(model)).await.map_err(call_fault)
    }

    async fn upload(
        &self,
        account: &AccountName,
        model: Model,
        body: Bytes,
        ending: &str,
    ) -> Result<OssUri, CallFault> {
        let sha256 = Sha256Digest::of(&body);
        let now = self.clock.elapsed();
        if let Some(uri) = self.uploads.find(account, model, sha256, now) {
            return Ok(uri);
        }
        // The store overwrites nothing, so that the name must be new.
        let name = format!("{:.16}-{}.{ending}", sha256.to_string(), self.chance.suffix());
        match self.account(account)?.first()?.upload_file(body, &name, model).await {
            Ok(ImageInput::Temporary(uri)) => {
                self.uploads.remember(account, model, sha256, uri.clone(), now);
                Ok(uri)
            }
            Ok(_) => Err(CallFault::Unanswered { message: "the upload brought no address".to_owned() }),
            Err(UploadError::Policy { source }) => Err(call_fault(source)),
            Err(error) => Err(CallFault::Unanswered { message: chain(&error) }),
        }
    }
}

fn create_fault(error: CreateTaskError, withheld: Option<Withheld>) -> CreateFault {
    let timed_out = error.timed_out_waiting();
    let unknown = |otherwise: String| CreateFault::Unknown {
        cause: if timed_out { "timeout".to_owned() } else { otherwise },
    };
    match error {
        // A gate that was closed unasked belongs to a call that was given up.
        CreateTaskError::NotSent { .. } => CreateFault::Withheld(withheld.unwrap_or(Withheld::Stopping)),
        CreateTaskError::Connect { .. } | CreateTaskError::Unsent { .. } => {
            CreateFault::NotConnected { message: chain(&error) }
        }
        CreateTaskError::Refused { source } => CreateFault::Refused(answer(&source)),
        CreateTaskError::Doubtful { source } => unknown(format!("http_{}", source.http_status)),
        CreateTaskError::NoAnswer { .. } => unknown("no_answer".to_owned()),
        CreateTaskError::UnreadableAnswer { http_status, .. } => unknown(format!("unreadable_{http_status}")),
    }
}

fn call_fault(error: CallError) -> CallFault {
    match error.refusal() {
        Some(refusal) => CallFault::Refused(answer(refusal)),
        None => match error.http_status() {
            // A gateway's page: its status says enough.
            Some(http_status) => CallFault::Refused(Answer {
                http_status,
                class: error.class(),
                code: format!("Http{http_status}"),
                message: chain(&error),
                request_id: error.request_id().map(str::to_owned),
                retry_after: error.retry_after(),
            }),
            None => CallFault::Unanswered { message: chain(&error) },
        },
    }
}

fn answer(refusal: &Refusal) -> Answer {
    Answer {
        http_status: refusal.http_status,
        class: refusal.class(),
        code: refusal.error.code().to_owned(),
        message: refusal.error.message().to_owned(),
        request_id: refusal.request_id.clone(),
        retry_after: refusal.retry_after,
    }
}
