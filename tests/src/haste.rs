//! Settings with times that fit a test: what takes minutes by default takes seconds.

use std::time::Duration;

/// Short leases and settling times. The properties do not depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Haste {
    /// How long a lease lives. It is renewed four times in that time.
    pub lease: Duration,
    /// How long a create may take before its outcome counts as unknown.
    pub create_timeout: Duration,
}

impl Default for Haste {
    fn default() -> Self {
        Self { lease: Duration::from_secs(2), create_timeout: Duration::from_secs(3) }
    }
}

impl Haste {
    /// How long a create without an answer may still become a task, as the settings say.
    pub fn held_request_timeout(&self) -> Duration {
        self.create_timeout + Duration::from_secs(1)
    }

    /// How long after its creation a task that nobody owns is counted at the latest: when it can be nobody's who may yet write it
    /// down, at the next count.
    pub fn orphans_counted_within(&self) -> Duration {
        self.held_request_timeout() + Duration::from_secs(5)
    }

    /// As a settings file.
    pub fn toml(&self) -> String {
        let (lease, create) = (self.lease.as_millis(), self.create_timeout.as_millis());
        let (renew, age_max, send_within) = (lease / 4, lease / 2, (lease / 2).max(500));
        let held = self.held_request_timeout().as_millis();
        // Looks are worth their while until the list has shown what it has to, and a control after it.
        let give_up = held + 12_000;
        format!(
            "[redis]\nlease = \"{lease}ms\"\nresponse_timeout = \"3s\"\n\n\
             [worker]\nrenew_every = \"{renew}ms\"\nrenewal_age_max = \"{age_max}ms\"\nrescue_every = \"250ms\"\n\
             send_within = \"{send_within}ms\"\nsweep_every = \"1s\"\ncreate_timeout = \"{create}ms\"\nheld_request_timeout = \"{held}ms\"\n\n\
             [settle]\nlag = \"1s\"\nidle_control = \"5s\"\nclock_margin = \"500ms\"\nfirst = \"1s\"\ncap = \"2s\"\n\
             give_up_after = \"{give_up}ms\"\norphans_every = \"2s\"\n"
        )
    }
}
