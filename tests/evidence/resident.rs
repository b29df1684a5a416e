//! How much memory a process takes, from the kernel.

use std::time::Duration;

use tokio::task::JoinHandle;

/// Watches the resident memory of a process until it ends; the result is the greatest seen, in MiB.
pub(crate) fn watch(pid: u32) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let mut most = 0;
        loop {
            match resident_mib(pid) {
                Some(now) => most = most.max(now),
                None => return most,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
}

fn resident_mib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}
