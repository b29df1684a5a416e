//! Creates that are on the wire: what a worker that is told to stop has to wait for.

use tokio::sync::watch;

/// Counts creates from the moment at which they go out until what became of them is written down.
#[derive(Debug)]
pub(crate) struct OnTheWire(watch::Sender<usize>);

/// One of them; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Create(watch::Sender<usize>);

impl OnTheWire {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// One goes out.
    pub(crate) fn goes_out(&self) -> Create {
        self.0.send_modify(|count| *count += 1);
        Create(self.0.clone())
    }

    /// Waits until there is none.
    pub(crate) async fn none_left(&self) {
        // The sender is ours, so that the wait cannot fail.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }

    /// A handle for where the environment cannot go.
    pub(crate) fn share(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Drop for Create {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
