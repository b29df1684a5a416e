//! What of an input is in the queue already: a pass that only reads, for those who must know before anything is sent.

use std::sync::Arc;

use job::{JobId, Micros, Prices, StateName};
use queue::{Queue, QueueError, Standing};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::app::queue_failure;
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::input::again::again;
use crate::input::images::Images;
use crate::input::judge::Judged;
use crate::input::marks::Marks;
use crate::input::prepare::Rules;
use crate::input::source::Source;
use crate::input::work::{Piece, Work};

/// Jobs that are asked about at a time.
const CHUNK: usize = 500;

/// Chunks that were read ahead.
const CHUNKS_AHEAD: usize = 8;

/// How the jobs of an input stand to those that are there. What others do meanwhile can change it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Stand {
    /// Jobs that are not there.
    pub(super) new: u64,
    /// Jobs that are there as they are.
    pub(super) same: u64,
    /// Jobs that are there, wait, and ask for something else.
    pub(super) changed_waiting: u64,
    /// Jobs that are there, have ended, and asked for something else.
    pub(super) changed_ended: u64,
    /// Jobs that are there, are under way, and ask for something else: they are not replaced.
    pub(super) changed_busy: u64,
    /// Jobs that were there, ended, and were removed: they are not made again.
    pub(super) removed: u64,
    /// The lines of those that would be replaced: what is agreed to is agreed for these.
    #[serde(skip)]
    pub(super) replaceable: Marks,
    /// What the new ones come to.
    #[serde(skip)]
    pub(super) work_new: Work,
    /// What those that would be replaced come to.
    #[serde(skip)]
    pub(super) work_replaced: Work,
}

/// Nothing is known of how the jobs stand.
#[derive(Debug)]
pub(super) enum LookError {
    /// Redis could not be asked.
    Queue(QueueError),
    /// The input cannot be read again, or changed since it was judged.
    Input(Failure),
}

impl From<LookError> for Failure {
    fn from(error: LookError) -> Self {
        match error {
            LookError::Queue(error) => queue_failure(error, "compare the jobs"),
            LookError::Input(failure) => failure,
        }
    }
}

impl Stand {
    /// What would be made: the new ones and, where that is asked for, those that are replaced.
    pub(super) fn to_make(&self, replace: bool) -> Work {
        let new = self.work_new.clone();
        if replace { new.and(&self.work_replaced) } else { new }
    }

    /// The most that this costs.
    pub(super) fn cost_max(&self, prices: &Prices, replace: bool) -> Micros {
        self.to_make(replace).cost_max(prices)
    }

    /// Jobs that would be replaced.
    pub(super) fn replaced(&self) -> u64 {
        self.changed_waiting + self.changed_ended
    }

    fn add(&mut self, line: u64, standing: Standing, piece: Piece) {
        match standing {
            Standing::New => {
                self.new += 1;
                self.work_new.add(line, piece);
            }
            Standing::Same => self.same += 1,
            Standing::RemovedBefore => self.removed += 1,
            Standing::Changed(state) if state == StateName::Queued || state.is_final() => {
                if state.is_final() {
                    self.changed_ended += 1
                } else {
                    self.changed_waiting += 1
                }
                self.replaceable.insert(line);
                self.work_replaced.add(line, piece);
            }
            Standing::Changed(_) => self.changed_busy += 1,
        }
    }
}

/// A job that is asked about: its id, its digest, its line and what it comes to.
type Asked = (JobId, String, u64, Piece);

/// Looks where the jobs of a judged input stand. Returns the images that were looked at, for the next pass.
///
/// # Errors
///
/// Redis is away or holds nonsense, or the input changed since it was judged.
pub(super) async fn look(
    queue: &Queue,
    source: &Arc<Source>,
    rules: &Arc<Rules>,
    judged: &Arc<Judged>,
    mut images: Images,
) -> Result<(Stand, Images), LookError> {
    let (chunks, mut asked) = mpsc::channel::<Vec<Asked>>(CHUNKS_AHEAD);
    let (reading, source, rules, judged) = (queue.clone(), source.clone(), rules.clone(), judged.clone());
    let reader = tokio::task::spawn_blocking(move || {
        let mut chunk: Vec<Asked> = Vec::with_capacity(CHUNK);
        let same = again(&source, &rules, &mut images, &judged, |line, prepared| {
            let job = reading.new_job(prepared.spec);
            chunk.push((job.id, job.spec.digest(), line, Piece::of(&job.spec)));
            chunk.len() < CHUNK || chunks.blocking_send(std::mem::take(&mut chunk)).is_ok()
        });
        // Nobody takes it where asking has failed, and that is said there.
        let _ = chunks.blocking_send(chunk);
        (same, images)
    });
    let mut stand = Stand::default();
    let mut ask = async || -> Result<(), QueueError> {
        while let Some(chunk) = asked.recv().await {
            let ids: Vec<(JobId, String)> =
                chunk.iter().map(|(id, digest, ..)| (*id, digest.clone())).collect();
            let told = queue.standing(&ids).await?;
            for ((_, _, line, piece), standing) in chunk.into_iter().zip(told) {
                stand.add(line, standing, piece);
            }
        }
        Ok(())
    };
    let result = ask().await;
    drop(asked);
    let read = reader.await.or_fail("a part of this command panicked");
    let (same, images) = read.map_err(LookError::Input)?;
    result.map_err(LookError::Queue)?;
    if !same.or_fail("the input cannot be read again").map_err(LookError::Input)? {
        let failure = Failure::message("the input, or an image that it names, changed while it was read");
        return Err(LookError::Input(failure.exit(exit_code::BAD_INPUT)));
    }
    Ok((stand, images))
}

#[cfg(test)]
mod tests {
    use dashscope::Model;

    use super::*;
    use crate::input::work::tests::piece;

    #[test]
    fn only_jobs_that_could_be_replaced_at_the_look_are_counted_and_agreed_to() {
        let mut stand = Stand::default();
        let states = [StateName::Queued, StateName::Polling, StateName::Succeeded, StateName::Held];
        for (line, state) in (1..).zip(states) {
            stand.add(line, Standing::Changed(state), piece(Model::Wan27Image, 2));
        }
        stand.add(5, Standing::New, piece(Model::Wan27Image, 1));
        let lines: Vec<u64> = (0..10).filter(|line| stand.replaceable.contains(*line)).collect();
        assert_eq!((lines, stand.replaced(), stand.changed_busy), (vec![1, 3], 2, 2));
        assert_eq!(stand.cost_max(&Prices::default(), true), Micros(5 * 30_000));
    }
}
