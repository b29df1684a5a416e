//! A job as scripts and people see it. Links are never shown, prompts only when asked for.

mod request;

use dashscope::Model;
use job::{
    AccountName, Action, ImageState, Job, JobSpec, JobState, KeyTemplate, Outcome, PinnedTo, Prices, Rules,
    StateName, TaskPhase, Timestamp, Try,
};
use queue::Losses;
use serde::Serialize;

use self::request::RequestView;
pub(crate) use self::request::scenario;
use super::batch::Cost;
use super::budget::{WaitsFor, waits_in_words};
use super::copies::LostView;
use super::doubt::DoubtView;
use super::table::{Column, pairs, table};
use super::words::{counted, money, relative, size, time};

/// A job in a list. The shape is stable: fields are added, never changed.
#[derive(Debug, Serialize)]
pub(crate) struct JobRow {
    /// The job id.
    pub(crate) job: String,
    /// Its batch.
    pub(crate) batch: Option<String>,
    /// The user's own name for it.
    pub(crate) custom_id: Option<String>,
    /// Where it is in its life.
    pub(crate) state: StateName,
    /// What is to be said of the state: a code, a reason.
    pub(crate) reason: Option<String>,
    /// The model.
    pub(crate) model: Model,
    /// Attempts to create its task so far.
    pub(crate) attempts: u32,
    /// Images in the bucket.
    pub(crate) stored: u8,
    /// The most images that it can bring.
    pub(crate) images_max: u8,
    /// When it was accepted.
    pub(crate) enqueued_at: Timestamp,
    /// Whether somebody asked to cancel it.
    pub(crate) cancel_requested: bool,
    /// What a person has to know to decide, while it is held.
    pub(crate) doubt: Option<DoubtView>,
}

/// What `job show --json` prints. The shape is stable: fields are added, never changed.
#[derive(Debug, Serialize)]
pub(crate) struct JobView {
    /// What stands in lists as well.
    #[serde(flatten)]
    pub(crate) row: JobRow,
    /// What happens next, in words.
    pub(crate) next: String,
    /// Budgets that it waits for, where it is queued.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) waits_for: Vec<WaitsFor>,
    /// When the next step is due.
    pub(crate) due_at: Option<Timestamp>,
    /// The account that runs or ran it.
    pub(crate) account: Option<AccountName>,
    /// The only region whose accounts may run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) region: Option<String>,
    /// The task at DashScope.
    pub(crate) task: Option<String>,
    /// When the first link to its images dies, while that matters.
    pub(crate) links_die_at: Option<Timestamp>,
    /// How urgent it is, 0 to 9.
    pub(crate) priority: u8,
    /// What it asks for.
    pub(crate) request: Option<RequestView>,
    /// Its images, once there are some.
    pub(crate) images: Vec<ImageView>,
    /// Whether they were to be put under an item's stable keys, and could not be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unpublished: bool,
    /// Images billed, over all its tasks.
    pub(crate) billed: u16,
    /// What they cost.
    pub(crate) cost: Cost,
    /// What is lost of both, once the job is over: billed, and not in the bucket.
    pub(crate) lost: LostView,
    /// Its history, oldest first.
    pub(crate) tries: Vec<Try>,
}

/// One image of a job.
#[derive(Debug, Serialize)]
pub(crate) struct ImageView {
    /// Its place in the result, from 0.
    pub(crate) index: u8,
    /// `waiting`, `stored` or `lost`.
    pub(crate) state: &'static str,
    /// Its key in the bucket: where it is, or will be.
    pub(crate) key: Option<String>,
    /// Its size in bytes.
    pub(crate) bytes: Option<u64>,
    /// In pixels.
    pub(crate) width: Option<u32>,
    /// In pixels.
    pub(crate) height: Option<u32>,
    /// The SHA-256 of its bytes.
    pub(crate) sha256: Option<String>,
    /// When its link dies, while it waits.
    pub(crate) link_dies_at: Option<Timestamp>,
    /// Why it is lost.
    pub(crate) reason: Option<String>,
}

/// Everything that is known of a job.
#[derive(Debug)]
pub(crate) struct Known {
    /// Its record.
    pub(crate) job: Job,
    /// What it asks for.
    pub(crate) spec: Option<JobSpec>,
    /// What its task brought.
    pub(crate) outcome: Option<Outcome>,
    /// Its history.
    pub(crate) tries: Vec<Try>,
}

/// What a job is shown by.
#[derive(Debug)]
pub(crate) struct Lens<'a> {
    /// The rules, for deadlines.
    pub(crate) rules: &'a Rules,
    /// The keys of images.
    pub(crate) template: &'a KeyTemplate,
    /// For the currency.
    pub(crate) prices: &'a Prices,
    /// Whether to show the prompt.
    pub(crate) prompt: bool,
    /// Redis's time.
    pub(crate) now: Timestamp,
}

impl JobRow {
    /// A job's record, with the name from its spec and, of a held job, what its history says.
    pub(crate) fn new(job: &Job, spec: Option<&JobSpec>, tries: &[Try]) -> Self {
        Self {
            job: job.id.to_string(),
            batch: job.batch.as_ref().map(ToString::to_string),
            custom_id: spec.and_then(|spec| spec.custom_id.as_ref()).map(ToString::to_string),
            state: job.state_name(),
            reason: reason(&job.state),
            model: job.model,
            attempts: job.attempts,
            stored: job.stored,
            images_max: job.images_max,
            enqueued_at: job.enqueued_at,
            cancel_requested: job.cancel_requested,
            doubt: DoubtView::of(job, tries),
        }
    }
}

/// What is to be said of a state.
fn reason(state: &JobState) -> Option<String> {
    match state {
        JobState::Queued { cause, .. } => cause.as_ref().map(|cause| format!("after {cause}")),
        JobState::Settling { cause, .. } => Some(format!("create call: {cause}")),
        JobState::Polling { phase, .. } => Some(
            match phase {
                TaskPhase::Pending => "pending",
                TaskPhase::Running => "running",
                TaskPhase::Unrecognised => "unrecognised",
            }
            .to_owned(),
        ),
        JobState::Succeeded { partial, .. } => partial.then(|| "images missing".to_owned()),
        JobState::Failed { class, code, .. } => Some(format!("{class}: {code}")),
        JobState::Canceled { by, .. } => Some(match by {
            job::CanceledBy::User => "by request".to_owned(),
            job::CanceledBy::Provider => "at the provider".to_owned(),
        }),
        JobState::Held { reason, .. } => Some(reason.explain().to_owned()),
        JobState::Expired { .. } => Some("the links died before the images were copied".to_owned()),
        JobState::Submitting { .. } | JobState::Archiving { .. } => None,
    }
}

/// What happens next, in words.
pub(crate) fn next_in_words(job: &Job, now: Timestamp) -> String {
    let text = match job.next_action(now) {
        Action::WaitForClaim => match job.state.due().filter(|due| *due > now) {
            Some(due) => format!("waits for its time, {}", relative(due, now)),
            None => "waits for a worker, a permit and a place at DashScope".to_owned(),
        },
        Action::Submit => "a worker is creating its task".to_owned(),
        Action::Settle => "a worker finds out what became of its create call".to_owned(),
        Action::Poll(_) => "a worker asks whether its task is done".to_owned(),
        Action::Cancel(_) => "a worker cancels its task at DashScope".to_owned(),
        Action::Archive => "a worker copies its images into the bucket".to_owned(),
        Action::Wait(due) => {
            let what = match job.state_name() {
                StateName::Settling => "the next look at what became of its create call",
                StateName::Archiving => "the next round of copying",
                _ => "the next question about its task",
            };
            format!("{what}, {}", relative(due, now))
        }
        Action::AskPerson => "a person has to decide".to_owned(),
        Action::Nothing => "nothing, it is over".to_owned(),
    };
    if job.cancel_requested && !job.state_name().is_final() {
        format!("{text} (cancel requested)")
    } else {
        text
    }
}

impl JobView {
    /// Everything that is known of a job, as it is shown.
    pub(crate) fn new(known: &Known, lens: &Lens<'_>) -> Self {
        let Known { job, spec, outcome, tries } = known;
        let over = job.state_name().is_final();
        Self {
            row: JobRow::new(job, spec.as_ref(), tries),
            next: next_in_words(job, lens.now),
            waits_for: Vec::new(),
            due_at: job.state.due(),
            account: job.state.attempt().map(|attempt| attempt.account.clone()).or_else(|| {
                match &job.pinned_to {
                    Some(PinnedTo::Account(account)) => Some(account.clone()),
                    _ => None,
                }
            }),
            region: match &job.pinned_to {
                Some(PinnedTo::Region(region)) => Some(region.to_string()),
                _ => None,
            },
            task: job.state.task().map(ToString::to_string),
            links_die_at: if over { None } else { job.deadline(lens.rules) },
            priority: job.priority.into(),
            request: spec.as_ref().map(|spec| RequestView::new(spec, lens.prompt)),
            images: outcome
                .as_ref()
                .map(|outcome| images(job, spec.as_ref(), outcome, lens.template))
                .unwrap_or_default(),
            unpublished: outcome.as_ref().is_some_and(|outcome| outcome.unpublished),
            billed: job.billed,
            cost: Cost::new(job.cost, &lens.prices.currency),
            lost: LostView::new(
                Losses { images: job.lost_images().into(), cost: job.lost_cost() },
                &lens.prices.currency,
            ),
            tries: tries.clone(),
        }
    }

    /// For people.
    pub(crate) fn render(&self, now: Timestamp) -> String {
        let row = &self.row;
        let or_none = |text: Option<&str>| text.unwrap_or("-").to_owned();
        let state = match &row.reason {
            Some(reason) => format!("{} ({reason})", row.state),
            None => row.state.to_string(),
        };
        let mut rows = vec![
            ("job", row.job.clone()),
            ("batch", or_none(row.batch.as_deref())),
            ("custom_id", or_none(row.custom_id.as_deref())),
            ("state", state),
            (
                "next",
                match self.waits_for[..] {
                    [] => self.next.clone(),
                    _ => waits_in_words(&self.waits_for, now),
                },
            ),
            ("enqueued", format!("{} ({})", relative(row.enqueued_at, now), time(row.enqueued_at))),
            ("model", row.model.to_string()),
        ];
        if let Some(request) = &self.request {
            rows.push(("asks for", request.render()));
            rows.extend(request.inputs.iter().map(|input| ("input", input.clone())));
            let chars = counted(request.prompt_chars as u64, "character");
            rows.push(("prompt", request.prompt.clone().unwrap_or(chars)));
        }
        rows.push(("priority", self.priority.to_string()));
        rows.extend(self.region.clone().map(|region| ("region", region)));
        rows.extend([
            ("account", or_none(self.account.as_ref().map(AccountName::as_str))),
            ("task", or_none(self.task.as_deref())),
            ("attempts", row.attempts.to_string()),
            ("images", self.counts()),
            ("cost", money(job::Micros(self.cost.micros), &self.cost.currency)),
        ]);
        if self.lost.images > 0 {
            rows.push(("lost", self.lost.render()));
        } else if row.state == StateName::Expired {
            let most = counted(row.images_max.into(), "image");
            rows.push((
                "lost",
                format!("at most {most}: DashScope forgot the task before it said what it bills"),
            ));
        }
        if let Some(deadline) = self.links_die_at {
            rows.push(("links die", format!("{} ({})", relative(deadline, now), time(deadline))));
        }
        let mut text = pairs(&rows);
        if !self.images.is_empty() {
            text.push('\n');
            text.push_str(&self.images_table(now));
        }
        if let Some(doubt) = &row.doubt {
            text.push('\n');
            doubt.lines().iter().for_each(|line| text.push_str(&format!("{line}\n")));
        }
        if !self.tries.is_empty() {
            text.push('\n');
            text.push_str(&self.tries_table());
        }
        text
    }

    fn counts(&self) -> String {
        let (stored, most) = (self.row.stored, self.row.images_max);
        let hidden = if self.unpublished { "; not shown by the item's stable keys" } else { "" };
        format!("{stored} stored, {} billed, {most} at most{hidden}", self.billed)
    }

    fn images_table(&self, now: Timestamp) -> String {
        let columns = [
            Column::Right("IMAGE"),
            Column::Left("STATE"),
            Column::Left("PIXELS"),
            Column::Right("SIZE"),
            Column::Left("KEY"),
        ];
        let row = |image: &ImageView| {
            let pixels = image.width.zip(image.height).map(|(width, height)| format!("{width}*{height}"));
            let dies = image.link_dies_at.map(|time| format!("its link dies {}", relative(time, now)));
            vec![
                image.index.to_string(),
                image.state.to_owned(),
                pixels.unwrap_or_default(),
                image.bytes.map(size).unwrap_or_default(),
                image.reason.clone().or(dies).or_else(|| image.key.clone()).unwrap_or_default(),
            ]
        };
        table(&columns, self.images.iter().map(row).collect())
    }

    fn tries_table(&self) -> String {
        let columns = [
            Column::Left("TIME (UTC)"),
            Column::Right("ATTEMPT"),
            Column::Left("ACCOUNT"),
            Column::Left("WHAT"),
            Column::Left("CODE"),
            Column::Left("MESSAGE"),
            Column::Left("IDS"),
        ];
        let row = |line: &Try| {
            // What a person would copy into a ticket stands at the end, so that the columns before it stay in sight.
            let ids =
                [("request", line.request_id.clone()), ("task", line.task.as_ref().map(ToString::to_string))];
            let ids = ids.into_iter().filter_map(|(name, id)| Some(format!("{name} {}", id?)));
            let what = match (line.times, line.since) {
                (0 | 1, _) => line.what.clone(),
                (times, Some(since)) => format!("{} {times}x since {}", line.what, time(since)),
                (times, None) => format!("{} {times}x", line.what),
            };
            vec![
                time(line.at),
                line.attempt.to_string(),
                line.account.clone().unwrap_or_default(),
                what,
                line.code.clone().unwrap_or_default(),
                line.message.clone().unwrap_or_default().replace(['\n', '\r', '\t'], " "),
                ids.collect::<Vec<_>>().join(", "),
            ]
        };
        table(&columns, self.tries.iter().map(row).collect())
    }
}

fn images(job: &Job, spec: Option<&JobSpec>, outcome: &Outcome, template: &KeyTemplate) -> Vec<ImageView> {
    let custom_id = spec.and_then(|spec| spec.custom_id.as_ref());
    let key =
        |index| template.key(job.batch.as_ref(), custom_id, job.id, index).ok().map(|key| key.to_string());
    let view = |image: &job::OutcomeImage| {
        let empty = ImageView {
            index: image.index,
            state: "waiting",
            key: None,
            bytes: None,
            width: None,
            height: None,
            sha256: None,
            link_dies_at: None,
            reason: None,
        };
        match &image.state {
            ImageState::Waiting { deadline, .. } => {
                ImageView { key: key(image.index), link_dies_at: Some(*deadline), ..empty }
            }
            ImageState::Stored(stored) => ImageView {
                state: "stored",
                key: Some(stored.key.to_string()),
                bytes: Some(stored.bytes),
                width: Some(stored.width),
                height: Some(stored.height),
                sha256: Some(stored.sha256.clone()),
                ..empty
            },
            ImageState::Lost { code, reason } => {
                ImageView { state: "lost", reason: Some(format!("{code}: {reason}")), ..empty }
            }
        }
    };
    outcome.images.iter().map(view).collect()
}

/// The table of `job ls`.
pub(crate) fn list(jobs: &[JobRow], now: Timestamp) -> String {
    let columns = [
        Column::Left("JOB"),
        Column::Left("BATCH"),
        Column::Left("CUSTOM ID"),
        Column::Left("STATE"),
        Column::Right("IMAGES"),
        Column::Right("ATTEMPTS"),
        Column::Left("ENQUEUED"),
        Column::Left("REASON"),
    ];
    let row = |job: &JobRow| {
        vec![
            job.job.clone(),
            job.batch.clone().unwrap_or_else(|| "-".to_owned()),
            job.custom_id.as_deref().unwrap_or("-").chars().take(40).collect(),
            job.state.to_string(),
            format!("{}/{}", job.stored, job.images_max),
            job.attempts.to_string(),
            relative(job.enqueued_at, now),
            job.reason.clone().unwrap_or_default(),
        ]
    };
    let mut text = table(&columns, jobs.iter().map(row).collect());
    for (job, doubt) in jobs.iter().filter_map(|job| Some((job, job.doubt.as_ref()?))) {
        let lines = doubt.lines();
        text.push_str(if lines.is_empty() { "" } else { "\n" });
        lines.iter().for_each(|line| text.push_str(&format!("{}: {line}\n", job.job)));
    }
    text
}

#[cfg(test)]
mod tests;
