//! `--dry-run`: what would be done, and nothing is done.

use std::sync::Arc;

use job::TaskKind;
use queue::Queue;

use super::forecast::Forecast;
use super::look::look;
use super::spend::too_dear;
use super::view::EnqueueView;
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

/// Says what would be done, and does nothing. Redis is only read, and not needed.
pub(super) async fn dry_run(
    app: &App,
    args: &EnqueueArgs,
    settings: &Settings,
    input: Input,
    mut view: EnqueueView,
) -> Result<u8, Failure> {
    let Input { source, rules, judged, images } = input;
    let prices = settings.prices();
    let mut cost = judged.cost_max(&prices);
    let mut durations = None;
    match Queue::connect(&settings.redis(), app.rng()).await {
        Ok(queue) => {
            durations = queue.durations().await.ok();
            if args.batch.is_some() {
                let (stand, _) = look(&queue, &source, &rules, &judged, images).await?;
                cost = stand.cost_max(&prices, args.replace);
                view.there = Some(stand);
            }
        }
        Err(error) => app.out.note(&format!("note: what is there already is not known: {error}")),
    }
    let learned = |model| {
        let kind = TaskKind { model, shape: None };
        durations.as_ref()?.likely(kind).map(|likely| likely.mean)
    };
    view.forecast = Some(Forecast::new(&judged.shares, &prices, settings.accounts(), learned));
    if app.out.json {
        app.out.print_json(&view)?
    } else {
        app.out.print(&view.render_dry(&judged, &prices))?
    }
    too_dear(args.max_cost, &prices, cost)?;
    Ok(exit_code::DONE)
}
