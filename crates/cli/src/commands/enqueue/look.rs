//! What of an input is in the queue already: a pass that only reads, for those who must know before anything is sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use dashscope::Model;
use job::{JobId, Micros, Prices, StateName};
use queue::{Queue, Standing};
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
    /// The most images of the new ones, by model.
    #[serde(skip)]
    pub(super) images_new: BTreeMap<Model, u64>,
    /// The most images of those that would be replaced, by model.
    #[serde(skip)]
    pub(super) images_replaced: BTreeMap<Model, u64>,
}

impl Stand {
    /// The most that what is sent may cost: of the new ones, and of those that are replaced.
    pub(super) fn cost_max(&self, prices: &Prices, replace: bool) -> Micros {
        let cost = |images: &BTreeMap<Model, u64>| -> i64 {
            images
                .iter()
                .map(|(model, images)| prices.per_image(*model).times(*images).0)
                .fold(0, i64::saturating_add)
        };
        let replaced = if replace { cost(&self.images_replaced) } else { 0 };
        Micros(cost(&self.images_new).saturating_add(replaced))
    }

    /// Jobs that would be replaced.
    pub(super) fn replaced(&self) -> u64 {
        self.changed_waiting + self.changed_ended
    }

    fn add(&mut self, line: u64, standing: Standing, model: Model, images: u64) {
        match standing {
            Standing::New => {
                self.new += 1;
                *self.images_new.entry(model).or_default() += images;
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
                *self.images_replaced.entry(model).or_default() += images;
            }
            Standing::Changed(_) => self.changed_busy += 1,
        }
    }
}

/// A job that is asked about: its digest, model, most images and line beside its id.
type Asked = (JobId, String, Model, u64, u64);

/// Looks where the jobs of a judged input stand. Returns the images that were looked at, for the next pass.
///
/// # Errors
///
/// Redis is away, or the input changed since it was judged.
pub(super) async fn look(
    queue: &Queue,
    source: &Arc<Source>,
    rules: &Arc<Rules>,
    judged: &Arc<Judged>,
    mut images: Images,
) -> Result<(Stand, Images), Failure> {
    let (chunks, mut asked) = mpsc::channel::<Vec<Asked>>(CHUNKS_AHEAD);
    let (reading, source, rules, judged) = (queue.clone(), source.clone(), rules.clone(), judged.clone());
    let reader = tokio::task::spawn_blocking(move || {
        let mut chunk: Vec<Asked> = Vec::with_capacity(CHUNK);
        let same = again(&source, &rules, &mut images, &judged, |line, prepared| {
            let job = reading.new_job(prepared.spec);
            let (digest, images) = (job.spec.digest(), u64::from(job.spec.images_max()));
            chunk.push((job.id, digest, job.spec.request.model, images, line));
            chunk.len() < CHUNK || chunks.blocking_send(std::mem::take(&mut chunk)).is_ok()
        });
        // Nobody takes it where asking has failed, and that is said there.
        let _ = chunks.blocking_send(chunk);
        (same, images)
    });
    let mut stand = Stand::default();
    let mut ask = async || -> Result<(), Failure> {
        while let Some(chunk) = asked.recv().await {
            let ids: Vec<(JobId, String)> =
                chunk.iter().map(|(id, digest, ..)| (*id, digest.clone())).collect();
            let told =
                queue.standing(&ids).await.map_err(|error| queue_failure(error, "compare the jobs"))?;
            for ((_, _, model, images, line), standing) in chunk.into_iter().zip(told) {
                stand.add(line, standing, model, images);
            }
        }
        Ok(())
    };
    let result = ask().await;
    drop(asked);
    let (same, images) = reader.await.or_fail("a part of this command panicked")?;
    result?;
    if !same.or_fail("the input cannot be read again")? {
        let failure = Failure::message("the input, or an image that it names, changed while it was read");
        return Err(failure.exit(exit_code::BAD_INPUT));
    }
    Ok((stand, images))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jobs_that_could_be_replaced_at_the_look_are_counted_and_agreed_to() {
        let mut stand = Stand::default();
        let states = [StateName::Queued, StateName::Polling, StateName::Succeeded, StateName::Held];
        for (line, state) in (1..).zip(states) {
            stand.add(line, Standing::Changed(state), Model::Wan27Image, 2);
        }
        stand.add(5, Standing::New, Model::Wan27Image, 1);
        let lines: Vec<u64> = (0..10).filter(|line| stand.replaceable.contains(*line)).collect();
        assert_eq!((lines, stand.replaced(), stand.changed_busy), (vec![1, 3], 2, 2));
        assert_eq!(stand.cost_max(&Prices::default(), true), Micros(5 * 30_000));
    }
}
