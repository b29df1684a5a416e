//! The breakers of the queue's twin, under the rules of `breaker.lua`.

use std::time::Duration;

use job::{Curve, Model, Timestamp};

use super::until;
use crate::ports::{Became, PausedCall, Turn};

/// What holds calls of the account back: pauses, and open breakers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holds {
    pauses: Vec<(PausedCall, Timestamp)>,
    open: Vec<Open>,
}

#[derive(Debug, Clone)]
struct Open {
    call: PausedCall,
    /// Before this time nothing goes out.
    until: Timestamp,
    /// The probe that is out.
    probe: Option<String>,
    row: u32,
}

impl Holds {
    pub(crate) fn pause(&mut self, call: PausedCall, over: Timestamp) {
        self.pauses.retain(|(known, _)| *known != call);
        self.pauses.push((call, over));
    }

    /// How long those of `calls` are held back that are.
    pub(crate) fn wait(&self, calls: &[PausedCall], now: Timestamp) -> Option<Duration> {
        let pauses = self.pauses.iter().filter(|(call, _)| calls.contains(call)).map(|(_, over)| *over);
        let open = self.open.iter().filter(|open| calls.contains(&open.call)).map(|open| open.until);
        let over = pauses.chain(open).max()?;
        (over > now).then(|| until(now, over))
    }

    /// How long the call is paused, whatever its breaker says.
    pub(crate) fn paused(&self, call: PausedCall, now: Timestamp) -> Option<Duration> {
        let over = self.pauses.iter().find(|(known, over)| *known == call && *over > now)?.1;
        Some(until(now, over))
    }

    /// Whether creates of the model that were claimed before are held back by now.
    pub(crate) fn hold_back(&self, model: Model, now: Timestamp) -> bool {
        let is_open =
            |open: &Open| open.call == PausedCall::Create || open.call == PausedCall::CreateModel(model);
        self.paused(PausedCall::CreateModel(model), now).is_some() || self.open.iter().any(is_open)
    }

    /// Something goes out: it is the probe of what is open, if anything is.
    pub(crate) fn go_out(&mut self, calls: &[PausedCall], probe: &str, answered_by: Timestamp) -> bool {
        let mut is_probe = false;
        for open in self.open.iter_mut().filter(|open| calls.contains(&open.call)) {
            (open.until, open.probe, is_probe) = (answered_by, Some(probe.to_owned()), true);
        }
        is_probe
    }

    /// Whether this is a probe that is out.
    pub(crate) fn is_out(&self, probe: &str) -> bool {
        self.open.iter().any(|open| open.probe.as_deref() == Some(probe))
    }

    /// `breaker.lua`.
    pub(crate) fn turn(
        &mut self,
        call: PausedCall,
        probe: Option<&str>,
        turn: &Turn,
        waits: &Curve,
        now: Timestamp,
    ) -> Became {
        let known = self.open.iter_mut().find(|open| open.call == call);
        match (turn, known) {
            (Turn::Open { wait_min, .. }, None) => {
                let wait = waits.wait(0).max(*wait_min);
                self.open.push(Open { call, until: now + wait, probe: None, row: 0 });
                Became::Opened
            }
            (_, Some(open))
                if open.probe.is_some() && (probe == Some("*") || probe == open.probe.as_deref()) =>
            {
                open.probe = None;
                match turn {
                    Turn::Open { wait_min, .. } => {
                        open.row += 1;
                        open.until = now + waits.wait(open.row).max(*wait_min);
                        Became::Reopened
                    }
                    Turn::Release => {
                        open.until = now;
                        Became::Released
                    }
                    Turn::Close => {
                        self.open.retain(|open| open.call != call);
                        Became::Closed
                    }
                }
            }
            _ => Became::Unchanged,
        }
    }
}
