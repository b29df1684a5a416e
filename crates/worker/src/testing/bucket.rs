//! The bucket's twin: whole objects by key, under the rules of the real store's conditional puts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dashscope::ImageUrl;
use job::{ObjectKey, StoredImage, Timestamp};

use super::fault::{Act, Faults, Hook};
use super::process::Process;
use super::provider::{DeadLink, Provider, digest};
use super::time::VirtualTime;
use crate::clock::Clock as _;
use crate::ports::{CopyCure, CopyFault, ImageArchive, StoreFault};

/// The time that a copy takes. Source: ours; an image of a few MB.
const COPY: Duration = Duration::from_millis(400);

/// The time that any other call takes.
const CALL: Duration = Duration::from_millis(20);

/// The bucket of a run.
pub(crate) struct Bucket {
    time: VirtualTime,
    /// From when until when it is away, since the run began.
    pub(crate) outages: Vec<(Duration, Duration)>,
    /// How much longer than usual a copy takes.
    pub(crate) slow: u32,
    objects: Mutex<BTreeMap<String, String>>,
}

impl Bucket {
    pub(crate) fn new(time: VirtualTime, outages: Vec<(Duration, Duration)>, slow: u32) -> Arc<Self> {
        Arc::new(Self { time, outages, slow, objects: Mutex::default() })
    }

    /// Keys, and the picture or the JSON that stands there.
    pub(crate) fn objects(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_away(&self) -> bool {
        let now = self.time.elapsed();
        self.outages.iter().any(|(from, to)| (*from..*to).contains(&now))
    }
}

/// [`ImageArchive`] over a [`Bucket`], for one worker.
pub(crate) struct TwinArchive {
    pub(crate) bucket: Arc<Bucket>,
    pub(crate) provider: Arc<Provider>,
    pub(crate) process: Arc<Process>,
    pub(crate) faults: Arc<Faults>,
}

impl TwinArchive {
    async fn call(&self) -> Result<(), StoreFault> {
        self.process.runs().await;
        tokio::time::sleep(CALL).await;
        self.process.runs().await;
        if self.bucket.is_away() {
            return Err(StoreFault {
                code: "store_away",
                reason: "the store is away".to_owned(),
                later: true,
                of_object: false,
            });
        }
        Ok(())
    }
}

fn later(code: &'static str) -> CopyFault {
    CopyFault { code, reason: "the twin was told to fail".to_owned(), cure: CopyCure::Later }
}

#[async_trait]
impl ImageArchive for TwinArchive {
    async fn copy(
        &self,
        link: &ImageUrl,
        key: &ObjectKey,
        _: &[(String, String)],
    ) -> Result<StoredImage, CopyFault> {
        self.process.runs().await;
        let took = COPY * self.bucket.slow.max(1);
        tokio::time::sleep(took / 2).await;
        let picture = self.provider.serve(link, self.bucket.time.now()).map_err(|dead| CopyFault {
            code: "link",
            reason: "the link is dead".to_owned(),
            cure: if dead == DeadLink::Expired { CopyCure::Expired } else { CopyCure::FreshLink },
        })?;
        let act = self.faults.at(Hook::Copy);
        match &act {
            Some(Act::Crash) => self.process.kill(),
            Some(Act::Pause(pause)) => self.process.pause(*pause),
            _ => {}
        }
        self.process.runs().await;
        tokio::time::sleep(took / 2).await;
        if self.bucket.is_away() || act == Some(Act::Lose) {
            return Err(later("store_away"));
        }
        if act == Some(Act::Refuse) {
            return Err(CopyFault { cure: CopyCure::FreshLink, ..later("link_refused") });
        }
        {
            let mut objects = self.bucket.objects();
            match objects.get(key.as_str()) {
                Some(other) if *other != picture => {
                    return Err(CopyFault { cure: CopyCure::Beside, ..later("store_occupied") });
                }
                _ => objects.insert(key.to_string(), picture.clone()),
            };
        }
        match act {
            Some(Act::CrashAfter) => self.process.kill(),
            Some(Act::LoseAnswer) => return Err(later("store_no_answer")),
            _ => {}
        }
        self.process.runs().await;
        let bytes = picture.len() as u64;
        Ok(StoredImage { key: key.clone(), bytes, sha256: digest(&picture), width: 3, height: 3 })
    }

    async fn put_over(&self, from: &ObjectKey, to: &ObjectKey, sha256: &str) -> Result<(), StoreFault> {
        self.call().await?;
        let mut objects = self.bucket.objects();
        match objects.get(from.as_str()).cloned() {
            Some(picture) if digest(&picture) == sha256 => {
                objects.insert(to.to_string(), picture);
                Ok(())
            }
            None if objects.get(to.as_str()).is_some_and(|picture| digest(picture) == sha256) => Ok(()),
            _ => Err(StoreFault {
                code: "gone",
                reason: format!("`{from}` is gone"),
                later: false,
                of_object: false,
            }),
        }
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreFault> {
        self.call().await?;
        self.bucket.objects().remove(key.as_str());
        Ok(())
    }

    async fn put_json(&self, key: &ObjectKey, value: &serde_json::Value) -> Result<(), StoreFault> {
        self.call().await?;
        self.bucket.objects().insert(key.to_string(), value.to_string());
        Ok(())
    }

    async fn presign(
        &self,
        bucket: Option<&str>,
        key: &ObjectKey,
        life: Duration,
        now: Timestamp,
    ) -> Result<ImageUrl, StoreFault> {
        let dies = (now + life).as_second();
        let link = format!("https://{}.example/{key}?Expires={dies}", bucket.unwrap_or("own"));
        ImageUrl::new(link).map_err(|fault| StoreFault {
            code: "link",
            reason: fault.to_string(),
            later: false,
            of_object: false,
        })
    }

    async fn read(
        &self,
        _: Option<&str>,
        key: &ObjectKey,
        bytes_max: u64,
    ) -> Result<Option<Bytes>, StoreFault> {
        self.call().await?;
        let found = self.bucket.objects().get(key.as_str()).cloned();
        match found {
            Some(body) if body.len() as u64 > bytes_max => {
                let reason = format!("`{key}` is too big");
                Err(StoreFault { code: "too_big", reason, later: false, of_object: true })
            }
            found => Ok(found.map(Bytes::from)),
        }
    }
}
