//! `generate`: one prompt, without the queue.
//!
//! Create, follow, fetch, save. The create call is sent once and never repeated; from then on the task's id is known to the
//! user, whatever happens to this command.

mod files;
mod request;

use std::time::Duration;

use archive::{ByteBudget, Downloader};
use dashscope::client::{CallError, Client, CreateTaskError, PreparedCreate};
use dashscope::error::AccountFault;
use dashscope::{ErrorClass, Model, TaskId, TaskStatus};
use job::{Micros, Rules, TaskPhase};
use queue::{AccountLimits, Call, Queue};
use rand::RngExt as _;
use serde::Serialize;

use self::files::Target;
use crate::app::{App, key_failure, queue_failure};
use crate::args::GenerateArgs;
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::output::batch::Cost;
use crate::output::words::{counted, money, span};
use crate::settings::{Account, Settings};

/// How often an image is fetched before it is given up. The link lives for a day: whoever needs it can run nothing cheaper
/// than this again.
const FETCH_TRIES: u32 = 5;

/// Answers of UNKNOWN in a row after which the task is given up.
const UNKNOWNS_MAX: u32 = 5;

/// What `generate --json` prints.
#[derive(Debug, Serialize)]
struct GenerateView {
    task: String,
    images: Vec<SavedImage>,
    /// Images that were billed and are not among `images`.
    missing: u64,
    texts: Vec<String>,
    billed: u64,
    cost: Cost,
}

/// An image on disk.
#[derive(Debug, Serialize)]
pub(super) struct SavedImage {
    path: String,
    bytes: u64,
    width: u32,
    height: u32,
    sha256: String,
}

/// A client of an account, and what it may do.
struct Caller<'a> {
    client: Client,
    account: &'a Account,
    limits: AccountLimits,
    /// Where limits are shared with workers.
    queue: Option<Queue>,
}

/// Makes images from one prompt.
pub(super) async fn run(app: &App, args: GenerateArgs) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let account = account(&settings, &args)?;
    let caller = Caller {
        client: client(&settings, account)?,
        account,
        limits: account.limits_of(args.request.model.unwrap_or(Model::Wan27Image)),
        queue: if settings.redis_is_set() { Some(app.queue(&settings).await?) } else { None },
    };
    let request = request::make(app, &settings, &args).await?;
    let target = Target::new(args.output.clone(), args.force, request.n)?;
    let downloader = app.downloader(&settings)?;
    let prepared = PreparedCreate::new(&request).or_fail("the request cannot be sent")?;
    let rules = settings.rules();

    caller.permit(app, Call::Create(Some(request.model))).await?;
    let task = caller.create(&prepared, request.model).await?;
    app.out.note(&format!("task {task}"));
    let followed = tokio::select! {
        report = follow(app, &caller, &task, &rules) => report,
        _ = tokio::signal::ctrl_c() => {
            let text = format!("interrupted; task {task} goes on at DashScope, and is billed");
            return Err(Failure::message(text).exit(exit_code::INTERRUPTED));
        }
    };
    let report = followed?;
    let billed = u64::from(report.billed_images());
    let prices = settings.prices();
    let cost = prices.per_image(request.model).times(billed);
    let saved = save_all(app, &downloader, &report, &task, &target).await?;
    app.out.note(&format!("{} billed: {}", counted(billed, "image"), money(cost, &prices.currency)));
    let missing = billed.saturating_sub(saved.len() as u64);
    finish(app, &task, &report, saved, missing, billed, cost, &prices.currency)
}

#[expect(clippy::too_many_arguments, reason = "the parts of one answer, with one caller")]
fn finish(
    app: &App,
    task: &TaskId,
    report: &dashscope::response::TaskReport,
    images: Vec<SavedImage>,
    missing: u64,
    billed: u64,
    cost: Micros,
    currency: &str,
) -> Result<u8, Failure> {
    if app.out.json {
        let texts = report.output.texts.iter().map(|text| text.text.clone()).collect();
        let task = task.to_string();
        app.out.print_json(&GenerateView {
            task,
            images,
            missing,
            texts,
            billed,
            cost: Cost::new(cost, currency),
        })?;
    } else {
        for image in &images {
            app.out.print(&image.path)?;
        }
    }
    Ok(if missing > 0 { exit_code::PARTIAL } else { exit_code::DONE })
}

fn account<'s>(settings: &'s Settings, args: &GenerateArgs) -> Result<&'s Account, Failure> {
    let accounts = settings.accounts();
    let found = match &args.account {
        None => accounts.first(),
        Some(name) => accounts.iter().find(|account| account.name() == name),
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = accounts.iter().map(|account| account.name().as_str()).collect();
        let text = "the settings have no such account".to_owned();
        Failure::message(text).exit(exit_code::USAGE).hint(format!("they have {}", names.join(", ")))
    })
}

fn client(settings: &Settings, account: &Account) -> Result<Client, Failure> {
    let key = account.keys(settings.environment()).map_err(key_failure)?.swap_remove(0);
    let timeouts =
        dashscope::client::Timeouts { create: settings.rules().create_timeout, ..Default::default() };
    let builder = Client::builder(account.base_url().clone(), key).timeouts(timeouts);
    let builder = match account.workspace() {
        Some(workspace) => builder.workspace(workspace.clone()),
        None => builder,
    };
    builder.build().or_fail("failed to set up the client of DashScope")
}

impl Caller<'_> {
    /// Makes the paid call, once. Where workers share the account they are told before it and after it: a task that none of
    /// them knows must not be taken for one of their jobs.
    async fn create(&self, prepared: &PreparedCreate, model: Model) -> Result<TaskId, Failure> {
        let name = self.account.name();
        let announced = match &self.queue {
            None => None,
            Some(queue) => {
                let stray = queue.announce_create(name, model).await;
                Some((
                    queue,
                    stray.map_err(|error| queue_failure(error, "announce the task; none was created"))?,
                ))
            }
        };
        let result = self.client.create(prepared, || Ok(())).await;
        let Some((queue, stray)) = &announced else {
            return result.map(|created| created.task_id).map_err(create_failure);
        };
        // What cannot be said now stays announced, which is safe: it only makes the settler more careful for a day.
        match result {
            Ok(created) => {
                let task = created.task_id;
                if let Err(error) = queue.own_task(name, stray, &task).await {
                    tracing::warn!(task.id = %task, "Task {task} could not be marked as ours: {error}");
                }
                Ok(task)
            }
            Err(error) => {
                if !error.may_have_created_task()
                    && let Err(error) = queue.withdraw_create(stray).await
                {
                    tracing::warn!("A create that was not carried out stays announced: {error}");
                }
                Err(create_failure(error))
            }
        }
    }

    /// Waits for leave to call, where limits are shared.
    async fn permit(&self, app: &App, call: Call) -> Result<(), Failure> {
        let Some(queue) = &self.queue else { return Ok(()) };
        let mut said = false;
        loop {
            let wait = queue.take_permit(self.account.name(), call, &self.limits).await;
            let Some(wait) = wait.map_err(|error| queue_failure(error, "take a permit"))? else {
                return Ok(());
            };
            if wait > Duration::from_secs(2) && !said {
                app.out.note(&format!("waiting for the account's limits, about {}", span(wait)));
                said = true;
            }
            tokio::time::sleep(wait.min(Duration::from_secs(5))).await;
        }
    }
}

/// Asks for the task until it is final, and gives its report if it succeeded.
async fn follow(
    app: &App,
    caller: &Caller<'_>,
    task: &TaskId,
    rules: &Rules,
) -> Result<dashscope::response::TaskReport, Failure> {
    let began = app.clock.elapsed();
    let (mut polls, mut unknowns, mut phase) = (0, 0, TaskPhase::Pending);
    let mut rng = app.rng();
    loop {
        let age = app.clock.elapsed().saturating_sub(began);
        tokio::time::sleep(rules.poll.wait(age, polls, phase, rng.random())).await;
        caller.permit(app, Call::Query).await?;
        let report = match caller.client.fetch_task(task).await {
            Ok(report) => report,
            // The task is paid for: what may pass is waited out.
            Err(error) if error.is_retryable() => {
                tracing::warn!(task.id = %task, "A query for task {task} failed: {error}");
                if let Some(pause) = error.retry_after() {
                    tokio::time::sleep(pause.min(Duration::from_secs(60))).await;
                }
                polls += 1;
                continue;
            }
            Err(error) => return Err(query_failure(error, task)),
        };
        unknowns = if report.status == TaskStatus::Unknown { unknowns + 1 } else { 0 };
        match &report.status {
            TaskStatus::Succeeded => return Ok(report),
            TaskStatus::Failed | TaskStatus::Canceled => return Err(task_failure(task, &report)),
            TaskStatus::Unknown if unknowns >= UNKNOWNS_MAX => {
                return Err(Failure::message(format!("DashScope does not know task {task}")));
            }
            status => {
                phase = if *status == TaskStatus::Running { TaskPhase::Running } else { TaskPhase::Pending };
                tracing::info!(task.id = %task, "Task {task} is {status} after {}", span(age));
            }
        }
        polls += 1;
    }
}

async fn save_all(
    app: &App,
    downloader: &Downloader,
    report: &dashscope::response::TaskReport,
    task: &TaskId,
    target: &Target,
) -> Result<Vec<SavedImage>, Failure> {
    let budget = ByteBudget::new(archive::BODY_BYTES_MAX);
    let several = report.output.images.len() > 1;
    let mut saved = Vec::with_capacity(report.output.images.len());
    for (index, image) in report.output.images.iter().enumerate() {
        let path = target.path(task, index, several);
        let mut tries = 0;
        let fetched = loop {
            tries += 1;
            match downloader.fetch(&image.url, &budget).await {
                Err(error) if error.is_retryable() && tries < FETCH_TRIES => {
                    tokio::time::sleep(Duration::from_secs(1) * tries).await;
                }
                result => break result,
            }
        };
        match fetched {
            Ok(image) => {
                target.save(&path, &image.body)?;
                saved.push(SavedImage {
                    path: path.display().to_string(),
                    bytes: image.facts.bytes,
                    width: image.facts.width,
                    height: image.facts.height,
                    sha256: image.facts.sha256.to_string(),
                });
            }
            Err(error) => {
                let failure = Failure::new(error).context(format!("image {index} could not be fetched"));
                let said: Vec<String> = failure.error.chain().map(ToString::to_string).collect();
                app.out.note(&format!("warning: {}", said.join(": ")));
            }
        }
    }
    for item in &report.output.unusable {
        app.out.note(&format!("warning: an image is missing: {}", item.reason));
    }
    if saved.is_empty() {
        let text = format!("none of the images of task {task} could be saved");
        return Err(Failure::message(text).exit(exit_code::PARTIAL).hint("the task keeps them for 24 h"));
    }
    Ok(saved)
}

fn create_failure(error: CreateTaskError) -> Failure {
    let code = match &error {
        CreateTaskError::Connect { .. } | CreateTaskError::Unsent { .. } => exit_code::UNAVAILABLE,
        _ => exit_code::FAILED,
    };
    let hint = if error.may_have_created_task() {
        Some("a task may exist and be billed: look at the account's tasks before you try again")
    } else {
        hint_of(error.class())
    };
    with_hint(Failure::new(error).context("failed to create the task").exit(code), hint)
}

fn query_failure(error: CallError, task: &TaskId) -> Failure {
    let hint = hint_of(error.class());
    let text = format!("failed to follow task {task}, which goes on at DashScope");
    with_hint(Failure::new(error).context(text), hint)
}

fn task_failure(task: &TaskId, report: &dashscope::response::TaskReport) -> Failure {
    let text = format!("task {task} is {}; nothing is billed", report.status);
    match &report.failure {
        Some(error) => {
            let hint = hint_of(error.class());
            with_hint(Failure::new(error.clone()).context(text), hint)
        }
        None => Failure::message(text),
    }
}

fn with_hint(failure: Failure, hint: Option<&str>) -> Failure {
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// What a person can do about a class of error.
fn hint_of(class: ErrorClass) -> Option<&'static str> {
    match class {
        ErrorClass::Moderation => {
            Some("the provider's content rules hold back the prompt, an input or the result")
        }
        ErrorClass::InputDownload => {
            Some("the service could not fetch an input image: is its link open to it?")
        }
        ErrorClass::AccountFault { kind: AccountFault::Key } => {
            Some("the key is wrong, or belongs to another region than the base URL")
        }
        ErrorClass::AccountFault { .. } => {
            Some("the account has to be put in order in the console of Model Studio")
        }
        ErrorClass::ModelNotOpened => {
            Some("this model has to be opened for the account, or the region does not have it")
        }
        ErrorClass::Throttled { .. } | ErrorClass::Capacity => Some("try again in a while"),
        _ => None,
    }
}
