//! `config show` and `config check`.

use serde::Serialize;

use crate::app::{App, key_failure, settings_failure};
use crate::args::ShowConfig;
use crate::exit_code;
use crate::failure::Failure;
use crate::output::words::counted;
use crate::settings::{self, Settings, SettingsError};

/// Prints the settings in force, or the example file.
pub(super) fn show(app: &App, args: &ShowConfig) -> Result<u8, Failure> {
    if args.example {
        app.out.print(&settings::example())?;
        return Ok(exit_code::DONE);
    }
    let settings = app.settings()?;
    if app.out.json {
        app.out.print_json(&settings::effective_json(&settings))?;
    } else {
        app.out.print(&settings::effective(&settings))?;
    }
    Ok(exit_code::DONE)
}

/// What `config check --json` prints.
#[derive(Debug, Serialize)]
struct CheckView {
    ok: bool,
    problems: Vec<ProblemView>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ProblemView {
    place: String,
    what: String,
    hint: Option<String>,
}

/// Says everything that is wrong at once.
pub(super) fn check(app: &App) -> Result<u8, Failure> {
    let loaded = Settings::load(&app.sources);
    let found = match &loaded {
        Ok(settings) => missing(settings),
        Err(SettingsError::Problems { problems }) => problems
            .iter()
            .map(|problem| ProblemView {
                place: problem.place.to_string(),
                what: problem.what.clone(),
                hint: problem.hint.clone(),
            })
            .collect(),
        Err(SettingsError::Unreadable { .. }) => Vec::new(),
    };
    let warnings = loaded.as_ref().map(|settings| settings.warnings.clone()).unwrap_or_default();
    let ok = loaded.is_ok() && found.is_empty();
    if app.out.json && !matches!(loaded, Err(SettingsError::Unreadable { .. })) {
        app.out.print_json(&CheckView { ok, problems: found, warnings })?;
        return Ok(if ok { exit_code::DONE } else { exit_code::SETTINGS });
    }
    let settings = loaded.map_err(settings_failure)?;
    for warning in &warnings {
        app.out.note(&format!("warning: {warning}"));
    }
    if !ok {
        let count = found.len();
        let what = if count == 1 {
            "a setting is missing".to_owned()
        } else {
            format!("{count} settings are missing")
        };
        let lines = found.into_iter().map(|problem| match problem.hint {
            Some(hint) => format!("{} ({hint})", problem.what),
            None => problem.what,
        });
        return Err(Failure::message(what).details(lines.collect()).exit(exit_code::SETTINGS));
    }
    let file = settings.file.as_ref().map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    let accounts = counted(settings.accounts().len() as u64, "account");
    app.out.print(&format!("The settings are good ({file}; {accounts})."))?;
    Ok(exit_code::DONE)
}

/// What a worker would miss, though each setting is fine by itself.
fn missing(settings: &Settings) -> Vec<ProblemView> {
    let mut found = Vec::new();
    let mut miss = |failure: &Failure| {
        found.push(ProblemView {
            place: "settings".to_owned(),
            what: failure.error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": "),
            hint: failure.hint.clone(),
        });
    };
    for account in settings.accounts() {
        if let Err(error) = account.keys(settings.environment()) {
            miss(&key_failure(error));
        }
    }
    if let Err(problem) = settings.store() {
        miss(&Failure::new(problem).hint("IMAGEMILL_S3_BUCKET or `s3.bucket`"));
    }
    found
}
