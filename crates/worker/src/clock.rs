//! The local clock: how much time has passed on this machine, sleep included.
//!
//! Due times, leases and permits live on Redis's clock; this one only measures how long ago something happened here. It is
//! made once, by `main`.

use std::time::Duration;

/// Time since some fixed moment before the process began.
pub trait Clock: Send + Sync {
    /// Never goes back, and counts the time in which the machine was suspended: a create call must not go out because its
    /// worker slept through the deadline.
    fn elapsed(&self) -> Duration;
}

/// The kernel's clock since boot.
#[derive(Debug, Clone, Copy, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn elapsed(&self) -> Duration {
        #[cfg(target_os = "linux")]
        let id = rustix::time::ClockId::Boottime;
        // Apple's monotonic clock counts suspended time; elsewhere a suspended laptop is the only difference.
        #[cfg(not(target_os = "linux"))]
        let id = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(id);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        Duration::new(seconds, nanos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_moves_on_and_never_back() {
        let before = BootClock.elapsed();
        assert!(before > Duration::ZERO);
        assert!(BootClock.elapsed() >= before);
    }
}
