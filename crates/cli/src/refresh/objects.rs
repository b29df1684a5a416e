//! What a refresh asks the bucket for: manifests, and whether inputs were written anew. Reads only.

use std::collections::HashMap;
use std::time::Duration;

use archive::{Store, StoreError, StoreSettings};
use job::{MANIFEST_BYTES_MAX, ObjectKey, Published};
use tokio::sync::Mutex;

use crate::app::App;
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::settings::Settings;

/// The waits between tries of one question. Source: ours; a blip passes, an outage fails the run, which is tried again.
const WAITS: [Duration; 3] = [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(3)];

/// What stands where an item's manifest is looked for.
pub(crate) enum Manifest {
    /// This; nothing where there is none.
    Known(Option<Published>),
    /// Something that cannot be read until a person acts, and why. Others can be.
    Unreadable(String),
}

/// The bucket, and others that inputs are in.
pub(crate) struct Objects {
    store: Store,
    settings: StoreSettings,
    others: Mutex<HashMap<String, Store>>,
}

impl Objects {
    /// Opens the bucket of the settings.
    ///
    /// # Errors
    ///
    /// It is not set (78), or cannot be used (69).
    pub(crate) async fn open(app: &App, settings: &Settings) -> Result<Self, Failure> {
        let store = app.store(settings).await?;
        let settings = settings.store().or_fail("failed to open the bucket")?;
        Ok(Self { store, settings, others: Mutex::default() })
    }

    /// The bucket that images and inputs go to.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The manifest at a key of our bucket.
    ///
    /// # Errors
    ///
    /// The bucket is away, or refuses (69). What lies in the object itself is no error: a whole catalogue must not wait for one item.
    pub(crate) async fn manifest(&self, key: &ObjectKey) -> Result<Manifest, Failure> {
        match patiently(|| self.store.get(key, MANIFEST_BYTES_MAX)).await {
            Ok(None) => Ok(Manifest::Known(None)),
            Ok(Some(bytes)) => Ok(match Published::parse(&bytes) {
                Ok(published) => Manifest::Known(Some(published)),
                Err(none) => Manifest::Unreadable(none.to_string()),
            }),
            Err(error) if error.lies_in_object() => Ok(Manifest::Unreadable(error.kind().to_string())),
            Err(error) => Err(failure(error, "failed to read what stands in the bucket")),
        }
    }

    /// The entity tag of an object that a user named; `None` if there is none.
    ///
    /// # Errors
    ///
    /// The store is away, or refuses (69).
    pub(crate) async fn tag(&self, bucket: &str, key: &ObjectKey) -> Result<Option<String>, Failure> {
        let store = self.of_bucket(bucket).await?;
        let facts = patiently(|| store.head(key)).await;
        let facts = facts.map_err(|error| failure(error, "failed to look at an input image"))?;
        Ok(facts.and_then(|facts| facts.etag))
    }

    /// The whole object at a key of any bucket, of at most `bytes_max`.
    ///
    /// # Errors
    ///
    /// There is none, it is too large, or the store is away (69).
    pub(crate) async fn whole(
        &self,
        bucket: &str,
        key: &ObjectKey,
        bytes_max: u64,
    ) -> Result<bytes::Bytes, Failure> {
        let store = self.of_bucket(bucket).await?;
        let found = patiently(|| store.get(key, bytes_max)).await;
        let found = found.map_err(|error| failure(error, "failed to fetch an object"))?;
        found.ok_or_else(|| {
            Failure::message(format!("there is no object s3://{bucket}/{key}")).exit(exit_code::UNAVAILABLE)
        })
    }

    async fn of_bucket(&self, bucket: &str) -> Result<Store, Failure> {
        // Our own bucket, named by a user: the whole of it, and not what lies under our prefix.
        let mut others = self.others.lock().await;
        if let Some(store) = others.get(bucket) {
            return Ok(store.clone());
        }
        let settings =
            StoreSettings { bucket: bucket.to_owned(), prefix: String::new(), ..self.settings.clone() };
        let store = Store::connect(&settings).await;
        let store =
            store.or_fail("failed to open a bucket").map_err(|failure| failure.exit(exit_code::SETTINGS))?;
        others.insert(bucket.to_owned(), store.clone());
        Ok(store)
    }
}

async fn patiently<T, F: Future<Output = Result<T, StoreError>>>(
    mut call: impl FnMut() -> F,
) -> Result<T, StoreError> {
    for wait in WAITS {
        match call().await {
            Err(error) if error.is_retryable() => tokio::time::sleep(wait).await,
            result => return result,
        }
    }
    call().await
}

fn failure(error: StoreError, doing: &'static str) -> Failure {
    Failure::new(error).context(doing).exit(exit_code::UNAVAILABLE)
}
