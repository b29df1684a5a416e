//! `imagemill config`.

use clap::{Args, Subcommand};

/// Show and check the settings.
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(crate) struct ConfigArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

/// What can be done with settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    Show(ShowConfig),
    /// Say everything that is wrong with the settings; connects to nothing
    Check,
}

/// Print the settings in force, as TOML, with the source of each
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  imagemill config show --example > imagemill.toml")]
pub(crate) struct ShowConfig {
    /// Print a settings file with every setting, its default and what it means
    #[arg(long)]
    pub(crate) example: bool,
}
