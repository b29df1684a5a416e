//! Asks the provider for the limits of each account, and has the worker go by them where the settings name no figure.
//!
//! One worker does so for each account at a time, once an hour; the others take over what it was told. Not every host answers such
//! questions: then what is documented stays, and nobody is told. It decides nothing about the account: a refusal here opens no
//! breaker. Started by [`crate::run()`].

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use dashscope::WorkspaceId;
use dashscope::response::{QuotaLimit, QuotaPage};
use job::{AccountName, Model};
use queue::{Quota, Quotas};
use tracing::{debug, info};

use crate::config::AccountConfig;
use crate::env::Env;
use crate::permit::query_permit;
use crate::ports::{CallFault, JobsFault};
use crate::silence::heed;

/// How often it is looked at what is known by now. Source: ours; a read of one field.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// For how long an answer is good. Source: ours; limits change when somebody asks the provider for others.
const FRESH: Duration = Duration::from_secs(3_600);

/// For how long the turn is nobody else's while there is no answer. Source: ours; a question takes a timeout at the most, and the next
/// try may come a little later.
const HOLD: Duration = Duration::from_secs(300);

/// The part of the jobs' port that is about what the provider says of limits.
#[async_trait]
pub trait KnownQuotas: Send + Sync {
    /// Asks for the turn to ask the provider: for `hold` it is nobody else's.
    async fn take_quotas_turn(&self, account: &AccountName, hold: Duration) -> Result<bool, JobsFault>;

    /// Stores what it said, for every worker. It is nobody's turn to ask for `fresh`.
    async fn store_quotas(
        &self,
        account: &AccountName,
        quotas: &Quotas,
        fresh: Duration,
    ) -> Result<(), JobsFault>;

    /// What it said last.
    async fn quotas(&self, account: &AccountName) -> Result<Option<Quotas>, JobsFault>;
}

/// Looks until the worker stops; at once when the accounts change.
pub(crate) async fn run(env: &Env) {
    let mut changes = env.accounts.subscribe();
    loop {
        changes.mark_unchanged();
        tokio::select! {
            biased;
            () = env.stop.cancelled() => return,
            () = async {
                round(env).await;
                tokio::select! {
                    _ = changes.changed() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            } => {}
        }
    }
}

/// One look at every account.
pub(crate) async fn round(env: &Env) {
    for account in &env.accounts.now().current {
        let name = &account.name;
        if let Err(fault) = look(env, account).await {
            debug!(account = %name, error = &fault as &dyn std::error::Error, "The quotas of account {name} are looked at later");
        }
    }
}

async fn look(env: &Env, account: &AccountConfig) -> Result<(), JobsFault> {
    let open: Vec<Model> =
        account.limits.keys().copied().filter(|model| !account.set_of(*model).all()).collect();
    if open.is_empty() {
        return Ok(());
    }
    let name = &account.name;
    if env.jobs.take_quotas_turn(name, HOLD).await?
        && let Some(models) = ask(env, account, &open).await
    {
        let quotas = Quotas { at: env.jobs.now(), base_url: account.base_url.to_string(), models };
        env.jobs.store_quotas(name, &quotas, FRESH).await?;
    }
    if let Some(quotas) = env.jobs.quotas(name).await?
        && env.accounts.learn(name, &quotas)
    {
        let known = env.accounts.now();
        for (model, limits) in known.current(name).iter().flat_map(|account| &account.limits) {
            info!(
                account = %name, model = %model, create_per_second = limits.create_per_second, in_flight = limits.in_flight,
                queue_ahead = limits.queue_ahead,
                "Account {name} may create {} tasks of {model} per second and have {} processed at once, by its quotas and the settings",
                limits.create_per_second, limits.in_flight
            );
        }
    }
    Ok(())
}

/// What the provider says of these models. `None`: there was no answer, and another try may bring one.
async fn ask(env: &Env, account: &AccountConfig, models: &[Model]) -> Option<BTreeMap<Model, Quota>> {
    let mut said = BTreeMap::new();
    for model in models {
        query_permit(env, &account.name).await.ok()?;
        let answer = env.api.quotas(&account.name, *model).await;
        // An answer may have been the probe of a breaker. A refusal says nothing of queries: many hosts refuse this one.
        if answer.is_ok() {
            heed(env, &account.name, &answer).await;
        }
        match answer {
            Ok(page) => {
                let quota = read(&page, *model, account.workspace.as_ref());
                said.extend((quota != Quota::default()).then_some((*model, quota)));
            }
            // A host without such an answer: that is how it is there. Any other trouble passes, and what was told before holds until then.
            Err(CallFault::Refused(answer)) if matches!(answer.http_status, 404 | 405 | 501) => {
                debug!(account = %account.name, code = answer.code, "Account {} is told no quotas: what is documented stays", account.name);
            }
            Err(fault) => {
                debug!(account = %account.name, "The quotas of account {} were not told: {fault}", account.name);
                return None;
            }
        }
    }
    Some(said)
}

/// The smallest of what is said of a model: of the account, and of the workspace that it acts in. Pure.
///
/// A figure of 0 is one that is not told: nobody may create nothing.
fn read(page: &QuotaPage, model: Model, workspace: Option<&WorkspaceId>) -> Quota {
    let of_model = page.quotas.iter().filter(|quota| quota.model == model.as_str());
    let mine = |of: &Option<String>| match (workspace, of) {
        (Some(mine), Some(of)) => of == mine.as_str(),
        _ => true,
    };
    let limits: Vec<QuotaLimit> = of_model
        .filter(|quota| mine(&quota.workspace_id))
        .flat_map(|quota| [quota.model_limit, quota.workspace_limit])
        .flatten()
        .collect();
    let rate = |limit: &QuotaLimit| {
        let (calls, seconds) = (limit.request_limit?, limit.request_limit_period_seconds.unwrap_or(1));
        // More is no figure that could be kept to. Source: as for the setting.
        (calls > 0 && seconds > 0).then(|| (calls as f64 / seconds as f64).min(1e6))
    };
    let least = |of: fn(&QuotaLimit) -> Option<u64>| {
        let least = limits.iter().filter_map(of).filter(|number| *number > 0).min()?;
        // As for the settings.
        Some(u32::try_from(least).unwrap_or(u32::MAX).min(100_000))
    };
    Quota {
        create_per_second: limits.iter().filter_map(rate).min_by(f64::total_cmp),
        in_flight: least(|limit| limit.async_user_concurrency_limit),
        pending: least(|limit| limit.async_user_queue_limit),
    }
}

#[cfg(test)]
mod tests {
    use dashscope::error::ErrorClass;
    use dashscope::response::Quota as Row;
    use queue::SetFigures;

    use super::*;
    use crate::ports::Answer;
    use crate::testing::World;

    const MODEL: Model = Model::Wan27Image;

    fn limit(calls: u64, seconds: u64, at_once: u64, pending: u64) -> QuotaLimit {
        QuotaLimit {
            request_limit: Some(calls),
            request_limit_period_seconds: Some(seconds),
            async_user_concurrency_limit: Some(at_once),
            async_user_queue_limit: Some(pending),
            ..QuotaLimit::default()
        }
    }

    fn row(workspace: &str, model_limit: QuotaLimit, workspace_limit: Option<QuotaLimit>) -> Row {
        let (model, workspace_id) = (MODEL.as_str().to_owned(), Some(workspace.to_owned()));
        Row { model, workspace_id, model_limit: Some(model_limit), workspace_limit }
    }

    fn page(quotas: Vec<Row>) -> QuotaPage {
        QuotaPage { request_id: None, quotas }
    }

    fn refused(http_status: u16) -> CallFault {
        let class = ErrorClass::NotFound;
        let (code, message) = ("NotFound".to_owned(), String::new());
        CallFault::Refused(Answer { http_status, class, code, message, request_id: None, retry_after: None })
    }

    #[test]
    fn the_smaller_of_the_account_s_and_the_workspace_s_limit_counts() {
        let of = page(vec![row("ws-1", limit(10, 1, 20, 50), Some(limit(300, 60, 30, 40)))]);
        let quota = Quota { create_per_second: Some(5.0), in_flight: Some(20), pending: Some(40) };
        assert_eq!(read(&of, MODEL, None), quota);
        assert_eq!(read(&of, Model::Wan27ImagePro, None), Quota::default(), "nothing is said of it");
    }

    #[test]
    fn another_workspace_s_limit_is_not_ours() {
        let rows = vec![
            row("ws-1", limit(10, 1, 20, 50), Some(limit(1, 1, 1, 1))),
            row("ws-2", limit(10, 1, 20, 50), Some(limit(4, 1, 8, 9))),
        ];
        let ours: WorkspaceId = "ws-2".parse().unwrap();
        let quota = Quota { create_per_second: Some(4.0), in_flight: Some(8), pending: Some(9) };
        assert_eq!(read(&page(rows), MODEL, Some(&ours)), quota);
    }

    #[test]
    fn a_figure_of_nothing_is_not_told() {
        let quota = read(&page(vec![row("ws-1", limit(0, 1, 0, 0), Some(limit(7, 0, 3, 0)))]), MODEL, None);
        assert_eq!(quota, Quota { create_per_second: None, in_flight: Some(3), pending: None });
    }

    #[test]
    fn a_figure_beyond_all_measure_is_cut() {
        let most = read(&page(vec![row("ws-1", limit(u64::MAX, 1, u64::MAX, u64::MAX), None)]), MODEL, None);
        assert_eq!(
            most,
            Quota { create_per_second: Some(1e6), in_flight: Some(100_000), pending: Some(100_000) }
        );
    }

    fn limits_of(world: &World) -> queue::AccountLimits {
        world.env.accounts.now().current[0].limits[&MODEL]
    }

    #[tokio::test]
    async fn an_account_goes_by_its_quotas_and_every_worker_learns_of_them() {
        let world = World::new();
        world.api.on_quotas(Ok(page(vec![row("ws-1", limit(2, 1, 20, 3), None)])));
        round(&world.env).await;
        let limits = limits_of(&world);
        assert_eq!((limits.create_per_second, limits.in_flight, limits.queue_ahead), (2.0, 20, 3));
        // It is asked once; what was told is read again.
        round(&world.env).await;
        assert_eq!(world.api.log(), ["quotas wan2.7-image"]);
        let stored = world.jobs.quotas(&"a".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(stored.models[&MODEL].in_flight, Some(20));

        // An account that is read again from the settings keeps them; at another address they are nobody's.
        let mut account = world.env.accounts.now().current[0].clone();
        account.limits.insert(MODEL, queue::AccountLimits::default());
        assert!(world.env.accounts.replace(vec![account.clone()]).is_empty());
        assert_eq!(limits_of(&world).in_flight, 20);
        account.base_url = "http://127.0.0.1:2/api/v1".parse().unwrap();
        world.env.accounts.replace(vec![account]);
        assert_eq!(limits_of(&world).in_flight, 5);
    }

    #[tokio::test]
    async fn what_the_settings_name_is_not_asked_about() {
        let all = SetFigures { create_per_second: true, in_flight: true, queue_ahead: true };
        let world = World::with(|config| config.accounts[0].set = BTreeMap::from([(MODEL, all)]));
        round(&world.env).await;
        assert!(world.api.log().is_empty());
    }

    #[tokio::test]
    async fn a_host_without_quotas_leaves_what_is_documented_and_opens_no_breaker() {
        for status in [404, 405] {
            let world = World::new();
            world.api.on_quotas(Err(refused(status)));
            round(&world.env).await;
            round(&world.env).await;
            assert_eq!(limits_of(&world), queue::AccountLimits::default());
            assert_eq!(
                world.api.log(),
                ["quotas wan2.7-image"],
                "it is not asked again before the hour is over"
            );
            assert!(world.jobs.turns().is_empty());
        }
    }

    #[tokio::test]
    async fn a_question_without_an_answer_says_nothing_about_quotas() {
        for fault in [CallFault::Unanswered { message: "reset".to_owned() }, refused(502), refused(429)] {
            let world = World::new();
            world.api.on_quotas(Err(fault));
            round(&world.env).await;
            assert_eq!(world.jobs.quotas(&"a".parse().unwrap()).await.unwrap(), None);
        }
    }
}
