//! A server that does what it is told, one act for each request, and records every byte.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What to do with one request.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Answer with these bytes and keep the connection.
    Answer(String),
    /// Answer with these bytes and close the connection.
    AnswerAndClose(String),
    /// Read the request and close the connection.
    Close,
    /// Read the request and never answer.
    Hang,
    /// Close the connection before anything is read.
    CloseAtOnce,
}

/// An answer with a JSON body.
pub(super) fn json(status: u16, body: &str) -> Act {
    answer(status, "content-type: application/json\r\n", body)
}

/// An answer with these headers.
pub(super) fn answer(status: u16, headers: &str, body: &str) -> Act {
    Act::Answer(format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()))
}

/// One request, as it came.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorded {
    pub(super) connection: usize,
    pub(super) bytes: Vec<u8>,
    /// Whether all of it came.
    pub(super) complete: bool,
}

impl Recorded {
    pub(super) fn head(&self) -> String {
        let end = find(&self.bytes, b"\r\n\r\n").unwrap_or(self.bytes.len());
        String::from_utf8_lossy(&self.bytes[..end]).into_owned()
    }

    pub(super) fn body(&self) -> String {
        let start = find(&self.bytes, b"\r\n\r\n").map_or(self.bytes.len(), |end| end + 4);
        String::from_utf8_lossy(&self.bytes[start..]).into_owned()
    }

    pub(super) fn line(&self) -> String {
        self.head().lines().next().unwrap_or_default().to_owned()
    }

    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.head().lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    }
}

pub(super) struct Server {
    port: u16,
    record: Arc<Mutex<Vec<Recorded>>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Plays `acts` in order, whichever connection the requests come on. Beyond them it closes connections.
    pub(super) async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let record = Arc::new(Mutex::new(Vec::new()));
        let acts = Arc::new(Mutex::new(acts.into_iter().collect::<std::collections::VecDeque<_>>()));
        let task = tokio::spawn({
            let record = Arc::clone(&record);
            async move {
                let mut connection = 0;
                while let Ok((stream, _)) = listener.accept().await {
                    connection += 1;
                    tokio::spawn(serve(stream, connection, Arc::clone(&acts), Arc::clone(&record)));
                }
            }
        });
        Self { port, record, task }
    }

    pub(super) fn base_url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/", self.port)
    }

    /// What came, connections without a byte among it.
    pub(super) fn record(&self) -> Vec<Recorded> {
        self.record.lock().unwrap().clone()
    }

    /// Whole requests.
    pub(super) fn requests(&self) -> Vec<Recorded> {
        self.record().into_iter().filter(|request| request.complete).collect()
    }

    /// Waits until `count` requests or connections without one are recorded.
    pub(super) async fn wait_for(&self, count: usize) -> Vec<Recorded> {
        for _ in 0..1000 {
            if self.record().len() >= count {
                return self.record();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("waited 5 s for {count} requests: {:?}", self.record());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    acts: Arc<Mutex<std::collections::VecDeque<Act>>>,
    record: Arc<Mutex<Vec<Recorded>>>,
) {
    let at_once = {
        let mut acts = acts.lock().unwrap();
        matches!(acts.front(), Some(Act::CloseAtOnce)).then(|| acts.pop_front()).is_some()
    };
    if at_once {
        record.lock().unwrap().push(Recorded { connection, ..Recorded::default() });
        return;
    }
    let mut first = true;
    loop {
        let request = read_request(&mut stream, connection).await;
        let complete = request.complete;
        // A kept connection that ends without a further request is no news.
        if complete || first || !request.bytes.is_empty() {
            record.lock().unwrap().push(request);
        }
        if !complete {
            return;
        }
        first = false;
        let act = acts.lock().unwrap().pop_front().unwrap_or(Act::Close);
        match act {
            Act::Answer(bytes) => stream.write_all(bytes.as_bytes()).await.unwrap_or_default(),
            Act::AnswerAndClose(bytes) => {
                stream.write_all(bytes.as_bytes()).await.unwrap_or_default();
                return;
            }
            Act::Close | Act::CloseAtOnce => return,
            Act::Hang => std::future::pending().await,
        }
    }
}

async fn read_request(stream: &mut TcpStream, connection: usize) -> Recorded {
    let mut request = Recorded { connection, ..Recorded::default() };
    let mut buffer = [0; 4096];
    loop {
        if let Some(head) = find(&request.bytes, b"\r\n\r\n") {
            let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
            if request.bytes.len() >= head + 4 + length {
                request.complete = true;
                return request;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => request.bytes.extend_from_slice(&buffer[..read]),
            Ok(_) | Err(_) => return request,
        }
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
