//! One task of the simulated service.

use crate::draw::{Draw, Uuid};
use crate::fault::Act;
use crate::ledger::TaskEntry;
use crate::model::Model;

/// A task's record. Kept for good, since the ledger is made of it; what the service answers ends with the retention.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) id: Uuid,
    pub(crate) request_id: Uuid,
    pub(crate) model: Model,
    pub(crate) api_key_id: Box<str>,
    pub(crate) prompt: Box<str>,
    pub(crate) prompt_sha256: [u8; 32],
    pub(crate) prompt_cut: bool,
    pub(crate) input_images: u8,
    pub(crate) sync: bool,
    pub(crate) sequential: bool,
    /// Images asked for.
    pub(crate) n: u8,
    /// Images it makes if it ends well.
    pub(crate) makes: u8,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) state: State,
    pub(crate) created_ms: i64,
    pub(crate) started_ms: Option<i64>,
    pub(crate) ended_ms: Option<i64>,
    pub(crate) queries: u32,
    pub(crate) downloads: u32,
    /// `None` for the many tasks that no fault shapes.
    pub(crate) shape: Option<Box<Shape>>,
    /// Digest of each image, once it was made for a download.
    pub(crate) served: Box<[Option<[u8; 32]>]>,
}

/// Where a task stands. [`super::World`] moves it on as time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Pending,
    Running,
    Succeeded,
    Failed,
    Canceled,
}

impl State {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Canceled => "CANCELED",
        }
    }

    pub(crate) const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

/// How a fault deforms a task or its answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Shape {
    pub(crate) failure: Option<Failure>,
    pub(crate) fewer_images: bool,
    pub(crate) no_images: bool,
    pub(crate) text_item: bool,
    pub(crate) equal_urls: bool,
    pub(crate) one_choice: bool,
    pub(crate) code: CodeField,
    pub(crate) extra_fields: bool,
    pub(crate) without_millis: bool,
    pub(crate) takes_ms: Option<u64>,
    pub(crate) link_lives_ms: Option<u64>,
}

/// Why a task fails, and where its answer says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) flat: bool,
}

/// The form of `code` and `message` in an answer without an error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum CodeField {
    #[default]
    Missing,
    Null,
    Empty,
}

impl Shape {
    /// The shape that these acts make together; `None` if there are none.
    pub(crate) fn from_acts(acts: Vec<Act>) -> Option<Box<Self>> {
        if acts.is_empty() {
            return None;
        }
        let mut shape = Self::default();
        for act in acts {
            match act {
                Act::Failed { code, message, flat } => shape.failure = Some(Failure { code, message, flat }),
                Act::FewerImages => shape.fewer_images = true,
                Act::NoImages => shape.no_images = true,
                Act::TextItem => shape.text_item = true,
                Act::EqualUrls => shape.equal_urls = true,
                Act::OneChoiceManyItems => shape.one_choice = true,
                Act::CodeNull => shape.code = CodeField::Null,
                Act::CodeEmpty => shape.code = CodeField::Empty,
                Act::CodeMissing => shape.code = CodeField::Missing,
                Act::ExtraFields => shape.extra_fields = true,
                Act::TimesWithoutMillis => shape.without_millis = true,
                Act::Takes { ms } => shape.takes_ms = Some(ms),
                Act::LinkLives { ms } => shape.link_lives_ms = Some(ms),
                other => unreachable!("`{}` is refused on tasks by Fault::check", other.name()),
            }
        }
        Some(Box::new(shape))
    }
}

/// How many images a task makes, of `n` asked for.
pub(crate) fn images_made(n: u8, sequential: bool, shape: Option<&Shape>, shortfall: f64, draw: &Draw) -> u8 {
    if shape.is_some_and(|shape| shape.no_images) {
        return 0;
    }
    if shape.is_some_and(|shape| shape.fewer_images) {
        return n.saturating_sub(1).max(1);
    }
    let short = sequential && n > 1 && draw.unit(1) < shortfall;
    if short { draw.between(1, u32::from(n) - 1) as u8 } else { n }
}

impl Task {
    pub(crate) fn shape(&self) -> &Shape {
        const PLAIN: &Shape = &Shape {
            failure: None,
            fewer_images: false,
            no_images: false,
            text_item: false,
            equal_urls: false,
            one_choice: false,
            code: CodeField::Missing,
            extra_fields: false,
            without_millis: false,
            takes_ms: None,
            link_lives_ms: None,
        };
        self.shape.as_deref().unwrap_or(PLAIN)
    }

    pub(crate) fn images_billed(&self) -> u8 {
        if self.state == State::Succeeded { self.makes } else { 0 }
    }

    pub(crate) fn entry(&self) -> TaskEntry {
        TaskEntry {
            task_id: self.id.to_string(),
            request_id: self.request_id.to_string(),
            model: self.model,
            prompt_sha256: hex::encode(self.prompt_sha256),
            prompt_cut: self.prompt_cut,
            api_key_id: self.api_key_id.to_string(),
            sync: self.sync,
            state: self.state.name().to_owned(),
            n: self.n,
            images_billed: self.images_billed(),
            size: format!("{}*{}", self.width, self.height),
            created_ms: self.created_ms,
            scheduled_ms: self.started_ms,
            ended_ms: self.ended_ms,
            queries: self.queries,
            served_sha256: self.served.iter().map(|digest| digest.map(hex::encode)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(n: u8, sequential: bool, shape: Option<&Shape>, shortfall: f64) -> Vec<u8> {
        let draw = |task: u32| Draw::new(7, "task", &[&task.to_be_bytes()]);
        (0..500).map(|task| images_made(n, sequential, shape, shortfall, &draw(task))).collect()
    }

    #[test]
    fn a_set_sometimes_has_fewer_images_than_asked_for_and_never_more_or_none() {
        let counts = made(4, true, None, 0.25);
        assert!(counts.iter().all(|count| (1..=4).contains(count)));
        let short = counts.iter().filter(|count| **count < 4).count();
        assert!((90..=160).contains(&short), "{short} of 500 sets were short");
    }

    #[test]
    fn without_a_set_all_images_are_made() {
        assert!(made(4, false, None, 1.0).iter().all(|count| *count == 4));
    }

    #[test]
    fn faults_take_one_image_or_all_of_them() {
        let fewer = Shape { fewer_images: true, ..Shape::default() };
        assert_eq!(made(4, false, Some(&fewer), 0.0)[0], 3);
        assert_eq!(made(1, false, Some(&fewer), 0.0)[0], 1);
        let none = Shape { no_images: true, ..Shape::default() };
        assert_eq!(made(4, true, Some(&none), 0.0)[0], 0);
    }
}
