//! What `enqueue` says.

use job::{BatchName, Micros, Prices};
use serde::Serialize;

use super::became::Sent;
use super::forecast::Forecast;
use super::look::Stand;
use crate::input::fault::Fault;
use crate::input::judge::Judged;
use crate::input::work::Work;
use crate::output::batch::Cost;
use crate::output::status::at_most;
use crate::output::words::{count, counted, money};
use crate::refresh::Plan;

/// What `enqueue --json` prints. The shape is stable: fields are added, never changed.
#[derive(Debug, Serialize)]
pub(super) struct EnqueueView {
    /// The batch.
    batch: Option<String>,
    /// Jobs that are new.
    enqueued: u64,
    /// Jobs that were there already.
    duplicates: u64,
    /// Jobs of which another one with the same `custom_id` is there. That one stands.
    changed: u64,
    /// Jobs that were there and were replaced, with `--replace`.
    replaced: u64,
    /// Jobs that were to be replaced, and are under way or held.
    under_way: u64,
    /// With `--refresh`: items whose images are what they would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    unchanged: Option<u64>,
    /// With --refresh: items whose last job asked for the same, and was refused, brought less than it was paid for, or could not be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    given_up: Option<u64>,
    /// With `--refresh`: items whose manifest cannot be read until somebody looks at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<u64>,
    /// With `--refresh`: items that an earlier job is at work on.
    #[serde(skip_serializing_if = "Option::is_none")]
    busy: Option<u64>,
    /// Lines that are no jobs.
    invalid: u64,
    /// The most images that the new jobs and the replaced ones can bring; with `--dry-run` those that would be, and all where
    /// what is there could not be looked at.
    images_max: u64,
    /// What those cost.
    cost_max: Cost,
    /// Whether nothing was sent.
    dry_run: bool,
    /// What of it is there already, with `--dry-run` and a batch where Redis can be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) there: Option<Stand>,
    /// Where it would be made, what it would cost there and how long it would take, with `--dry-run`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) forecast: Option<Forecast>,
    /// The job ids, of prompts that were given by flag.
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs: Option<Vec<String>>,
    /// What is wrong with the lines that are no jobs: the first hundred faults.
    faults: Vec<Fault>,
    /// With `--refresh`: the first of the manifests that cannot be read, each with its key and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unreadable_manifests: Vec<String>,
}

impl EnqueueView {
    /// After the first pass.
    pub(super) fn judged(batch: Option<&BatchName>, judged: &Judged, prices: &Prices, dry_run: bool) -> Self {
        Self {
            batch: batch.map(ToString::to_string),
            enqueued: 0,
            duplicates: 0,
            changed: 0,
            replaced: 0,
            under_way: 0,
            unchanged: None,
            given_up: None,
            unreadable: None,
            busy: None,
            invalid: judged.faulty_lines,
            images_max: judged.work.images_max(),
            cost_max: Cost::new(judged.work.cost_max(prices), &prices.currency),
            dry_run,
            there: None,
            forecast: None,
            jobs: None,
            faults: judged.shown.clone(),
            unreadable_manifests: Vec::new(),
        }
    }

    /// After the second pass.
    pub(super) fn sent(&mut self, sent: &Sent, prices: &Prices, with_ids: bool) {
        self.enqueued = sent.enqueued;
        self.duplicates = sent.duplicates;
        self.changed = sent.changed;
        (self.replaced, self.under_way) = (sent.replaced, sent.under_way);
        self.images_max = sent.made.images_max();
        self.cost_max = Cost::new(sent.made.cost_max(prices), &prices.currency);
        self.jobs = with_ids.then(|| sent.jobs.iter().map(ToString::to_string).collect());
    }

    /// After the items were looked at.
    pub(super) fn refreshed(&mut self, plan: &Plan, busy: u64) {
        (self.unchanged, self.given_up, self.busy) = (Some(plan.unchanged), Some(plan.given_up), Some(busy));
        self.unreadable = Some(plan.unreadable);
        self.unreadable_manifests.clone_from(&plan.unreadable_manifests);
    }

    /// What would be enqueued.
    pub(super) fn would(&mut self, work: &Work, prices: &Prices) {
        self.enqueued = work.jobs();
        self.images_max = work.images_max();
        self.cost_max = Cost::new(work.cost_max(prices), &prices.currency);
    }

    fn at_most(&self) -> String {
        at_most(self.images_max, Micros(self.cost_max.micros), &self.cost_max.currency)
    }

    /// For people.
    pub(super) fn render(&self) -> String {
        let done = if self.dry_run { "Would enqueue" } else { "Enqueued" };
        let mut text = format!("{done} {}", counted(self.enqueued, "job"));
        if let Some(batch) = &self.batch {
            text.push_str(&format!(" into batch {batch}"));
        }
        let also: Vec<String> = [
            (self.unchanged.unwrap_or(0), "unchanged"),
            (self.given_up.unwrap_or(0), "failed before as they are"),
            (self.unreadable.unwrap_or(0), "with a manifest that cannot be read"),
            (self.busy.unwrap_or(0), "busy with an earlier job"),
            (self.duplicates, "there already"),
            (self.changed, "there already and different"),
            (self.replaced, "replaced"),
            (self.under_way, "under way and not replaced"),
            (self.invalid, "invalid and left out"),
        ]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{} {what}", count(number)))
        .collect();
        if !also.is_empty() {
            text.push_str(&format!(" ({})", also.join(", ")));
        }
        text.push_str(&format!(": {}.\n", self.at_most()));
        for job in self.jobs.iter().flatten() {
            text.push_str(&format!("job {job}\n"));
        }
        text
    }

    /// After the jobs were looked at: what would be made of them.
    pub(super) fn stands(&mut self, stand: Stand, to_make: &Work, prices: &Prices) {
        self.images_max = to_make.images_max();
        self.cost_max = Cost::new(to_make.cost_max(prices), &prices.currency);
        self.there = Some(stand);
    }

    /// For people, with `--dry-run`: of `jobs` that the input has, those `to_make`.
    pub(super) fn render_dry(&self, jobs: u64, to_make: &Work, prices: &Prices) -> String {
        let of_them = match &self.there {
            // Also some of those that are there, with --replace.
            Some(there) if to_make.jobs() > there.new => format!(
                ", of which {} would be enqueued and {} replaced",
                count(there.new),
                count(to_make.jobs() - there.new)
            ),
            Some(there) => format!(", of which {} would be enqueued", count(there.new)),
            None => String::new(),
        };
        let mut text =
            format!("{}{of_them}: {}. Nothing was enqueued.\n", counted(jobs, "job"), self.at_most());
        for (model, images) in to_make.images() {
            let cost = money(prices.per_image(model).times(images), &prices.currency);
            text.push_str(&format!("  {} of {model} for {cost}\n", counted(images, "image")));
        }
        for (scenario, jobs) in &to_make.scenarios {
            text.push_str(&format!("  {} of {scenario}\n", counted(*jobs, "job")));
        }
        text.push_str(&self.forecast.as_ref().map(Forecast::render).unwrap_or_default());
        if let (Some(there), Some(batch)) = (&self.there, &self.batch) {
            text.push_str(&format!("In batch {batch}: {}.\n", stand_in_words(there)));
        }
        text
    }
}

/// Such as `2 new, 1 there already`.
pub(super) fn stand_in_words(there: &Stand) -> String {
    let all = [
        (there.new, "new"),
        (there.same, "there already"),
        (there.changed_waiting, "there, different and waiting"),
        (there.changed_ended, "there, different and ended"),
        (there.changed_busy, "there, different and under way"),
        (there.removed, "made and removed before"),
    ];
    let words: Vec<String> = all
        .iter()
        .filter(|(jobs, _)| *jobs > 0)
        .map(|(jobs, what)| format!("{} {what}", count(*jobs)))
        .collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use dashscope::Model;

    use super::*;
    use crate::input::work::tests::work;

    fn judged() -> Judged {
        let work = work(Model::Wan27Image, 4).and(&work(Model::Wan27ImagePro, 1));
        Judged { jobs: 2, faulty_lines: 1, work, ..Judged::default() }
    }

    #[test]
    fn people_and_programs_see_what_became_of_the_input() {
        let batch = BatchName::parse("spring").unwrap();
        let prices = Prices::default();
        let mut view = EnqueueView::judged(Some(&batch), &judged(), &prices, false);
        insta::assert_snapshot!(view.render_dry(2, &judged().work, &prices), @r"
        2 jobs: at most 5 images for 0.195 USD. Nothing was enqueued.
          1 image of wan2.7-image-pro for 0.075 USD
          4 images of wan2.7-image for 0.12 USD
          2 jobs of text_to_image
        ");
        let sent = Sent { enqueued: 1, duplicates: 1, made: work(Model::Wan27Image, 4), ..Sent::default() };
        view.sent(&sent, &prices, false);
        insta::assert_snapshot!(view.render(), @"Enqueued 1 job into batch spring (1 there already, 1 invalid and left out): at most 4 images for 0.12 USD.");
        insta::assert_snapshot!(serde_json::to_string(&view).unwrap(), @r#"{"batch":"spring","enqueued":1,"duplicates":1,"changed":0,"replaced":0,"under_way":0,"invalid":1,"images_max":4,"cost_max":{"amount":0.12,"micros":120000,"currency":"USD"},"dry_run":false,"faults":[]}"#);
    }

    #[test]
    fn a_dry_run_says_and_counts_what_would_be_made_and_not_what_is_there() {
        let batch = BatchName::parse("spring").unwrap();
        let prices = Prices::default();
        let stand = Stand {
            new: 1,
            same: 40,
            changed_ended: 1,
            work_new: work(Model::Wan27Image, 4),
            work_replaced: work(Model::Wan27ImagePro, 1),
            ..Stand::default()
        };
        let said = |stand: &Stand, replace| {
            let mut view = EnqueueView::judged(Some(&batch), &judged(), &prices, true);
            let to_make = stand.to_make(replace);
            view.stands(stand.clone(), &to_make, &prices);
            (view.render_dry(42, &to_make, &prices), view)
        };
        let all_there = Stand { same: 42, ..Stand::default() };
        let texts = [said(&stand, false).0, said(&stand, true).0, said(&all_there, true).0];
        insta::assert_snapshot!(texts.join("---\n"), @r"
        42 jobs, of which 1 would be enqueued: at most 4 images for 0.12 USD. Nothing was enqueued.
          4 images of wan2.7-image for 0.12 USD
          1 job of text_to_image
        In batch spring: 1 new, 40 there already, 1 there, different and ended.
        ---
        42 jobs, of which 1 would be enqueued and 1 replaced: at most 5 images for 0.195 USD. Nothing was enqueued.
          1 image of wan2.7-image-pro for 0.075 USD
          4 images of wan2.7-image for 0.12 USD
          2 jobs of text_to_image
        In batch spring: 1 new, 40 there already, 1 there, different and ended.
        ---
        42 jobs, of which 0 would be enqueued: at most 0 images for 0.00 USD. Nothing was enqueued.
        In batch spring: 42 there already.
        ");
        let (_, view) = said(&stand, true);
        assert_eq!((view.images_max, view.cost_max.micros), (5, 195_000));
    }
}
