//! A store for demonstrations: the S3 protocol over plain files, inside this process. Never "S3".
//!
//! `s3s` speaks the protocol and checks signatures; `s3s-fs` keeps the files. What the latter leaves open is closed here: a PUT
//! to a bucket that does not exist would create it, racing conditional PUTs could all win, and a PUT that failed could leave
//! its object behind.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CopyObjectInput, CopyObjectOutput, CreateMultipartUploadInput,
    CreateMultipartUploadOutput, DeleteObjectInput, DeleteObjectOutput, GetObjectInput, GetObjectOutput,
    HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input,
    ListObjectsV2Output, ListPartsInput, ListPartsOutput, PutObjectInput, PutObjectOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::AbortHandle;

/// The only bucket.
pub(in crate::commands) const BUCKET: &str = "images";
/// The only access key.
pub(super) const ACCESS_KEY: &str = "demo";
/// Its secret; the store listens on loopback only.
pub(super) const SECRET_KEY: &str = "demo-secret";

/// One lock serves all keys of one hash: writers of the same key must take turns, others seldom meet.
const LOCKS: usize = 64;

/// How slow the store is. By default as fast as the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::commands) struct Pace {
    /// What each PUT takes before anything else.
    pub(in crate::commands) put: Duration,
    /// Bytes of a PUT's body per second; 0: no limit.
    pub(in crate::commands) bytes_per_s: u64,
}

impl Pace {
    /// What a PUT of so many bytes takes.
    fn of_put(self, bytes: u64) -> Duration {
        if self.bytes_per_s == 0 {
            return self.put;
        }
        self.put + Duration::from_secs_f64(bytes as f64 / self.bytes_per_s as f64)
    }
}

/// The running store; it ends when this is dropped.
pub(in crate::commands) struct LocalStore {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl LocalStore {
    /// Starts it over `folder`; objects become the files `<folder>/images/<key>`.
    pub(in crate::commands) async fn start(folder: &Path, pace: Pace) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder.join(BUCKET))?;
        let files = FileSystem::new(folder)
            .map_err(|error| anyhow::anyhow!("failed to open the store: {error:?}"))?;
        let guarded = Guarded { files, pace, locks: std::array::from_fn(|_| Mutex::new(())) };
        let mut service = S3ServiceBuilder::new(guarded);
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    // A client that hangs up is no news.
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Ok(Self { address, accepting: accepting.abort_handle() })
    }

    /// Its endpoint.
    pub(in crate::commands) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Guarded {
    files: FileSystem,
    pace: Pace,
    locks: [Mutex<()>; LOCKS],
}

impl Guarded {
    fn lock_of(&self, key: &str) -> &Mutex<()> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        &self.locks[usize::try_from(hasher.finish() % LOCKS as u64).unwrap_or(0)]
    }

    fn check_bucket(&self, bucket: &str) -> S3Result<()> {
        if bucket == BUCKET { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }
}

/// A request for another call about the same object, as the same caller.
fn derived<A, B>(request: &S3Request<A>, input: B) -> S3Request<B> {
    S3Request {
        input,
        method: request.method.clone(),
        uri: request.uri.clone(),
        headers: request.headers.clone(),
        extensions: Default::default(),
        credentials: request.credentials.clone(),
        region: request.region.clone(),
        service: request.service.clone(),
        trailing_headers: None,
    }
}

#[async_trait::async_trait]
impl S3 for Guarded {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        self.check_bucket(&request.input.bucket)?;
        let bytes = request.input.content_length.and_then(|length| u64::try_from(length).ok());
        tokio::time::sleep(self.pace.of_put(bytes.unwrap_or(0))).await;
        let _turn = self.lock_of(&request.input.key).lock().await;
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let look = HeadObjectInput { bucket: bucket.clone(), key: key.clone(), ..Default::default() };
        let look = derived(&request, look);
        let was_there = self.files.head_object(look).await.is_ok();
        let remove = derived(&request, DeleteObjectInput { bucket, key, ..Default::default() });
        let result = self.files.put_object(request).await;
        if result.is_err() && !was_there {
            let _ = self.files.delete_object(remove).await;
        }
        result
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        self.check_bucket(&request.input.bucket)?;
        let _turn = self.lock_of(&request.input.key).lock().await;
        self.files.copy_object(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.check_bucket(&request.input.bucket)?;
        let _turn = self.lock_of(&request.input.key).lock().await;
        self.files.delete_object(request).await
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.files.get_object(request).await
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.files.head_object(request).await
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.check_bucket(&request.input.bucket)?;
        self.files.head_bucket(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.files.list_objects_v2(request).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.check_bucket(&request.input.bucket)?;
        self.files.create_multipart_upload(request).await
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.files.upload_part(request).await
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        self.files.list_parts(request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let _turn = self.lock_of(&request.input.key).lock().await;
        self.files.complete_multipart_upload(request).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.files.abort_multipart_upload(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_put_takes_its_share_of_the_pace() {
        assert_eq!(Pace::default().of_put(1 << 30), Duration::ZERO);
        let slow = Pace { put: Duration::from_secs(2), bytes_per_s: 64 << 10 };
        assert_eq!(slow.of_put(32 << 10), Duration::from_millis(2_500));
    }
}
