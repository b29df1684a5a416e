//! SIGHUP: a worker reads the settings again, and takes accounts and webhooks over.
//!
//! From the same sources as at its start: flags, environment, file, and the files of keys and secrets. That is all that a running worker
//! takes over; other settings that are others by now are named. A problem leaves everything as it was.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info, warn};
use worker::outbox::Webhook;
use worker::{AccountConfig, Changes, ReloadError, Reloaded, Reloader};

use crate::failure::{Failure, OrFail as _};
use crate::settings::{KeyError, Settings, SettingsError, Sources, WebhookError, changed_settings};

/// The settings that were read again cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Webhook(#[from] WebhookError),
}

/// Listens from now on: without that the signal ends the process.
pub(super) fn hangups() -> Result<Signal, Failure> {
    signal(SignalKind::hangup()).or_fail("failed to listen for signals")
}

/// Reads the settings again at each signal, until the worker goes down. `running` are those that it began with.
pub(super) async fn on_hangup(mut hangups: Signal, sources: Sources, running: Settings, reloader: Reloader) {
    while hangups.recv().await.is_some() {
        let of = sources.clone();
        // Files may stand on a slow disk, and creates have their moment.
        let read = tokio::task::spawn_blocking(move || again(&of)).await;
        let (settings, accounts, webhooks) = match read {
            Ok(Ok(read)) => read,
            Ok(Err(unusable)) => {
                refused(&unusable);
                continue;
            }
            Err(panicked) => {
                error!("The settings could not be read again: {panicked}");
                continue;
            }
        };
        for warning in &settings.warnings {
            warn!("The settings that were read again: {warning}");
        }
        match reloader.reload(accounts, webhooks).await {
            Ok(reloaded) => {
                taken_over(&reloaded);
                need_a_restart(&running, &settings);
            }
            Err(ReloadError::GoingDown) => return,
            Err(why) => {
                error!(
                    error = &why as &dyn std::error::Error,
                    "The accounts were read again and not taken over; the worker goes on with those that it had, and with its webhooks: {why}"
                );
            }
        }
    }
}

fn again(sources: &Sources) -> Result<(Settings, Vec<AccountConfig>, Vec<Webhook>), Unusable> {
    let settings = Settings::load(sources)?;
    let (accounts, webhooks) = (settings.worker_accounts()?, settings.webhooks()?);
    Ok((settings, accounts, webhooks))
}

/// Says what is wrong, where and why, in one entry.
fn refused(unusable: &Unusable) {
    let details: String = match unusable {
        Unusable::Settings(SettingsError::Problems { problems }) => {
            problems.iter().map(|problem| format!("; {problem}")).collect()
        }
        _ => String::new(),
    };
    error!(
        error = unusable as &dyn std::error::Error,
        "The settings were read again and cannot be used; the worker goes on with the accounts and webhooks that it had: {unusable}{details}"
    );
}

fn taken_over(Reloaded { accounts, webhooks }: &Reloaded) {
    if accounts.is_empty() && webhooks.is_empty() {
        return info!("The settings were read again; accounts and webhooks are as they were");
    }
    if !accounts.is_empty() {
        info!("The accounts were read again and hold from now on ({})", named(accounts));
    }
    if !webhooks.is_empty() {
        info!("The webhooks were read again and hold from now on ({})", named(webhooks));
    }
}

/// What differs, for a log.
fn named<Name: std::fmt::Display>(Changes { added, changed, removed }: &Changes<Name>) -> String {
    let parts = [("new", added), ("changed", changed), ("gone", removed)];
    let named = parts.iter().filter(|(_, names)| !names.is_empty()).map(|(word, names)| {
        let names: Vec<String> = names.iter().map(Name::to_string).collect();
        format!("{word}: {}", names.join(", "))
    });
    named.collect::<Vec<_>>().join("; ")
}

fn need_a_restart(running: &Settings, settings: &Settings) {
    let names = changed_settings(running, settings);
    if !names.is_empty() {
        warn!(
            "Only accounts and webhooks are read again by a running worker; these settings changed as well and hold after a restart: {}",
            names.join(", ")
        );
    }
}
