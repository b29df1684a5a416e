//! The official Python SDK against the simulator: a client that was written without any knowledge of it.
//!
//! `tests/python/sdk_surface.py` makes the calls and checks each answer. Here the books are compared: what the SDK was
//! told must be what the simulator's ledger says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use dashscope_sim::{Config, Ledger, Requests, Simulator, TaskEntry, Throttled, Violations};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

/// The script takes some seconds; this only ends one that hangs.
const DEADLINE: Duration = Duration::from_secs(180);

/// A task, as either side saw it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Task {
    /// A synchronous call never shows one.
    task_id: Option<String>,
    state: String,
    /// SHA-256 of each image, in order.
    images: Vec<String>,
}

/// What the script wrote down.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Account {
    /// By the request id of the create call.
    tasks: BTreeMap<String, Task>,
    creates: u64,
    sync_creates: u64,
    wrong_keys: u64,
    invalid: u64,
    uploads: u64,
    downloads: u64,
}

#[tokio::test]
async fn the_official_python_sdk_is_served_and_its_account_agrees_with_the_ledger() {
    let settings = std::fs::read_to_string(python_folder().join("simulator.toml")).unwrap();
    let simulator = Simulator::start(Config::from_toml(&settings).unwrap()).await.unwrap();
    let account = run_sdk(&simulator.base_url()).await.unwrap();
    let ledger = simulator.ledger();

    let booked = tasks_of(&ledger);
    let ids: BTreeSet<&String> = account.tasks.keys().chain(booked.keys()).collect();
    let differences: Vec<_> = ids
        .into_iter()
        .map(|id| (id, account.tasks.get(id), booked.get(id)))
        .filter(|(_, told, booked)| told != booked)
        .collect();
    assert!(
        differences.is_empty(),
        "request id, what the SDK was told, what the ledger says: {differences:#?}"
    );
    let images: usize = account.tasks.values().map(|task| task.images.len()).sum();
    assert_eq!(ledger.totals.images_billed, images as u64, "each image billed was shown and is sound");
    assert_eq!(
        ledger.totals.tasks_of_one_prompt_max, 1,
        "the SDK's own repetition of a call made a second task"
    );
    assert_eq!(ledger.throttled, Throttled::default());
    let violations =
        Violations { bad_key: account.wrong_keys, invalid_creates: account.invalid, ..Violations::default() };
    assert_eq!(ledger.violations, violations, "the async header, keys and links were used as they should be");
    let Requests { creates, sync_creates, uploads, results, .. } = ledger.requests;
    assert_eq!(
        (creates, sync_creates, uploads, results),
        (account.creates, account.sync_creates, account.uploads, account.downloads)
    );
    simulator.shutdown().await;
}

/// The ledger in the script's form.
fn tasks_of(ledger: &Ledger) -> BTreeMap<String, Task> {
    let task = |entry: &TaskEntry| Task {
        task_id: (!entry.sync).then(|| entry.task_id.clone()),
        state: entry.state.clone(),
        images: entry
            .served_sha256
            .iter()
            // Of a task that made none, the ledger still has the places.
            .take(usize::from(entry.images_billed))
            .map(|digest| digest.clone().unwrap_or_else(|| "never downloaded".to_owned()))
            .collect(),
    };
    ledger.tasks.iter().map(|entry| (entry.request_id.clone(), task(entry))).collect()
}

/// Runs the script, in an environment without keys, proxies, or a home folder of somebody.
async fn run_sdk(base_url: &str) -> anyhow::Result<Account> {
    let python = python_folder().join("../../.cache/venv/bin/python");
    ensure!(
        python.exists(),
        "there is no `.cache/venv` with DashScope's Python SDK: run scripts/test, which makes it"
    );
    let folder = TempDir::with_prefix("imagemill-sdk-")?;
    let account = folder.path().join("account.json");
    let run = Command::new(python)
        .arg(python_folder().join("sdk_surface.py"))
        .arg(base_url)
        .arg("--account")
        .arg(&account)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", folder.path())
        .env("TMPDIR", folder.path())
        .env("LANG", "C.UTF-8")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // Of the SDK's own settings, so that no module of it has a host of the provider's even by default.
        .env("DASHSCOPE_HTTP_BASE_URL", base_url)
        .env("DASHSCOPE_BASE_URL", base_url)
        .env("DASHSCOPE_COMPATIBLE_BASE_URL", base_url)
        .env("DASHSCOPE_WEBSOCKET_BASE_URL", base_url.replacen("http", "ws", 1))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(DEADLINE, run)
        .await
        .with_context(|| format!("the script still ran after {DEADLINE:?}"))?
        .context("failed to start Python")?;
    ensure!(
        output.status.success(),
        "the script ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let written = std::fs::read(&account).context("the script wrote no account")?;
    serde_json::from_slice(&written).context("the script's account is not what is expected here")
}

fn python_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
}
