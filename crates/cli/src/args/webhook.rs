//! `imagemill webhook`.

use clap::{Args, Subcommand};
use job::WebhookName;

/// List webhooks, and try whether their receivers work
#[derive(Debug, Args)]
#[command(
    disable_help_subcommand = true,
    after_help = "\
Webhooks are set as [[webhooks]] in the settings file. When the last job of a batch is over, each is sent an event of type
`batch.ended`, signed as standardwebhooks.com says. A receiver that does not answer with a 2xx is tried again for a day; it gets an
event at least once, always under the same `webhook-id`. `imagemill batch show` says what became of it.

Example:
  imagemill webhook test shop"
)]
pub(crate) struct WebhookArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: WebhookCommand,
}

/// What can be done with webhooks.
#[derive(Debug, Subcommand)]
pub(crate) enum WebhookCommand {
    /// List webhooks with what became of their events
    Ls,
    /// Send an event of type `ping` right now, and say what came back
    Test {
        /// The webhook
        #[arg(value_name = "NAME")]
        name: WebhookName,
    },
}
