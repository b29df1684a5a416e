//! `webhook ls` and `webhook test`.

use job::WebhookName;
use queue::HookCounts;
use worker::adapters::HttpReceivers;
use worker::outbox::{Ponged, ping};

use crate::app::{App, queue_failure, webhook_failure};
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::output::webhooks::{HookView, list as hook_list};

/// Lists the webhooks of the settings, and those that the queue still knows.
pub(super) async fn list(app: &App) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let queue = app.queue(&settings).await?;
    let mut counts =
        queue.hook_counts().await.map_err(|error| queue_failure(error, "count what webhooks were told"))?;
    let mut hooks = Vec::new();
    for row in settings.webhook_rows() {
        let Some(name) = row.name() else { continue };
        let at = counts.iter().position(|of| of.hook == name.as_str());
        let of = at.map(|at| counts.remove(at));
        let of = of.unwrap_or_else(|| HookCounts { hook: name.to_string(), ..HookCounts::default() });
        hooks.push(HookView { address: Some(row.shown_address()), ..HookView::from(of) });
    }
    hooks.extend(counts.into_iter().map(HookView::from));
    if app.out.json {
        app.out.print_json(&serde_json::json!({ "webhooks": hooks }))?;
    } else if hooks.is_empty() {
        app.out.note("There are no webhooks: they are set as [[webhooks]] in the settings file.");
    } else {
        app.out.print(&hook_list(&hooks, queue.now()))?;
    }
    Ok(exit_code::DONE)
}

/// Sends a ping.
pub(super) async fn test(app: &App, name: WebhookName) -> Result<u8, Failure> {
    let settings = app.settings()?;
    let hooks = settings.webhooks().map_err(webhook_failure)?;
    let Some(hook) = hooks.iter().find(|hook| hook.name == name) else {
        let known: Vec<&str> = hooks.iter().map(|hook| hook.name.as_str()).collect();
        let hint = match dashscope::request::nearest_name(name.as_str(), &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "webhooks are set as [[webhooks]] in the settings file".to_owned(),
            None => format!("the settings have {}", known.join(", ")),
        };
        let failure = Failure::message(format!("there is no webhook `{name}`"));
        return Err(failure.exit(exit_code::USAGE).hint(hint));
    };
    // Events are signed with Redis's time: a receiver refuses one whose clock is far from its own.
    let now = app.queue(&settings).await?.now();
    let receivers = HttpReceivers::new().or_fail("failed to set up the client for webhooks")?;
    let id = format!("evt_ping_{:016x}", rand::RngExt::random::<u64>(&mut *app.rng()));
    match ping(&receivers, hook, &id, now, settings.delivery_timeout()).await {
        Ponged::Taken if app.out.json => {
            app.out.print_json(
                &serde_json::json!({ "webhook": name.as_str(), "taken": true, "event_id": id }),
            )?;
        }
        Ponged::Taken => app.out.print(&format!("webhook {name} took the event {id}"))?,
        Ponged::NotTaken(why) => {
            let hint = "a receiver answers with a 2xx once the signature is right; anything else is tried again for a day";
            let failure =
                Failure::message(why).context(format!("webhook {name} did not take the event {id}"));
            return Err(failure.exit(exit_code::FAILED).hint(hint));
        }
    }
    Ok(exit_code::DONE)
}
