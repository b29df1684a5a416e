//! `status`.

use super::outlook::Outlook;
use crate::app::{App, queue_failure};
use crate::exit_code;
use crate::failure::Failure;
use crate::output::account::AccountView;
use crate::output::batch::JobCounts;
use crate::output::budget::WaitingBatchView;
use crate::output::copies::{CopiesView, LostView};
use crate::output::leftovers::LeftoversView;
use crate::output::pauses::HandPauseView;
use crate::output::status::{RestoreView, StatusView};
use crate::output::waiting::WaitingView;
use crate::output::webhooks::HookView;

/// Says what is going on.
pub(super) async fn run(app: &App) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let queue = app.queue(&settings).await?;
    let failed = |error| queue_failure(error, "read the status");
    let counts = queue.counts().await.map_err(failed)?;
    let quarantined = queue.quarantined().await.map_err(failed)?;
    let backlog = queue.copy_backlog().await.map_err(failed)?;
    let losses = queue.losses().await.map_err(failed)?;
    let redis_went_back = queue.last_restore().await.map_err(failed)?.map(RestoreView::from);
    let repairs = queue.repairs().await.map_err(failed)?;
    let outlook = Outlook::look(&queue, &settings).await.map_err(failed)?;
    let now = outlook.now;
    let waiting = WaitingView::of(&outlook.etas(), now);
    let mut accounts = Vec::with_capacity(settings.accounts().len());
    let per_batch = settings.budgets().per_batch;
    let currency = settings.prices().currency;
    let waiting_batches = queue.waiting_batches().await.map_err(failed)?;
    for (account, status) in settings.accounts().iter().zip(&outlook.accounts) {
        let extras = queue.extras(account.name()).await.map_err(failed)?;
        let orphans = queue.orphans(account.name()).await.map_err(failed)?;
        let leftovers = LeftoversView::new(&extras, orphans, &currency);
        let quotas = status.quotas.clone();
        let limits = |model| account.limits_under(model, quotas.as_ref());
        let (status, money) = (status.clone(), outlook.money());
        accounts.push(AccountView::new(
            account.name(),
            status,
            leftovers,
            limits,
            &outlook.by_hand,
            &money,
            now,
        ));
    }
    let webhooks = queue.hook_counts().await.map_err(failed)?;
    let view = StatusView {
        now,
        jobs: JobCounts::of(|state| counts.get(&state).copied().unwrap_or(0), None),
        states: counts.iter().map(|(state, count)| (state.as_str(), *count)).collect(),
        delayed: outlook.delayed,
        quarantined,
        first_link_dies_at: backlog.first_link_dies_at,
        copies: CopiesView::new(&backlog),
        lost: LostView::new(losses, &currency),
        redis_went_back,
        repairs,
        budget_today: outlook.money().of_day(),
        waits_for: outlook.waits_for(),
        waiting_for_budget: waiting_batches
            .iter()
            .map(|batch| WaitingBatchView::new(batch, per_batch, &currency))
            .collect(),
        webhooks: webhooks.into_iter().map(HookView::from).collect(),
        paused: outlook.by_hand.iter().map(HandPauseView::from).collect(),
        waiting,
        no_turn: outlook.waiting.no_turn,
        accounts,
    };
    if app.out.json {
        app.out.print_json(&view)?
    } else {
        app.out.print(&view.render())?
    }
    Ok(exit_code::DONE)
}
