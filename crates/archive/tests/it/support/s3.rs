//! The part of S3 that the store uses, in memory, with faults. It checks what it is sent: a body that does not match its
//! checksum, or one wrapped as `aws-chunked`, is refused.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
};

use archive::{ConditionalPut, Credentials, SecretText, Sha256Digest, Store, StoreSettings, StoreTimeouts};
use percent_encoding::percent_decode_str;

use super::{Reply, Request, Server, Step, answer};

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Object {
    pub(crate) body: Vec<u8>,
    pub(crate) content_type: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) checksum: Option<String>,
}

/// What happens to the next request that it is meant for.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// The request takes effect, and the connection is closed without an answer.
    LoseAnswer,
    /// The connection is closed and nothing takes effect.
    Cut,
    /// Nothing is ever answered.
    Hang,
    /// An error answer, and nothing takes effect.
    Answer(u16, &'static str),
    /// The request takes effect, and the answer names the checksum of other bytes.
    WrongReceipt,
    /// The request takes effect, but the object loses its last byte.
    LoseLastByte,
}

/// What the store can do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Abilities {
    pub(crate) conditions: Conditions,
    /// Whether it knows checksums: it repeats and keeps them.
    pub(crate) checksums: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Conditions {
    Honoured,
    Ignored,
    NotImplemented,
}

impl Default for Abilities {
    fn default() -> Self {
        Self { conditions: Conditions::Honoured, checksums: true }
    }
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, (Object, BTreeMap<u32, Vec<u8>>)>,
    faults: VecDeque<(&'static str, Fault)>,
}

pub(crate) struct FakeS3 {
    pub(crate) server: Server,
    state: Arc<Mutex<State>>,
}

impl FakeS3 {
    pub(crate) async fn start() -> Self {
        Self::with(Abilities::default()).await
    }

    pub(crate) async fn with(abilities: Abilities) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let server =
            Server::start(move |request| handle(&mut shared.lock().unwrap(), abilities, request)).await;
        Self { server, state }
    }

    /// Settings for this store, without repeats by the SDK.
    pub(crate) fn settings(&self) -> StoreSettings {
        StoreSettings {
            endpoint: Some(format!("http://{}", self.server.address()).parse().unwrap()),
            path_style: true,
            conditional_put: ConditionalPut::Auto,
            timeouts: StoreTimeouts { attempts: 1, ..StoreTimeouts::default() },
            credentials: Credentials::Static {
                access_key_id: "AKIDEXAMPLE".to_owned(),
                secret_access_key: SecretText::new("s3cr3t".to_owned()),
                session_token: None,
            },
            ..StoreSettings::new("jobs")
        }
    }

    pub(crate) async fn store(&self) -> Store {
        Store::connect(&self.settings()).await.unwrap()
    }

    /// The next request of this method meets this fault. `COMPLETE` is the end of an upload in parts.
    pub(crate) fn plan(&self, method: &'static str, fault: Fault) {
        self.state.lock().unwrap().faults.push_back((method, fault));
    }

    pub(crate) fn object(&self, key: &str) -> Option<Object> {
        self.state.lock().unwrap().objects.get(key).cloned()
    }

    pub(crate) fn put(&self, key: &str, object: Object) {
        self.state.lock().unwrap().objects.insert(key.to_owned(), object);
    }

    pub(crate) fn open_uploads(&self) -> usize {
        self.state.lock().unwrap().uploads.len()
    }

    /// The requests so far, as "METHOD key".
    pub(crate) fn calls(&self) -> Vec<String> {
        self.server.seen().iter().map(|request| format!("{} {}", request.method, key(request))).collect()
    }
}

fn key(request: &Request) -> String {
    let path = percent_decode_str(request.path()).decode_utf8_lossy().into_owned();
    path.strip_prefix("/jobs").unwrap_or(&path).trim_start_matches('/').to_owned()
}

fn handle(state: &mut State, abilities: Abilities, request: &Request) -> Reply {
    let completes = request.method == "POST" && request.query("uploadId").is_some();
    let call = if completes { "COMPLETE" } else { request.method.as_str() };
    let planned = state.faults.iter().position(|(planned, _)| *planned == call);
    match planned.and_then(|at| state.faults.remove(at)).map(|(_, fault)| fault) {
        None => apply(state, abilities, request),
        Some(Fault::LoseAnswer) => {
            apply(state, abilities, request);
            vec![Step::Reset]
        }
        Some(Fault::Cut) => vec![Step::Reset],
        Some(Fault::Hang) => vec![Step::Hang],
        Some(Fault::Answer(status, code)) => error(status, code),
        Some(Fault::WrongReceipt) => {
            apply(state, abilities, request);
            answer(200, &[("x-amz-checksum-sha256", &Sha256Digest::of(b"other").to_base64())], b"")
        }
        Some(Fault::LoseLastByte) => {
            let reply = apply(state, abilities, request);
            if let Some(object) = state.objects.get_mut(&key(request)) {
                object.body.pop();
            }
            reply
        }
    }
}

fn error(status: u16, code: &str) -> Reply {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>because</Message></Error>");
    answer(status, &[("content-type", "application/xml"), ("x-amz-request-id", "R1")], body.as_bytes())
}

fn xml(body: &str) -> Reply {
    answer(200, &[("content-type", "application/xml")], format!("<?xml version=\"1.0\"?>{body}").as_bytes())
}

fn apply(state: &mut State, abilities: Abilities, request: &Request) -> Reply {
    if !request.path().starts_with("/jobs") {
        return error(404, "NoSuchBucket");
    }
    let key = key(request);
    match request.method.as_str() {
        "HEAD" if key.is_empty() => answer(200, &[], b""),
        "HEAD" => give(state, abilities, &key, false),
        "GET" if request.query("list-type").is_some() => list(state, request),
        "GET" => give(state, abilities, &key, true),
        "DELETE" => match request.query("uploadId") {
            Some(upload) => match state.uploads.remove(upload) {
                Some(_) => answer(204, &[], b""),
                None => error(404, "NoSuchUpload"),
            },
            None => {
                state.objects.remove(&key);
                answer(204, &[], b"")
            }
        },
        "PUT" if request.header("x-amz-copy-source").is_some() => copy(state, abilities, request, &key),
        "PUT" => put(state, abilities, request, key),
        "POST" if request.query("uploads").is_some() => {
            let id = format!("u{}", state.uploads.len());
            state.uploads.insert(id.clone(), (described(request), BTreeMap::new()));
            xml(&format!(
                "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            ))
        }
        "POST" => complete(state, abilities, request, key),
        _ => error(405, "MethodNotAllowed"),
    }
}

fn described(request: &Request) -> Object {
    Object {
        body: request.body.clone(),
        content_type: request.header("content-type").unwrap_or_default().to_owned(),
        metadata: request
            .headers
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("x-amz-meta-")?.to_owned(), value.clone())))
            .collect(),
        checksum: None,
    }
}

fn put(state: &mut State, abilities: Abilities, request: &Request, key: String) -> Reply {
    if request.header("content-encoding").is_some() || request.header("transfer-encoding").is_some() {
        return error(400, "InvalidRequest");
    }
    let sent = request.header("x-amz-checksum-sha256");
    if sent.is_some_and(|sum| sum != Sha256Digest::of(&request.body).to_base64()) {
        return error(400, "BadDigest");
    }
    if let (Some(upload), Some(part)) = (request.query("uploadId"), request.query("partNumber")) {
        let Some((_, parts)) = state.uploads.get_mut(upload) else { return error(404, "NoSuchUpload") };
        parts.insert(part.parse().unwrap(), request.body.clone());
        return answer(200, &[("etag", "\"part\"")], b"");
    }
    if let Some(refusal) = condition(state, abilities, request, &key) {
        return refusal;
    }
    let mut object = described(request);
    object.checksum = sent.filter(|_| abilities.checksums).map(str::to_owned);
    let mut headers = vec![("etag", "\"whole\"")];
    headers.extend(object.checksum.as_deref().map(|sum| ("x-amz-checksum-sha256", sum)));
    let reply = answer(200, &headers, b"");
    state.objects.insert(key, object);
    reply
}

fn condition(state: &State, abilities: Abilities, request: &Request, key: &str) -> Option<Reply> {
    request.header("if-none-match")?;
    match abilities.conditions {
        Conditions::Ignored => None,
        Conditions::NotImplemented => Some(error(501, "NotImplemented")),
        Conditions::Honoured => state.objects.contains_key(key).then(|| error(412, "PreconditionFailed")),
    }
}

fn complete(state: &mut State, abilities: Abilities, request: &Request, key: String) -> Reply {
    let upload = request.query("uploadId").unwrap_or_default();
    if !state.uploads.contains_key(upload) {
        return error(404, "NoSuchUpload");
    }
    if let Some(refusal) = condition(state, abilities, request, &key) {
        return refusal;
    }
    let (mut object, parts) = state.uploads.remove(upload).unwrap();
    object.body = parts.into_values().flatten().collect();
    state.objects.insert(key, object);
    xml(
        "<CompleteMultipartUploadResult><ETag>\"parts-2\"</ETag><ChecksumSHA256>AAAA-2</ChecksumSHA256></CompleteMultipartUploadResult>",
    )
}

fn copy(state: &mut State, abilities: Abilities, request: &Request, to: &str) -> Reply {
    let source =
        percent_decode_str(request.header("x-amz-copy-source").unwrap()).decode_utf8_lossy().into_owned();
    let Some(mut object) = source.strip_prefix("jobs/").and_then(|from| state.objects.get(from)).cloned()
    else {
        return error(404, "NoSuchKey");
    };
    object.checksum = abilities.checksums.then(|| Sha256Digest::of(&object.body).to_base64());
    let sum = object
        .checksum
        .iter()
        .map(|sum| format!("<ChecksumSHA256>{sum}</ChecksumSHA256>"))
        .collect::<String>();
    state.objects.insert(to.to_owned(), object);
    xml(&format!("<CopyObjectResult><ETag>\"copy\"</ETag>{sum}</CopyObjectResult>"))
}

fn give(state: &State, abilities: Abilities, key: &str, with_body: bool) -> Reply {
    let Some(object) = state.objects.get(key) else {
        return if with_body { error(404, "NoSuchKey") } else { answer(404, &[], b"") };
    };
    let length = object.body.len().to_string();
    let metadata: Vec<_> =
        object.metadata.iter().map(|(name, value)| (format!("x-amz-meta-{name}"), value.clone())).collect();
    let mut headers = vec![
        ("content-length", length.as_str()),
        ("content-type", &object.content_type),
        ("etag", "\"whole\""),
    ];
    headers.extend(metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    if let Some(sum) = object.checksum.as_deref().filter(|_| abilities.checksums) {
        headers.push(("x-amz-checksum-sha256", sum));
    }
    answer(200, &headers, if with_body { &object.body } else { b"" })
}

fn list(state: &State, request: &Request) -> Reply {
    let decoded =
        |name| request.query(name).map(|text| percent_decode_str(text).decode_utf8_lossy().into_owned());
    let prefix = decoded("prefix").unwrap_or_default();
    let after = decoded("start-after").unwrap_or_default();
    // A small page, so that paging is seen at all.
    let max = decoded("max-keys").and_then(|max| max.parse().ok()).unwrap_or(usize::MAX).min(2);
    let mut keys = state.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
    let page: String = keys
        .by_ref()
        .take(max)
        .map(|(key, object)| {
            format!(
                "<Contents><Key>{key}</Key><Size>{}</Size><ETag>\"whole\"</ETag>\
                 <LastModified>2026-04-01T12:00:00.000Z</LastModified></Contents>",
                object.body.len()
            )
        })
        .collect();
    let truncated = keys.next().is_some();
    xml(&format!("<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{page}</ListBucketResult>"))
}
