use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use job::TaskPhase;
use queue::ExtraTask;

use super::reload::{moved, over};
use super::*;
use crate::testing::{World, start};

fn name(text: &str) -> AccountName {
    text.parse().unwrap()
}

/// An account with two models.
fn account(text: &str) -> AccountConfig {
    let mut account = World::new().env.accounts.now().current[0].clone();
    account.name = name(text);
    let limits = account.limits.values().next().copied().unwrap();
    account.limits = Model::ALL.map(|model| (model, limits)).into();
    account
}

fn names(accounts: &[AccountConfig]) -> Vec<&str> {
    accounts.iter().map(|account| account.name.as_str()).collect()
}

#[test]
fn what_the_settings_no_longer_have_begins_nothing_and_is_still_known() {
    let accounts = Accounts::new(vec![account("a"), account("b")]);
    let changes = accounts.replace(vec![account("b"), account("c")]);
    assert_eq!(changes, Changes { added: vec![name("c")], changed: vec![], removed: vec![name("a")] });
    let known = accounts.now();
    assert_eq!((names(&known.current), names(&known.former)), (vec!["b", "c"], vec!["a"]));
    assert!(known.current(&name("a")).is_none() && known.any(&name("a")).is_some());

    // It stays known for as long as it takes, however often the settings are read, and may come back.
    let changes = accounts.replace(vec![account("c")]);
    assert_eq!(changes.removed, [name("b")], "what is gone already is not told again");
    assert_eq!(names(&accounts.now().former), ["b", "a"]);
    let changes = accounts.replace(vec![account("c"), account("a")]);
    assert_eq!(changes.added, [name("a")]);
    assert_eq!(names(&accounts.now().former), ["b"]);
    accounts.forget(&name("b"));
    assert!(accounts.now().any(&name("b")).is_none());
}

#[test]
fn accounts_that_are_read_again_as_they_were_are_no_change() {
    let accounts = Accounts::new(vec![account("a")]);
    assert!(accounts.replace(vec![account("a")]).is_empty());
    let other = AccountConfig {
        api_keys: vec![dashscope::ApiKey::new("sk-another0123456789").unwrap()],
        ..account("a")
    };
    let changes = accounts.replace(vec![other.clone()]);
    assert_eq!((changes.changed, changes.added, changes.removed), (vec![name("a")], vec![], vec![]));
    assert_eq!(accounts.now().current[0].api_keys, other.api_keys);
}

/// Who was started and who ended, in order.
type Log = Arc<Mutex<Vec<String>>>;

/// Ends once its account is no longer one of the settings; asks every second, as fetchers do.
async fn follower(accounts: Accounts, stop: CancellationToken, of: AccountName, log: Log) -> Ended {
    log.lock().unwrap().push(format!("{of} begins"));
    loop {
        if accounts.now().current(&of).is_none() {
            log.lock().unwrap().push(format!("{of} ends"));
            return Ended::Unwanted;
        }
        tokio::select! {
            () = stop.cancelled() => return Ended::Stopped,
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_account_has_one_task_for_as_long_as_it_is_in_the_settings() {
    let (accounts, stop, log) = (Accounts::new(vec![account("a")]), CancellationToken::new(), Log::default());
    let all = {
        let (accounts, stop, log) = (accounts.clone(), stop.clone(), log.clone());
        tokio::spawn(async move {
            let wanted = |known: &Known| known.current.iter().map(|account| account.name.clone()).collect();
            let start = |of: &AccountName| follower(accounts.clone(), stop.clone(), of.clone(), log.clone());
            one_for_each(&accounts, &stop, wanted, start).await;
        })
    };
    let seconds = async |seconds: u64| tokio::time::sleep(Duration::from_millis(seconds * 1_000 + 500)).await;
    let told = || std::mem::take(&mut *log.lock().unwrap());
    seconds(2).await;
    assert_eq!(told(), ["a begins"]);
    accounts.replace(vec![account("a"), account("b")]);
    seconds(2).await;
    assert_eq!(told(), ["b begins"]);
    accounts.replace(vec![account("b")]);
    seconds(2).await;
    assert_eq!(told(), ["a ends"]);
    accounts.replace(vec![account("b"), account("a")]);
    seconds(2).await;
    assert_eq!(told(), ["a begins"]);
    // Gone and back before its task has noticed: that goes on.
    accounts.replace(vec![account("b")]);
    accounts.replace(vec![account("b"), account("a")]);
    seconds(2).await;
    assert_eq!(told(), Vec::<String>::new());
    stop.cancel();
    all.await.unwrap();
}

#[test]
fn an_account_does_not_move_where_its_tasks_are_not_known() {
    let accounts = Accounts::new(vec![account("a"), account("b")]);
    let mut elsewhere = account("b");
    elsewhere.base_url = "http://127.0.0.1:2/api/v1".parse().unwrap();
    let mut in_a_workspace = account("a");
    in_a_workspace.workspace = Some("ws-1".parse().unwrap());
    assert_eq!(moved(&accounts.now(), &[account("a"), elsewhere.clone()]), Some(name("b")));
    assert_eq!(moved(&accounts.now(), &[in_a_workspace]), Some(name("a")));
    let mut other_key = account("a");
    other_key.api_keys = vec![dashscope::ApiKey::new("sk-another0123456789").unwrap()];
    assert_eq!(moved(&accounts.now(), &[other_key, account("c")]), None);
    // Nor does one that was gone from the settings, and whose work is not over.
    accounts.replace(vec![account("a")]);
    assert_eq!(moved(&accounts.now(), &[account("a"), elsewhere]), Some(name("b")));
}

#[tokio::test]
async fn an_account_that_is_gone_is_let_go_when_nothing_was_there_for_as_long_as_tasks_are_kept() {
    let world = World::new();
    let job = world.polling(1, TaskPhase::Running);
    world.jobs.place(job.id);
    let (old, mut empty) = (world.env.accounts.now().current[0].name.clone(), HashMap::new());
    world.env.accounts.replace(vec![account("b")]);
    for _ in 0..3 {
        assert!(over(&world.env, &mut empty).await.is_empty(), "a task is at work there");
    }
    world.jobs.displace(job.id);
    let extra = ExtraTask::new("x".parse().unwrap(), job.id, 1, job.model, start());
    world.jobs.put_extra(extra.clone());
    for _ in 0..2 {
        assert!(over(&world.env, &mut empty).await.is_empty(), "a task that no job took is asked about");
    }
    world.jobs.put_extra(ExtraTask { state: queue::ExtraState::Paid, ..extra });
    assert!(over(&world.env, &mut empty).await.is_empty());
    // A claim that was on its way when the account went comes to light.
    world.jobs.place(job.id);
    assert!(over(&world.env, &mut empty).await.is_empty());
    world.jobs.displace(job.id);
    assert!(over(&world.env, &mut empty).await.is_empty());
    // An image of it may wait for its copy, and need another link.
    world.clock.advance(world.env.config.rules.task_retention - Duration::from_secs(1));
    assert!(over(&world.env, &mut empty).await.is_empty());
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(over(&world.env, &mut empty).await, [old]);
}
