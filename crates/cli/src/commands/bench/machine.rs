//! What processes and the whole machine have used, as Linux says in `/proc`. Elsewhere nothing is known, and the figures are left
//! out.

use std::time::Duration;

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// Time on a processor, in user and kernel together.
    pub(super) cpu: Duration,
    /// The most memory that it has had at once, in bytes.
    pub(super) rss_peak_bytes: u64,
}

/// Ticks of every processor together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticks {
    busy: u64,
    all: u64,
}

impl Ticks {
    /// The share of the machine that was busy since `before`: 0 to 1.
    pub(super) fn busy_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all).max(1);
        self.busy.saturating_sub(before.busy) as f64 / all as f64
    }
}

/// What a process has used. Of one that has ended and that nobody has waited for, the time on a processor is still there.
pub(super) fn used_by(id: u32) -> Option<Used> {
    let cpu = cpu_of(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    Some(Used { cpu, rss_peak_bytes: rss_peak_of(&status).unwrap_or(0) })
}

/// Whether a process has ended, also while nobody has waited for it. `None` where nothing is known.
pub(super) fn has_ended(id: u32) -> Option<bool> {
    std::fs::metadata("/proc/self/stat").ok()?;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    Some(after_name(&stat).is_none_or(|rest| rest.starts_with('Z')))
}

/// What the whole machine has done.
pub(super) fn ticks() -> Option<Ticks> {
    ticks_of(&std::fs::read_to_string("/proc/stat").ok()?)
}

/// How many processors there are.
pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The name of a process may hold anything, also a bracket.
fn after_name(stat: &str) -> Option<&str> {
    stat.rsplit_once(") ").map(|(_, rest)| rest)
}

fn cpu_of(stat: &str) -> Option<Duration> {
    // utime and stime are the fields 14 and 15 of proc(5), and the first one behind the name is the third.
    let mut fields = after_name(stat)?.split(' ').skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

fn rss_peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

fn ticks_of(stat: &str) -> Option<Ticks> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; what follows is counted in user already.
    let all: u64 = fields.iter().take(8).sum();
    let idle = fields.get(3)? + fields.get(4)?;
    Some(Ticks { busy: all - idle, all })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_process_are_read_behind_its_name() {
        let stat = "12 (a ) b) S 1 12 12 0 -1 4194560 500 0 0 0 150 50 0 0 20 0 9 0 1000 1 1";
        let second = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(cpu_of(stat), Some(Duration::from_secs_f64(200.0 / second)));
        assert_eq!(cpu_of("12 (short"), None);
    }

    #[test]
    fn the_peak_of_memory_is_read_in_bytes() {
        assert_eq!(
            rss_peak_of("Name:\timagemill\nVmHWM:\t   20480 kB\nVmRSS:\t 1 kB\n"),
            Some(20_480 * 1_024)
        );
        assert_eq!(rss_peak_of("Name:\tzombie\n"), None);
    }

    #[test]
    fn the_machine_is_busy_but_for_idle_and_waiting() {
        let before = ticks_of("cpu  10 0 10 70 10 0 0 0 0 0\ncpu0 1 1 1 1\n").unwrap();
        let after = ticks_of("cpu  60 0 10 110 20 0 0 0 0 0\n").unwrap();
        assert!((after.busy_since(before) - 0.5).abs() < 1e-9);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_used_something() {
        let used = used_by(std::process::id()).unwrap();
        assert!(used.rss_peak_bytes > 0);
        assert_eq!(has_ended(std::process::id()), Some(false));
        assert!(ticks().is_some());
    }
}
