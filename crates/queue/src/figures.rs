//! What the Redis server has done so far, in numbers: for measurements, which take the difference of two looks.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::Queue;
use crate::error::QueueError;

/// The server's own counters, over all that it has served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFigures {
    /// Time on a processor, in user and kernel, of the process and its threads.
    pub cpu: Duration,
    /// Commands run. Those that scripts run count as well, beside the script itself.
    pub commands: u64,
    /// Each command by its name in lower case, such as `evalsha`; those that scripts run are among them.
    pub by_command: BTreeMap<String, CommandFigures>,
    /// Memory for data: what is in use but for the buffers of clients and of the append-only file, and for scripts.
    pub data_bytes: u64,
}

/// One command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommandFigures {
    /// How often it was run.
    pub calls: u64,
    /// What that took. The time of a script is in it twice: as its own, and as that of the commands that it runs.
    pub time: Duration,
}

impl ServerFigures {
    /// What was done since `before`. Memory may have become less: then it is 0.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let by_command = self.by_command.iter().filter_map(|(name, now)| {
            let then = before.by_command.get(name).copied().unwrap_or_default();
            let calls = now.calls.saturating_sub(then.calls);
            (calls > 0)
                .then(|| (name.clone(), CommandFigures { calls, time: now.time.saturating_sub(then.time) }))
        });
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            commands: self.commands.saturating_sub(before.commands),
            by_command: by_command.collect(),
            data_bytes: self.data_bytes.saturating_sub(before.data_bytes),
        }
    }

    /// How often scripts were run: one round trip each.
    pub fn scripts(&self) -> u64 {
        ["eval", "evalsha"]
            .iter()
            .filter_map(|name| self.by_command.get(*name))
            .map(|found| found.calls)
            .sum()
    }

    fn read(sections: &str) -> Self {
        let facts: HashMap<&str, &str> =
            sections.lines().filter_map(|line| line.trim().split_once(':')).collect();
        let number = |name: &str| facts.get(name).and_then(|text| text.parse().ok()).unwrap_or(0_u64);
        let seconds = |name: &str| facts.get(name).and_then(|text| text.parse().ok()).unwrap_or(0.0_f64);
        let beside = [
            "mem_clients_normal",
            "mem_clients_slaves",
            "mem_aof_buffer",
            "mem_replication_backlog",
            "used_memory_vm_eval",
            "used_memory_scripts",
            "used_memory_scripts_eval",
        ];
        let beside: u64 = beside.into_iter().map(number).sum();
        Self {
            cpu: Duration::from_secs_f64(
                seconds("used_cpu_user").max(0.0) + seconds("used_cpu_sys").max(0.0),
            ),
            commands: number("total_commands_processed"),
            by_command: facts
                .iter()
                .filter_map(|(name, value)| {
                    let name = name.strip_prefix("cmdstat_")?.to_ascii_lowercase();
                    Some((name, CommandFigures::read(value)))
                })
                .collect(),
            data_bytes: number("used_memory").saturating_sub(beside),
        }
    }
}

impl CommandFigures {
    /// From `calls=12,usec=345,usec_per_call=28.75,…`.
    fn read(text: &str) -> Self {
        let fields: HashMap<&str, &str> = text.split(',').filter_map(|part| part.split_once('=')).collect();
        let number = |name: &str| fields.get(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        Self { calls: number("calls"), time: Duration::from_micros(number("usec")) }
    }
}

impl Queue {
    /// What the server has done so far.
    ///
    /// # Errors
    ///
    /// Redis is away, or the user may not ask.
    pub async fn server_figures(&self) -> Result<ServerFigures, QueueError> {
        // One section at a time: naming several needs Redis 7.
        let mut pipeline = redis::pipe();
        for section in ["cpu", "stats", "commandstats", "memory"] {
            pipeline.cmd("INFO").arg(section);
        }
        let sections: Vec<String> = self.link().pipeline(&pipeline).await?;
        Ok(ServerFigures::read(&sections.concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# CPU\r\nused_cpu_sys:1.500000\r\nused_cpu_user:2.250000\r\n# Stats\r\ntotal_commands_processed:100\r\n\
        # Commandstats\r\ncmdstat_evalsha:calls=10,usec=500,usec_per_call=50.00,rejected_calls=0,failed_calls=0\r\n\
        # Memory\r\nused_memory:10000\r\nmem_clients_normal:2000\r\nused_memory_scripts:500\r\n";
    const AFTER: &str = "# CPU\r\nused_cpu_sys:2.000000\r\nused_cpu_user:2.750000\r\n# Stats\r\ntotal_commands_processed:180\r\n\
        # Commandstats\r\ncmdstat_evalsha:calls=25,usec=1700,usec_per_call=68.00\r\ncmdstat_client|setname:calls=2,usec=3\r\n\
        # Memory\r\nused_memory:19000\r\nmem_clients_normal:5000\r\nused_memory_scripts:700\r\n";

    #[test]
    fn the_difference_of_two_looks_is_what_was_done_between_them() {
        let done = ServerFigures::read(AFTER).since(&ServerFigures::read(BEFORE));
        assert_eq!((done.cpu, done.commands, done.scripts()), (Duration::from_secs(1), 80, 15));
        assert_eq!(done.by_command["evalsha"].time, Duration::from_micros(1_200));
        assert_eq!(done.by_command["client|setname"].calls, 2);
        assert_eq!(done.data_bytes, 13_300 - 7_500);
    }

    #[test]
    fn what_was_not_done_is_not_listed() {
        let before = ServerFigures::read(BEFORE);
        assert_eq!(before.since(&before), ServerFigures::default());
    }
}
