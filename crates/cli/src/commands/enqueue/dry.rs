//! `--dry-run`: what would be done, and nothing is done.

use std::sync::Arc;

use job::TaskKind;
use queue::Queue;

use super::forecast::Forecast;
use super::look::{LookError, look};
use super::spend::too_dear;
use super::view::EnqueueView;
use super::{never, warn_of_never_made};
use crate::app::App;
use crate::args::EnqueueArgs;
use crate::exit_code;
use crate::failure::Failure;
use crate::input::images::Images;
use crate::input::judge::Judged;
use crate::input::prepare::Rules;
use crate::input::source::Source;
use crate::settings::Settings;

/// An input that was judged good.
pub(super) struct Input {
    /// Where it stands.
    pub(super) source: Arc<Source>,
    /// What it was judged by.
    pub(super) rules: Arc<Rules>,
    /// What was found.
    pub(super) judged: Arc<Judged>,
    /// The images that were looked at.
    pub(super) images: Images,
}

/// Says what would be done, and does nothing. Redis is only read, and not needed: where it cannot say what is there already, all jobs
/// are counted.
pub(super) async fn dry_run(
    app: &App,
    args: &EnqueueArgs,
    settings: &Settings,
    input: Input,
    mut view: EnqueueView,
) -> Result<u8, Failure> {
    let Input { source, rules, judged, images } = input;
    let prices = settings.prices();
    let mut to_make = judged.work.clone();
    let (mut durations, mut never) = (None, None);
    let not_known = |error: &dyn std::fmt::Display| {
        app.out.note(&format!("note: what is there already is not known, and all jobs are counted: {error}"));
    };
    match Queue::connect(&settings.redis(), app.rng()).await {
        Ok(queue) => {
            durations = queue.durations().await.ok();
            // Prompts without a name are new each time.
            if args.batch.is_some() || args.custom_id.is_some() {
                match look(&queue, &source, &rules, &judged, images).await {
                    Ok((stand, _)) => {
                        to_make = stand.to_make(args.replace);
                        view.stands(stand, &to_make, &prices);
                    }
                    Err(LookError::Queue(error)) => not_known(&error),
                    Err(error) => return Err(error.into()),
                }
            }
            never = never::made(&queue, settings, args.batch(), args.budget, &to_make).await.ok();
        }
        Err(error) => not_known(&error),
    }
    let learned = |model| {
        let kind = TaskKind { model, shape: None };
        durations.as_ref()?.likely(kind).map(|likely| likely.mean)
    };
    view.forecast = Some(Forecast::new(&to_make, &prices, settings.accounts(), learned));
    if app.out.json {
        app.out.print_json(&view)?
    } else {
        app.out.print(&view.render_dry(judged.jobs, &to_make, &prices))?
    }
    // Without Redis nobody knows what was said of the batch before.
    let says = args.budget.unwrap_or_default();
    let never =
        never.unwrap_or_else(|| never::by(settings, args.batch().map(|batch| (batch, says)), &to_make));
    warn_of_never_made(app, Ok(never));
    too_dear(args.max_cost, &prices, to_make.cost_max(&prices))?;
    Ok(exit_code::DONE)
}
