//! What every command is given: where settings come from, the clock, chance, and the connections that follow from them.
//!
//! Connections are opened when a command asks for them, so that `config check` needs no server and `status` no key.

use std::sync::{Arc, Mutex, PoisonError};

use archive::{Archiver, ByteBudget, Downloader, Store};
use queue::{ConnectError, Queue, QueueError};
use rand::SeedableRng;
use rand::rngs::StdRng;
use worker::Clock;

use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::output::Output;
use crate::settings::{KeyError, Settings, SettingsError, Sources, StoreProblem, WebhookError};

/// What every command is given.
pub(crate) struct App {
    /// Where settings come from.
    pub(crate) sources: Sources,
    /// Where answers go.
    pub(crate) out: Output,
    /// The local clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// Chance. What needs its own is given a part of it.
    pub(crate) rng: Mutex<StdRng>,
}

impl App {
    /// The settings. What is allowed and probably not meant is said on stderr.
    ///
    /// # Errors
    ///
    /// Settings that cannot be used: exit code 78.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        let settings = Settings::load(&self.sources).map_err(settings_failure)?;
        for warning in &settings.warnings {
            self.out.note(&format!("warning: {warning}"));
        }
        Ok(settings)
    }

    /// A random source of one's own.
    pub(crate) fn rng(&self) -> Box<StdRng> {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        Box::new(StdRng::from_rng(&mut *rng))
    }

    /// The queue.
    ///
    /// # Errors
    ///
    /// It cannot be reached (69), or not as it is set (78).
    pub(crate) async fn queue(&self, settings: &Settings) -> Result<Queue, Failure> {
        let error = match Queue::connect(&settings.redis(), self.rng()).await {
            Ok(queue) => return Ok(queue),
            Err(error) => error,
        };
        let (code, hint) = match &error {
            ConnectError::Url(_) | ConnectError::CaFile { .. } => {
                (exit_code::SETTINGS, "`redis.url` and `redis.ca_file` say how it is reached".to_owned())
            }
            _ => {
                let address = settings.redis_address();
                let hint = format!(
                    "is Redis running at {address}? IMAGEMILL_REDIS_URL or `redis.url` says where it is"
                );
                (exit_code::UNAVAILABLE, hint)
            }
        };
        Err(Failure::new(error).context("failed to open the queue").exit(code).hint(hint))
    }

    /// The bucket, which was asked whether it is there.
    ///
    /// # Errors
    ///
    /// It is not set (78), or cannot be used (69).
    pub(crate) async fn store(&self, settings: &Settings) -> Result<Store, Failure> {
        let store = self.store_unasked(settings).await?;
        let checked = store.check_bucket().await;
        checked.map_err(|error| {
            let hint =
                "`s3.bucket`, `s3.endpoint` and AWS's own variables say which bucket, and with which key";
            Failure::new(error).context("failed to open the bucket").exit(exit_code::UNAVAILABLE).hint(hint)
        })?;
        Ok(store)
    }

    /// The bucket, without a call to it.
    ///
    /// # Errors
    ///
    /// Its settings cannot be used (78).
    pub(crate) async fn store_unasked(&self, settings: &Settings) -> Result<Store, Failure> {
        let settings = settings.store().map_err(|problem| {
            let hint = match &problem {
                StoreProblem::NoBucket => {
                    "set IMAGEMILL_S3_BUCKET, or `bucket` in section [s3] of the settings file"
                }
                StoreProblem::Secret { .. } => "it must be there for this command",
            };
            Failure::new(problem).context("failed to open the bucket").exit(exit_code::SETTINGS).hint(hint)
        })?;
        let store = Store::connect(&settings).await;
        store.or_fail("failed to open the bucket").map_err(|failure| failure.exit(exit_code::SETTINGS))
    }

    /// What fetches results.
    ///
    /// # Errors
    ///
    /// The HTTP stack cannot be set up.
    pub(crate) fn downloader(&self, settings: &Settings) -> Result<Downloader, Failure> {
        Downloader::new(settings.download()).or_fail("failed to set up the client for results")
    }

    /// What copies results into the bucket.
    ///
    /// # Errors
    ///
    /// As [`Self::store`] and [`Self::downloader`].
    pub(crate) async fn archiver(&self, settings: &Settings) -> Result<Archiver, Failure> {
        let store = self.store(settings).await?;
        Ok(Archiver::new(self.downloader(settings)?, store, ByteBudget::new(settings.image_memory())))
    }
}

/// Settings that cannot be used.
pub(crate) fn settings_failure(error: SettingsError) -> Failure {
    let details = match &error {
        SettingsError::Problems { problems } => problems.iter().map(ToString::to_string).collect(),
        SettingsError::Unreadable { .. } => Vec::new(),
    };
    let hint = "`imagemill config show --example` prints every setting with what it means";
    Failure::new(error).details(details).exit(exit_code::SETTINGS).hint(hint)
}

/// A key that cannot be had or used.
pub(crate) fn key_failure(error: KeyError) -> Failure {
    let hint = match &error {
        KeyError::Unreadable { .. } => {
            "set DASHSCOPE_API_KEY, or `api_key` of the account in the settings file to where its key stands"
        }
        KeyError::Refused { .. } => {
            "a key of Model Studio begins with `sk-`, and belongs to the region of the base URL"
        }
    };
    Failure::new(error).exit(exit_code::SETTINGS).hint(hint)
}

/// A webhook whose secret cannot be had or used.
pub(crate) fn webhook_failure(error: WebhookError) -> Failure {
    let hint = match &error {
        WebhookError::Unreadable { .. } => {
            "`secret` of the webhook in the settings file says where it stands"
        }
        WebhookError::Refused { .. } => {
            "`openssl rand -base64 32` makes one; the receiver is given the same text"
        }
    };
    Failure::new(error).exit(exit_code::SETTINGS).hint(hint)
}

/// A call to Redis that failed.
pub(crate) fn queue_failure(error: QueueError, doing: &'static str) -> Failure {
    let code = if error.is_retryable() { exit_code::UNAVAILABLE } else { exit_code::FAILED };
    Failure::new(error).context(format!("failed to {doing}")).exit(code)
}
