//! The calls of `generate`, and the books that it keeps together with the workers of its account.
//!
//! Where Redis is set, every call takes a permit, a create is announced before it is sent, and what was billed is counted. All
//! of it is left out where Redis is not set: then nobody knows what others send.

use std::time::Duration;

use dashscope::client::{Client, CreateTaskError, NotSent, PreparedCreate};
use dashscope::{Model, TaskId};
use job::{AccountName, Micros};
use queue::{AccountLimits, AccountStatus, CREATE_LATE_MAX, CreateTime, Permit, Queue, Spent};

use super::advice::{hint_of, with_hint};
use super::reached::{LOOK_FIRST, Reached};
use crate::app::{App, queue_failure};
use crate::exit_code;
use crate::failure::Failure;
use crate::output::words::{count, counted, span};

/// How long after its permit a create goes out: it is announced, and a connection is opened. Source: ours.
const LEAD: Duration = Duration::from_millis(300);

/// How many moments a create may miss, the way to each twice as long as to the one before. Source: ours; the last is 5 s away, at most
/// twice that, and a connection that is opened for it lives longer.
const MOMENTS_MAX: u32 = 5;

/// A client of an account, and what it may do.
pub(super) struct Caller<'a> {
    /// The client.
    pub(super) client: Client,
    /// The account.
    pub(super) account: &'a AccountName,
    /// What it may do with the model.
    pub(super) limits: AccountLimits,
    /// Where limits are shared with workers.
    pub(super) queue: Option<Queue>,
}

impl Caller<'_> {
    /// Refuses images beyond the account's stop for one UTC day. Without Redis nobody knows what was made today.
    ///
    /// # Errors
    ///
    /// Too many, or Redis cannot be asked.
    pub(super) async fn keep_daily_stop(&self, images: u8) -> Result<(), Failure> {
        let (Some(queue), Some(most)) = (&self.queue, self.limits.images_per_day) else { return Ok(()) };
        let status = queue.account_status(self.account).await;
        let status = status.map_err(|error| queue_failure(error, "ask how many images were made today"))?;
        within_daily_stop(self.account, most, &status, images)
    }

    /// Refuses what the budgets of the day have no room for. Without Redis nobody knows what was spent today.
    ///
    /// # Errors
    ///
    /// Too dear, or Redis cannot be asked.
    pub(super) async fn keep_budgets(
        &self,
        cost_max: Micros,
        per_day: Option<Micros>,
        currency: &str,
    ) -> Result<(), Failure> {
        let Some(queue) = &self.queue else { return Ok(()) };
        let failed = |error| queue_failure(error, "ask what was spent today");
        if per_day.is_some() {
            let spent = queue.spent_today().await.map_err(failed)?;
            within_budget("the budget of the day", per_day, spent, cost_max, currency)?;
        }
        if self.limits.cost_per_day.is_some() {
            let status = queue.account_status(self.account).await.map_err(failed)?;
            let whose = format!("the day's budget of account `{}`", self.account);
            within_budget(&whose, self.limits.cost_per_day, status.spent_today, cost_max, currency)?;
        }
        Ok(())
    }

    /// Makes the paid call, once, at a moment that is its own where limits are shared. What misses its moment was not sent, and takes
    /// another.
    ///
    /// # Errors
    ///
    /// Redis cannot be asked or told, and nothing was sent; or the call failed.
    pub(super) async fn create(
        &self,
        app: &App,
        prepared: &PreparedCreate,
        model: Model,
        reached: &Reached,
    ) -> Result<TaskId, Failure> {
        let Some(queue) = &self.queue else {
            reached.sending();
            let created = self.client.create(prepared, || Ok(())).await.map_err(create_failure)?;
            reached.created(&created.task_id);
            return Ok(created.task_id);
        };
        for n in 0..MOMENTS_MAX {
            let send_at = self.moment(app, queue, model, LEAD * 2_u32.pow(n)).await?;
            if let Some(task) = self.create_at(app, queue, prepared, model, send_at, reached).await? {
                return Ok(task);
            }
        }
        let text = format!(
            "no task was created: a connection was not ready in time for {}",
            counted(MOMENTS_MAX.into(), "permit")
        );
        let hint = "is this machine, or its way to the service, overloaded? Nothing was sent; try again";
        Err(Failure::message(text).exit(exit_code::UNAVAILABLE).hint(hint))
    }

    /// Makes the paid call at `send_at`; `None`: it missed that, and was not sent.
    ///
    /// Those who share the account are told before it and after it: a task that none of them knows must not be taken for one of their
    /// jobs. That it is sent when it was announced matters for the same reason.
    async fn create_at(
        &self,
        app: &App,
        queue: &Queue,
        prepared: &PreparedCreate,
        model: Model,
        send_at: Duration,
        reached: &Reached,
    ) -> Result<Option<TaskId>, Failure> {
        let stray = queue.announce_create(self.account, model).await;
        let stray = stray.map_err(|error| queue_failure(error, "announce the task; none was created"))?;
        reached.sending();
        let (clock, last_look) = (app.clock.clone(), app.clock.clone());
        let ready = async move {
            while let Some(left) = send_at.checked_sub(clock.elapsed()).filter(|left| !left.is_zero()) {
                tokio::time::sleep(left).await;
            }
        };
        let gate = move || match is_late(send_at, last_look.elapsed()) {
            true => Err(NotSent::new("the moment of its permit has passed")),
            false => Ok(()),
        };
        let result = self.client.create_when(prepared, ready, gate).await.map(|answer| answer.task_id);
        if let Ok(task) = &result {
            reached.created(task);
        }
        // What cannot be said now stays announced, which is safe: it only makes the settler more careful for a day.
        match &result {
            Ok(task) => {
                if let Err(error) = queue.own_task(self.account, &stray, task).await {
                    tracing::warn!(task.id = %task, "Task {task} could not be marked as ours: {error}");
                }
            }
            Err(error) if error.may_have_created_task() => {}
            Err(_) => {
                if let Err(error) = queue.withdraw_create(&stray).await {
                    tracing::warn!("A create that was not carried out stays announced: {error}");
                }
            }
        }
        match result {
            Err(CreateTaskError::NotSent { .. }) => {
                reached.not_sent();
                Ok(None)
            }
            result => result.map(Some).map_err(create_failure),
        }
    }

    /// Counts what was billed among the account's images of the day. Where that fails it is said, and the images stand.
    pub(super) async fn book(&self, model: Model, billed: u64, cost: Micros) {
        let Some(queue) = &self.queue else { return };
        if billed == 0 {
            return;
        }
        if let Err(error) = queue.book_images(self.account, model, billed, cost).await {
            let images = counted(billed, "image");
            tracing::warn!("{images} could not be counted among the account's images of the day: {error}");
        }
    }

    /// When the create may be sent, by the local clock: waits until that is near, and leaves it `lead` to get there.
    async fn moment(
        &self,
        app: &App,
        queue: &Queue,
        model: Model,
        lead: Duration,
    ) -> Result<Duration, Failure> {
        let mut said = false;
        loop {
            let time = queue.take_create_time(self.account, model, &self.limits, lead, 2 * lead).await;
            match time.map_err(|error| queue_failure(error, "take a permit"))? {
                CreateTime::In(wait) => return Ok(app.clock.elapsed() + wait),
                CreateTime::Wait(wait) => self.wait(app, wait, &mut said).await,
            }
        }
    }

    /// Waits for leave to ask, where limits are shared.
    ///
    /// # Errors
    ///
    /// Redis cannot be asked.
    pub(super) async fn query_permit(&self, app: &App) -> Result<(), Failure> {
        let Some(queue) = &self.queue else { return Ok(()) };
        let mut said = false;
        loop {
            let permit = queue.take_query_permit(self.account, &self.limits).await;
            match permit.map_err(|error| queue_failure(error, "take a permit"))? {
                // A probe's answer is for the workers to judge: this one only counts as lost.
                Permit::In(wait) | Permit::ProbeIn(wait) => {
                    tokio::time::sleep(wait).await;
                    return Ok(());
                }
                Permit::Wait(wait) => self.wait(app, wait, &mut said).await,
            }
        }
    }

    async fn wait(&self, app: &App, wait: Duration, said: &mut bool) {
        if wait > Duration::from_secs(2) && !*said {
            app.out.note(&format!("waiting for the account's limits, about {}", span(wait)));
            *said = true;
        }
        tokio::time::sleep(wait.min(Duration::from_secs(5))).await;
    }
}

/// Whether a create that was to go out at `send_at` has missed that, or would be before it.
fn is_late(send_at: Duration, now: Duration) -> bool {
    now.checked_sub(send_at).is_none_or(|late| late > CREATE_LATE_MAX)
}

fn within_daily_stop(
    account: &AccountName,
    most: u64,
    status: &AccountStatus,
    images: u8,
) -> Result<(), Failure> {
    let reserved = u64::try_from(status.reserved).unwrap_or(0);
    if status.images_today.saturating_add(reserved).saturating_add(images.into()) <= most {
        return Ok(());
    }
    let text = format!(
        "account `{account}` makes at most {} per UTC day: {} are billed, {} more may come of jobs under way, and this asks \
         for {images}",
        counted(most, "image"),
        count(status.images_today),
        count(reserved),
    );
    let hint =
        "wait for the next UTC day, ask for fewer with -n, or raise `max_images_per_day` of the account";
    Err(Failure::message(text).exit(exit_code::FAILED).hint(hint))
}

fn within_budget(
    whose: &str,
    budget: Option<Micros>,
    spent: Spent,
    cost_max: Micros,
    currency: &str,
) -> Result<(), Failure> {
    match (budget, spent.left_of(budget)) {
        (Some(budget), Some(left)) if left < cost_max => {
            let Spent { booked, reserved } = spent;
            let text = format!(
                "{whose} is {budget} {currency}: {booked} is spent, {reserved} may come of jobs under way, and this may cost {cost_max}"
            );
            let hint =
                "wait for the next UTC day, ask for fewer with -n, or raise the budget in the settings";
            Err(Failure::message(text).exit(exit_code::FAILED).hint(hint))
        }
        _ => Ok(()),
    }
}

fn create_failure(error: CreateTaskError) -> Failure {
    let code = match &error {
        CreateTaskError::Connect { .. } | CreateTaskError::Unsent { .. } => exit_code::UNAVAILABLE,
        _ => exit_code::FAILED,
    };
    let hint = if error.may_have_created_task() { Some(LOOK_FIRST) } else { hint_of(error.class()) };
    with_hint(Failure::new(error).context("failed to create the task").exit(code), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_of_the_day_has_room_for_what_is_not_spent_and_not_reserved() {
        let spent = Spent { booked: Micros(9_700_000), reserved: Micros(150_000) };
        let judge = |budget, cost| within_budget("the budget of the day", budget, spent, Micros(cost), "USD");
        let ten = Some(Micros(10_000_000));
        assert!(judge(ten, 150_000).is_ok() && judge(None, i64::MAX).is_ok());
        let failure = judge(ten, 150_001).unwrap_err();
        assert_eq!(failure.exit_code, exit_code::FAILED);
        insta::assert_snapshot!(crate::report::render(&failure), @r"
        error: the budget of the day is 10.00 USD: 9.70 is spent, 0.15 may come of jobs under way, and this may cost 0.150001

        hint: wait for the next UTC day, ask for fewer with -n, or raise the budget in the settings
        ");
    }

    #[test]
    fn the_daily_stop_counts_what_is_billed_and_what_may_still_come() {
        let account = AccountName::parse("singapore").unwrap();
        let judge = |today, reserved, images| {
            let status = AccountStatus { images_today: today, reserved, ..AccountStatus::default() };
            within_daily_stop(&account, 2_000, &status, images)
        };
        assert!(judge(1_990, 6, 4).is_ok());
        assert!(judge(1_990, -3, 10).is_ok());
        assert!(judge(u64::MAX, 0, 1).is_err());
        let failure = judge(1_990, 7, 4).unwrap_err();
        assert_eq!(failure.exit_code, exit_code::FAILED);
        insta::assert_snapshot!(crate::report::render(&failure), @r"
        error: account `singapore` makes at most 2,000 images per UTC day: 1,990 are billed, 7 more may come of jobs under way, and this asks for 4

        hint: wait for the next UTC day, ask for fewer with -n, or raise `max_images_per_day` of the account
        ");
    }
}
