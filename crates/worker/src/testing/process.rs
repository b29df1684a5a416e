//! A worker's process: it runs, stands still, or is dead. Whatever a worker does passes here first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

/// One worker's process.
#[derive(Debug, Default)]
pub(crate) struct Process(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    dead: bool,
    stands_until: Option<Instant>,
    tasks: Vec<AbortHandle>,
}

/// So many tasks are remembered before those that have ended are forgotten.
const TASKS_MAX: usize = 64;

impl Process {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a task that dies with the process.
    pub(crate) fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.state();
        if state.dead {
            return;
        }
        if state.tasks.len() > TASKS_MAX {
            state.tasks.retain(|task| !task.is_finished());
        }
        state.tasks.push(tokio::spawn(task).abort_handle());
    }

    /// Ends every task where it stands, without another word to anybody. What is on the wire stays there.
    pub(crate) fn kill(&self) {
        let mut state = self.state();
        state.dead = true;
        for task in state.tasks.drain(..) {
            task.abort();
        }
    }

    /// Stands still, as after SIGSTOP, for this long.
    pub(crate) fn pause(&self, pause: Duration) {
        self.state().stands_until = Some(Instant::now() + pause);
    }

    /// Whether it is dead.
    pub(crate) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Whether it stands still.
    pub(crate) fn is_paused(&self) -> bool {
        self.state().stands_until.is_some_and(|until| until > Instant::now())
    }

    /// Returns while the process runs: at once, after a pause, or never.
    pub(crate) async fn runs(&self) {
        loop {
            let until = {
                let state = self.state();
                if state.dead { None } else { Some(state.stands_until) }
            };
            match until {
                None => std::future::pending().await,
                Some(Some(until)) if until > Instant::now() => tokio::time::sleep_until(until).await,
                Some(_) => return,
            }
        }
    }
}
