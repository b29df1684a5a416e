//! Named places between two steps of a worker.
//!
//! A crash, or a pause, between two steps is what costs money if the steps are in the wrong order. So each gap has a name, a
//! step says when it is there, and a test decides what happens then: the worker dies, sleeps past its lease, or goes on. In
//! production nothing happens.

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;

/// A gap between two steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// An attempt is written down; nothing is prepared yet.
    SubmitClaimed,
    /// The inputs are ready; the gate has not been asked.
    BeforeSend,
    /// The create was answered; nothing of it is written down.
    Answered,
    /// The task is written down.
    TaskSaved,
    /// A poll is claimed; nothing was asked.
    PollClaimed,
    /// The task said how it is; nothing of it is written down.
    PollAnswered,
    /// What the task said is written down.
    PollSaved,
    /// A round of copying is claimed.
    ArchiveClaimed,
    /// An image is in the bucket; the others of its round may not be.
    ImageCopied,
    /// An image of a refresh stands under its stable key; the others may not, and the manifest does not say so.
    ImageReplaced,
    /// All images of the round, and the manifest, are in the bucket; nothing of it is written down.
    RoundCopied,
    /// The round is written down.
    RoundSaved,
    /// An attempt without an answer is claimed to be settled.
    SettleClaimed,
    /// The evidence is weighed; the verdict is not written down.
    SettleWeighed,
    /// The verdict is written down.
    SettleSaved,
    /// A job of a vanished worker is taken over; what follows for it is not written down.
    Rescued,
    /// The manifest of a batch that has ended is in the bucket; nothing of it is written down.
    ManifestWritten,
    /// A webhook's receiver has answered; nothing of it is written down.
    EventAnswered,
}

impl Place {
    /// The places of a batch's end.
    pub const OF_ENDS: [Self; 2] = [Self::ManifestWritten, Self::EventAnswered];

    /// Every place of a job, in the order of its life.
    pub const ALL: [Self; 16] = [
        Self::SubmitClaimed,
        Self::BeforeSend,
        Self::Answered,
        Self::TaskSaved,
        Self::PollClaimed,
        Self::PollAnswered,
        Self::PollSaved,
        Self::ArchiveClaimed,
        Self::ImageCopied,
        Self::ImageReplaced,
        Self::RoundCopied,
        Self::RoundSaved,
        Self::SettleClaimed,
        Self::SettleWeighed,
        Self::SettleSaved,
        Self::Rescued,
    ];

    /// Its name in settings and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SubmitClaimed => "submit_claimed",
            Self::BeforeSend => "before_send",
            Self::Answered => "answered",
            Self::TaskSaved => "task_saved",
            Self::PollClaimed => "poll_claimed",
            Self::PollAnswered => "poll_answered",
            Self::PollSaved => "poll_saved",
            Self::ArchiveClaimed => "archive_claimed",
            Self::ImageCopied => "image_copied",
            Self::ImageReplaced => "image_replaced",
            Self::RoundCopied => "round_copied",
            Self::RoundSaved => "round_saved",
            Self::SettleClaimed => "settle_claimed",
            Self::SettleWeighed => "settle_weighed",
            Self::SettleSaved => "settle_saved",
            Self::Rescued => "rescued",
            Self::ManifestWritten => "manifest_written",
            Self::EventAnswered => "event_answered",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// No place has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no place is called `{0}`")]
pub struct UnknownPlace(String);

impl FromStr for Place {
    type Err = UnknownPlace;

    fn from_str(text: &str) -> Result<Self, UnknownPlace> {
        Self::ALL
            .into_iter()
            .chain(Self::OF_ENDS)
            .find(|place| place.as_str() == text)
            .ok_or_else(|| UnknownPlace(text.to_owned()))
    }
}

/// What happens at a place.
#[async_trait]
pub trait Places: Send + Sync {
    /// A step is at `place`, and goes on when this returns.
    async fn pass(&self, place: Place);
}

/// Nothing happens anywhere.
#[derive(Debug, Clone, Copy, Default)]
pub struct OpenPlaces;

#[async_trait]
impl Places for OpenPlaces {
    async fn pass(&self, _: Place) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_a_name_that_reads_back() {
        for place in Place::ALL.into_iter().chain(Place::OF_ENDS) {
            assert_eq!(place.as_str().parse(), Ok(place));
        }
        assert_eq!("nowhere".parse::<Place>(), Err(UnknownPlace("nowhere".to_owned())));
    }
}
