//! `pause` and `resume`, `batch pause` and `batch resume`.

use queue::{PauseChange, PauseOf};

use super::batch::no_batch;
use crate::app::{App, queue_failure};
use crate::args::{PauseArgs, PauseBatch, ResumeArgs, ResumeBatch, Widely};
use crate::exit_code;
use crate::failure::Failure;
use crate::output::pauses::of_in_words;
use crate::settings::Settings;

/// The names under which a shell knows who types.
const USER: [&str; 2] = ["USER", "LOGNAME"];

/// Pauses an account, a model, or everything.
pub(super) async fn pause(app: &App, args: PauseArgs) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let of = widely(args.of);
    refuse_unknown_account(&of, &settings)?;
    hold_back(app, &settings, of, &args.why).await
}

/// Resumes it. An account that the settings know no more can be resumed all the same.
pub(super) async fn resume(app: &App, args: ResumeArgs) -> Result<u8, Failure> {
    let settings = app.settings()?;
    go_on(app, &settings, widely(args.of)).await
}

/// Pauses a batch.
pub(super) async fn pause_batch(app: &App, args: PauseBatch) -> Result<u8, Failure> {
    let settings = app.settings()?;
    hold_back(app, &settings, PauseOf::Batch(args.name), &args.why).await
}

/// Resumes it.
pub(super) async fn resume_batch(app: &App, args: ResumeBatch) -> Result<u8, Failure> {
    let settings = app.settings()?;
    go_on(app, &settings, PauseOf::Batch(args.name)).await
}

fn widely(of: Widely) -> PauseOf {
    match (of.model, of.account) {
        (Some(model), Some(account)) => PauseOf::ModelOnAccount(model, account),
        (Some(model), None) => PauseOf::Model(model),
        (None, Some(account)) => PauseOf::Account(account),
        (None, None) => PauseOf::All,
    }
}

fn refuse_unknown_account(of: &PauseOf, settings: &Settings) -> Result<(), Failure> {
    let (PauseOf::Account(account) | PauseOf::ModelOnAccount(_, account)) = of else { return Ok(()) };
    let names: Vec<&str> = settings.accounts().iter().map(|known| known.name().as_str()).collect();
    if names.contains(&account.as_str()) {
        return Ok(());
    }
    let failure = Failure::message(format!("there is no account `{account}`")).exit(exit_code::USAGE);
    Err(failure.hint(format!("the settings know {}", names.join(", "))))
}

/// Who types, as far as the environment tells.
pub(super) fn who(app: &App) -> &str {
    USER.iter().find_map(|name| app.sources.environment.get(*name)).map_or("", String::as_str)
}

async fn hold_back(app: &App, settings: &Settings, of: PauseOf, why: &str) -> Result<u8, Failure> {
    let queue = app.queue(settings).await?;
    let change = queue.pause(&of, who(app), why).await.map_err(|error| queue_failure(error, "pause"))?;
    let said = match change {
        PauseChange::Done => "is paused: no new task is created; what is at DashScope is finished",
        PauseChange::Same => "was paused already",
        PauseChange::NoBatch => return Err(missing(&of)),
    };
    say(app, &of, change, true, said)
}

async fn go_on(app: &App, settings: &Settings, of: PauseOf) -> Result<u8, Failure> {
    let queue = app.queue(settings).await?;
    let failed = |error| queue_failure(error, "resume");
    let change = queue.resume(&of).await.map_err(failed)?;
    let said = match change {
        PauseChange::Done => "goes on",
        PauseChange::Same => "was not paused",
        PauseChange::NoBatch => return Err(missing(&of)),
    };
    say(app, &of, change, false, said)?;
    let left = queue.hand_pauses().await.map_err(failed)?;
    if !left.is_empty() && !app.out.json {
        let left: Vec<String> = left.iter().map(|pause| of_in_words(&pause.of)).collect();
        app.out.note(&format!("Still paused: {}", left.join(", ")));
    }
    Ok(exit_code::DONE)
}

fn say(app: &App, of: &PauseOf, change: PauseChange, paused: bool, said: &str) -> Result<u8, Failure> {
    let words = of_in_words(of);
    if app.out.json {
        let changed = change == PauseChange::Done;
        app.out.print_json(&serde_json::json!({ "of": words, "paused": paused, "changed": changed }))?;
    } else {
        app.out.note(&format!("{}{} {said}.", words[..1].to_uppercase(), &words[1..]));
    }
    Ok(exit_code::DONE)
}

fn missing(of: &PauseOf) -> Failure {
    match of {
        PauseOf::Batch(name) => no_batch(name),
        other => Failure::message(format!("there is no {}", of_in_words(other))),
    }
}
