//! TCP proxies: one that loses answers (what was asked for happens, and nobody hears of it), one that cuts questions off.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// A proxy in front of one server; it ends when this is dropped.
pub struct LossyProxy {
    address: SocketAddr,
    to_lose: Arc<AtomicU32>,
    accepting: AbortHandle,
}

impl LossyProxy {
    /// Stands in front of `127.0.0.1:port`.
    pub async fn start(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let to_lose = Arc::new(AtomicU32::new(0));
        let losing = to_lose.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let losing = losing.clone();
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await {
                        relay(client, server, &losing).await;
                    }
                });
            }
        });
        Ok(Self { address, to_lose, accepting: accepting.abort_handle() })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Loses the next `count` answers, each with its connection.
    pub fn lose_answers(&self, count: u32) {
        self.to_lose.store(count, Ordering::SeqCst);
    }

    /// How many answers are still to be lost.
    pub fn answers_to_lose(&self) -> u32 {
        self.to_lose.load(Ordering::SeqCst)
    }
}

impl Drop for LossyProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(client: TcpStream, server: TcpStream, to_lose: &AtomicU32) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let questions = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
        let lose =
            to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if lose || to_client.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    questions.abort();
}

/// A proxy that cuts every connection for good once so many bytes of questions have passed.
pub struct CuttingProxy {
    address: SocketAddr,
    left: Arc<AtomicU64>,
    accepting: AbortHandle,
}

impl CuttingProxy {
    /// Stands in front of `127.0.0.1:port` and lets `bytes` through to it.
    pub async fn start(port: u16, bytes: u64) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let left = Arc::new(AtomicU64::new(bytes));
        let shared = left.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let left = shared.clone();
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await {
                        relay_until_cut(client, server, &left).await;
                    }
                });
            }
        });
        Ok(Self { address, left, accepting: accepting.abort_handle() })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Whether it came to the cut.
    pub fn has_cut(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay_until_cut(client: TcpStream, server: TcpStream, left: &AtomicU64) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
        let take = |left: u64| Some(left.saturating_sub(read as u64));
        let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).unwrap_or(0);
        let passed = usize::try_from(before).unwrap_or(usize::MAX).min(read);
        if to_server.write_all(&buffer[..passed]).await.is_err() || before <= read as u64 {
            break;
        }
    }
    // The server sees an end of what came until here, the client a connection that is closed.
    answers.abort();
}
