//! `generate`: one prompt, without the queue.
//!
//! Create, follow, fetch, save. The create call is sent once and never repeated; from then on the task's id is known to the
//! user, whatever happens to this command. All that can be known to go wrong is looked at before it is sent.

mod advice;
mod caller;
mod files;
mod follow;
mod reached;
mod request;
mod save;

use archive::Downloader;
use dashscope::client::{Client, PreparedCreate};
use dashscope::response::TaskReport;
use dashscope::{BaseUrl, ImageRequest, TaskId};
use job::{Micros, Prices, Rules};
use serde::Serialize;

use self::caller::Caller;
use self::files::Target;
use self::follow::follow;
use self::reached::{Reached, links_of};
use self::save::{SavedImage, save_all};
use crate::app::{App, key_failure, queue_failure};
use crate::args::GenerateArgs;
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::output::batch::Cost;
use crate::output::words::{counted, money};
use crate::settings::{Account, Settings};

/// What `generate --json` prints.
#[derive(Debug, Serialize)]
struct GenerateView {
    task: String,
    images: Vec<SavedImage>,
    /// Images of the task that are not among `images`.
    missing: u64,
    texts: Vec<String>,
    billed: u64,
    cost: Cost,
}

/// Everything that one run needs, judged before anything is paid for.
struct Plan<'a> {
    caller: Caller<'a>,
    base_url: &'a BaseUrl,
    request: ImageRequest,
    prepared: PreparedCreate,
    target: Target,
    downloader: Downloader,
    rules: Rules,
    prices: Prices,
    budget_of_day: Option<Micros>,
}

/// Makes images from one prompt.
pub(super) async fn run(app: &App, args: GenerateArgs) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let account = account(&settings, &args)?;
    let client = client(&settings, account)?;
    let request = request::make(app, &settings, &args).await?;
    let target = Target::new(args.output.clone(), args.force, request.n)?;
    let prepared = PreparedCreate::new(&request).or_fail("the request cannot be sent")?;
    let queue = if settings.redis_is_set() { Some(app.queue(&settings).await?) } else { None };
    let quotas = match &queue {
        Some(queue) => {
            let quotas = queue.quotas(account.name()).await;
            quotas.map_err(|error| queue_failure(error, "read the account's limits"))?
        }
        None => None,
    };
    let (limits, _) = account.limits_under(request.model, quotas.as_ref());
    let caller = Caller { client, account: account.name(), limits, queue };
    let plan = Plan {
        caller,
        base_url: account.base_url(),
        prepared,
        target,
        downloader: app.downloader(&settings)?,
        rules: settings.rules(),
        prices: settings.prices(),
        budget_of_day: settings.budgets().per_day,
        request,
    };
    let reached = Reached::default();
    tokio::select! {
        result = plan.carry_out(app, &reached) => result,
        _ = tokio::signal::ctrl_c() => Err(reached.interrupted(account.base_url())),
    }
}

impl Plan<'_> {
    async fn carry_out(&self, app: &App, reached: &Reached) -> Result<u8, Failure> {
        let model = self.request.model;
        self.caller.keep_daily_stop(self.request.n).await?;
        let cost_max = self.prices.per_image(model).times(self.request.n.into());
        self.caller.keep_budgets(cost_max, self.budget_of_day, &self.prices.currency).await?;
        let task = self.caller.create(app, &self.prepared, model, reached).await?;
        app.out.note(&format!("task {task}"));
        let report = follow(app, &self.caller, &task, &self.rules).await?;
        reached.ended(&task);
        let billed = u64::from(report.billed_images());
        let cost = self.prices.per_image(model).times(billed);
        self.caller.book(model, billed, cost).await;
        save_all(app, &self.downloader, &report, &task, &self.target, |image| reached.saved(image)).await;
        self.finish(app, &task, &report, reached.images(), billed, cost)
    }

    fn finish(
        &self,
        app: &App,
        task: &TaskId,
        report: &TaskReport,
        images: Vec<SavedImage>,
        billed: u64,
        cost: Micros,
    ) -> Result<u8, Failure> {
        let currency = &self.prices.currency;
        app.out.note(&format!("{} billed: {}", counted(billed, "image"), money(cost, currency)));
        let saved = images.len() as u64;
        let brought = billed.max((report.output.images.len() + report.output.unusable.len()) as u64);
        let missing = brought.saturating_sub(saved);
        if app.out.json {
            let texts = report.output.texts.iter().map(|text| text.text.clone()).collect();
            let (task, cost) = (task.to_string(), Cost::new(cost, currency));
            app.out.print_json(&GenerateView { task, images, missing, texts, billed, cost })?;
        } else {
            for image in &images {
                app.out.print(&image.path)?;
            }
        }
        if brought == 0 {
            return Err(Failure::message(format!("task {task} brought no images")));
        }
        if missing == 0 {
            return Ok(exit_code::DONE);
        }
        let text = format!("{} of {} of task {task} are not saved", missing, counted(brought, "image"));
        Err(Failure::message(text).exit(exit_code::PARTIAL).hint(links_of(self.base_url, task)))
    }
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
