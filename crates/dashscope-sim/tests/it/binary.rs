//! The binary as a user runs it.

use std::process::Stdio;
use std::time::Duration;

use dashscope_sim::Ledger;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::bench::{client, send, text_to_image};

const DEADLINE: Duration = Duration::from_secs(20);

fn start(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_dashscope-sim"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work)
        .await
        .unwrap_or_else(|_| panic!("{what} took more than {DEADLINE:?}"))
}

/// Asks the process to stop, as a service manager does.
async fn terminate(child: &Child) {
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().await.unwrap().success());
}

#[tokio::test]
async fn it_prints_its_address_first_and_its_ledger_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("sim.toml"), "seed = 3\n[durations]\nscale = 0.001").unwrap();
    std::fs::write(
        path("faults.json"),
        r#"{"faults": [{"on": "create", "when": {"nth": [2]}, "do": "html_502"}]}"#,
    )
    .unwrap();
    let (ledger_file, ready_file) = (path("ledger.json"), path("ready"));
    let mut child = start(&[
        "--seed=11",
        "--config",
        &path("sim.toml"),
        "--faults",
        &path("faults.json"),
        "--ledger-file",
        &ledger_file,
        "--ready-file",
        &ready_file,
    ]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = in_time("the first line", lines.next_line()).await.unwrap().unwrap();
    let base_url = first.strip_prefix("listening on ").unwrap();
    in_time("the ready file", async {
        while std::fs::read_to_string(&ready_file).unwrap_or_default() != base_url {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let create = || {
        let call = client().post(format!("{base_url}{}", crate::bench::CREATE));
        send(call.bearer_auth("sk-test").header("x-dashscope-async", "enable").json(&text_to_image("a")))
    };
    assert_eq!(create().await.unwrap().status, 200);
    assert_eq!(create().await.unwrap().status, 502);
    terminate(&child).await;
    assert!(in_time("the end", child.wait()).await.unwrap().success());
    let ledger: Ledger = serde_json::from_str(&std::fs::read_to_string(&ledger_file).unwrap()).unwrap();
    assert_eq!((ledger.seed, ledger.tasks.len(), ledger.faults[0].struck), (11, 1, 1));
}

#[tokio::test]
async fn without_a_ledger_file_the_totals_go_to_stdout() {
    let mut child = start(&[]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    in_time("the first line", out.read_line(&mut first)).await.unwrap();
    terminate(&child).await;
    let mut rest = String::new();
    in_time("the totals", out.read_to_string(&mut rest)).await.unwrap();
    let ledger: Ledger = serde_json::from_str(&rest).unwrap();
    assert_eq!((ledger.seed, ledger.totals.tasks_created), (7, 0));
    assert!(in_time("the end", child.wait()).await.unwrap().success());
}

#[tokio::test]
async fn settings_that_it_does_not_know_are_refused_with_the_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sim.toml");
    std::fs::write(&path, "seed = 3\nspeed = 9").unwrap();
    let child = start(&["--config", path.to_str().unwrap()]);
    let output = in_time("the refusal", child.wait_with_output()).await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains("sim.toml") && said.contains("line 2") && said.contains("speed"), "{said}");
}
