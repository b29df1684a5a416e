//! A real S3 server: SeaweedFS.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use archive::{Credentials, Existing, PutOptions, SecretText, Sha256Digest, Store, StoreSettings};
use bytes::Bytes;
use job::ObjectKey;
use tempfile::TempDir;

use crate::process::{Process, free_port};
use crate::tools::tool;

/// The access key of every test's store.
const ACCESS_KEY: &str = "test-access-key";
/// Its secret.
const SECRET_KEY: &str = "test-secret-key";

/// A SeaweedFS of its own, in a temporary directory, with one bucket.
pub struct SeaweedFs {
    process: Option<Process>,
    ports: [u16; 10],
    bucket: String,
    dir: TempDir,
}

impl SeaweedFs {
    /// Starts one with the bucket `images`.
    pub async fn start() -> anyhow::Result<Self> {
        let mut server = Self {
            process: None,
            ports: std::array::from_fn(|_| free_port()),
            bucket: "images".to_owned(),
            dir: TempDir::with_prefix("imagemill-s3-")?,
        };
        for _ in 0..3 {
            if server.launch().await.is_ok() {
                return Ok(server);
            }
            server.ports = std::array::from_fn(|_| free_port());
        }
        server.launch().await?;
        Ok(server)
    }

    async fn launch(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(tool("weed")?);
        command.current_dir(self.dir.path());
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command.env("S3_BUCKET", &self.bucket);
        command.args(["-logtostderr=true", "-alsologtostderr=false", "mini", "-dir=.", "-ip=127.0.0.1"]);
        // Telemetry is on by default, and so are ports that nobody asked for.
        command.args([
            "-ip.bind=127.0.0.1",
            "-master.telemetry=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]);
        command.args(["-s3.iam=false", "-s3.autoCreateBucket=false", "-admin.ui=false", "-webdav=false"]);
        command.args(["-filer.localSocket=filer.sock", "-s3.localSocket=s3.sock"]);
        const NAMES: [&str; 10] = [
            "s3.port",
            "s3.port.grpc",
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "admin.port",
            "admin.port.grpc",
        ];
        for (name, port) in NAMES.iter().zip(self.ports) {
            command.arg(format!("-{name}={port}"));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process::start(&mut command)?;
        let store = self.store().await?;
        let started = Instant::now();
        // The first PUT takes longer than the first answer: buckets and volumes are made in the background.
        let key = ObjectKey::parse("ready").context("a plain key")?;
        loop {
            if let Some(status) = process.try_wait() {
                bail!("weed ended at once: {status}");
            }
            if store.check_bucket().await.is_ok()
                && store.put_json(&key, &serde_json::json!({})).await.is_ok()
            {
                store.delete(&key).await?;
                self.process = Some(process);
                return Ok(());
            }
            if started.elapsed() > Duration::from_secs(60) {
                bail!("weed does not take objects on port {}", self.ports[0]);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its S3 endpoint.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// Its bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Environment variables that point the binary at it.
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("IMAGEMILL_S3_BUCKET", self.bucket.clone()),
            ("IMAGEMILL_S3_ENDPOINT", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// A store on it.
    pub async fn store(&self) -> anyhow::Result<Store> {
        Ok(Store::connect(&self.settings()?).await?)
    }

    /// Settings of a store on it.
    pub fn settings(&self) -> anyhow::Result<StoreSettings> {
        let mut settings = StoreSettings::new(self.bucket.clone());
        settings.endpoint = Some(self.endpoint().parse()?);
        settings.region = Some("us-east-1".to_owned());
        settings.path_style = true;
        settings.credentials = Credentials::Static {
            access_key_id: ACCESS_KEY.to_owned(),
            secret_access_key: SecretText::new(SECRET_KEY.to_owned()),
            session_token: None,
        };
        Ok(settings)
    }

    /// Kills it without warning.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on the same ports, with the data that it kept.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.process = None;
        self.launch().await
    }
}

/// Puts an object over whatever stands there, as somebody else would.
pub async fn put_over(store: &Store, key: &ObjectKey, body: impl Into<Bytes>) {
    let body = body.into();
    let options = PutOptions {
        content_type: "application/octet-stream".to_owned(),
        metadata: Vec::new(),
        cache_control: None,
        sha256: Sha256Digest::of(&body),
        existing: Existing::Replace,
    };
    store.put(key, body, options).await.expect("the store takes it");
}
