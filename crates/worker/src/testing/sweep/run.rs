//! One run: a world, its workers, its people, until every job is at its end.

use std::sync::Arc;
use std::time::Duration;

use dashscope::ImageRequest;
use job::{CustomId, Event, Job, JobId, JobSpec, JobState, Priority, Refresh};
use queue::ExtraState;

use super::rows::Row;
use super::setup::{Dice, MODEL, Person, Setup};
use super::verdict::{Verdict, judge};
use crate::clock::Clock as _;
use crate::testing::bucket::Bucket;
use crate::testing::fault::Faults;
use crate::testing::provider::Provider;
use crate::testing::queue::{Moment, TwinQueue, owner_of};
use crate::testing::time::VirtualTime;
use crate::testing::worker::{Shared, TestWorker};

/// How often it is looked whether the run is over.
const LOOK: Duration = Duration::from_secs(5);

/// How long nothing may be left before it is: whatever comes late shows itself by then.
const QUIET: Duration = Duration::from_secs(120);

/// How long a worker that is told to stop lives at most.
const STOPS_WITHIN: Duration = Duration::from_secs(35);

/// What became of one run.
pub struct Run {
    /// What came of it.
    pub verdict: Verdict,
    /// Every commit, in order.
    pub(crate) timeline: Vec<Moment>,
    /// The jobs, in the order of their numbers.
    pub(crate) ids: Vec<JobId>,
}

impl Run {
    /// The pairs of state and event that were taken.
    pub fn pairs(&self) -> impl Iterator<Item = (job::StateName, &'static str)> + '_ {
        self.timeline.iter().map(|moment| (moment.from, moment.event))
    }

    /// The timeline, one commit a line.
    pub fn timeline(&self) -> String {
        let number = |id: &JobId| self.ids.iter().position(|known| known == id).unwrap_or_default();
        let line = |moment: &Moment| {
            let Moment { at, job, from, event, to } = moment;
            format!("{at} job {}: {from} --{event}--> {to}", number(job))
        };
        self.timeline.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Runs `row` with `seed`, in a runtime and a time of its own. The same seed is the same run.
///
/// # Panics
///
/// The runtime cannot be started.
pub fn run(row: &Row, seed: u64) -> Run {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O can be started")
        .block_on(run_here(row, seed))
}

async fn run_here(row: &Row, seed: u64) -> Run {
    let mut dice = Dice::new(seed);
    let mut setup = Setup::draw(&mut dice);
    (row.prepare)(&mut setup, &mut dice);
    let time = VirtualTime::begin();
    let limits = setup.config.accounts[0].limits[&MODEL];
    let queue = TwinQueue::new(time, setup.config.rules.clone(), limits, setup.queue_outages.clone());
    let provider = Provider::new(time, setup.habits.clone(), dice.fork());
    let bucket = Bucket::new(time, setup.store_outages.clone(), setup.slow_store);
    let faults = Faults::new(setup.faults.clone());
    let config = setup.config.clone();
    let shared =
        Arc::new(Shared { time, queue, provider, bucket, faults, config, clocks: setup.clocks.clone() });
    let places = super::verdict::watch_places(&shared);

    let mut world =
        World { setup, shared, ids: Vec::new(), workers: Vec::new(), stopping: Vec::new(), started: 0, seed };
    let over = world.go_on().await;
    for worker in &world.workers {
        worker.env.stop.cancel();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for worker in &world.workers {
        worker.process.kill();
    }
    let mut verdict = judge(&world.shared, &world.ids, over);
    verdict.without_place = places.count();
    let timeline = std::mem::take(&mut world.shared.queue.store().timeline);
    Run { verdict, timeline, ids: world.ids }
}

/// What the job of this number asks for: prompts tell jobs apart, at the provider as well.
pub(crate) fn prompt_of(number: usize) -> String {
    format!("picture {number}")
}

/// A run under way.
struct World {
    setup: Setup,
    shared: Arc<Shared>,
    ids: Vec<JobId>,
    workers: Vec<TestWorker>,
    /// Told to stop; when they must be gone.
    stopping: Vec<(Duration, TestWorker)>,
    /// How many workers were started.
    started: usize,
    seed: u64,
}

impl World {
    /// Goes on until nothing is left to come; `false`: the deadline came first.
    async fn go_on(&mut self) -> bool {
        let mut quiet_since = None;
        loop {
            let now = self.shared.time.elapsed();
            if now >= self.setup.deadline {
                return false;
            }
            self.enqueue(now);
            self.staff(now);
            self.people(now);
            if !self.is_quiet() {
                quiet_since = None;
            } else if now >= *quiet_since.get_or_insert(now) + QUIET {
                return true;
            }
            tokio::time::sleep(self.next_look(now)).await;
        }
    }

    fn next_look(&self, now: Duration) -> Duration {
        let planned = self.setup.jobs.iter().skip(self.ids.len()).map(|job| job.at);
        let asked = self.setup.people.iter().map(|(at, _)| *at);
        let stops = self.setup.stops.iter().copied();
        let next = planned.chain(asked).chain(stops).filter(|at| *at > now).min();
        next.map_or(LOOK, |at| (at - now).min(LOOK))
    }

    fn enqueue(&mut self, now: Duration) {
        self.setup.jobs.sort_by_key(|job| job.at);
        while let Some(plan) = self.setup.jobs.get(self.ids.len()).filter(|job| job.at <= now) {
            let number = self.ids.len();
            let custom_id: CustomId = format!("job-{number}").parse().expect("a short word is an id");
            let batch = Some("b".parse().expect("a letter is a name"));
            let id = JobId::of_custom_id("virtual", batch.as_ref(), &custom_id);
            let mut request = ImageRequest::new(MODEL, prompt_of(number));
            request.n = plan.images;
            let spec = JobSpec {
                batch: batch.clone(),
                custom_id: Some(custom_id),
                refresh: refresh_of(number),
                ..JobSpec::new(request)
            };
            let accepted = self.shared.queue.time.now();
            let priority = Priority::default();
            let job = Job::queued(id, batch, MODEL, None, plan.images, priority, "d".to_owned(), accepted);
            self.shared.queue.enqueue(job, spec);
            self.ids.push(id);
        }
    }

    /// Workers begin, are told to stop, and are replaced where they died.
    fn staff(&mut self, now: Duration) {
        while self.setup.stops.first().is_some_and(|at| *at <= now) {
            self.setup.stops.remove(0);
            self.workers.iter().take(1).for_each(|worker| worker.env.stop.cancel());
            self.let_go(now);
        }
        self.let_go(now);
        for (_, worker) in self.stopping.iter().filter(|(gone, _)| *gone <= now) {
            worker.process.kill();
        }
        self.stopping.retain(|(gone, _)| *gone > now);
        self.workers.retain(|worker| !worker.process.is_dead());
        while self.workers.len() < self.setup.workers {
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.workers.push(TestWorker::start(&self.shared, self.started, self.seed));
            self.started += 1;
        }
    }

    /// Workers that were told to stop, here or at a place, get their time to do so.
    fn let_go(&mut self, now: Duration) {
        let (gone, stay): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.workers).into_iter().partition(|worker| worker.env.stop.is_cancelled());
        self.workers = stay;
        self.stopping.extend(gone.into_iter().map(|worker| (now + STOPS_WITHIN, worker)));
    }

    fn people(&mut self, now: Duration) {
        let due: Vec<Person> =
            self.setup.people.iter().filter(|(at, _)| *at <= now).map(|(_, person)| *person).collect();
        self.setup.people.retain(|(at, _)| *at > now);
        for person in due {
            self.person(person);
        }
    }

    fn person(&self, person: Person) {
        // What does not fit is refused, and that is an answer too.
        let ask = |id: JobId, event: Event| drop(self.shared.queue.write_unfenced(id, event));
        let held = || {
            let store = self.shared.queue.store();
            let held = |id: &&JobId| matches!(store.records[*id].job.state, JobState::Held { .. });
            self.ids.iter().filter(held).copied().collect::<Vec<_>>()
        };
        match person {
            Person::Cancels(number) => {
                self.ids.get(number).into_iter().for_each(|id| ask(*id, Event::CancelRequested));
            }
            Person::Retries(number) => {
                self.ids.get(number).into_iter().for_each(|id| ask(*id, Event::RetryRequested));
            }
            Person::GivesUp => held().into_iter().for_each(|id| ask(id, Event::ResolvedFail)),
            Person::SendsAgain => held().into_iter().for_each(|id| ask(id, Event::ResolvedResubmit)),
            Person::Resolves => {
                for id in held() {
                    let prompt = prompt_of(self.number(id));
                    let task = self.shared.provider.tasks().into_iter().find(|task| task.prompt == prompt);
                    let free = task.filter(|task| owner_of(&self.shared.queue.store(), &task.id).is_none());
                    ask(
                        id,
                        match free {
                            Some(task) => Event::ResolvedAdopt { task: task.id },
                            None => Event::ResolvedResubmit,
                        },
                    );
                }
            }
            Person::AdoptsWrongly(number) => {
                let task = self.shared.provider.tasks().into_iter().find(|task| {
                    task.prompt != prompt_of(number)
                        && owner_of(&self.shared.queue.store(), &task.id).is_none()
                });
                if let (Some(id), Some(task)) = (self.ids.get(number), task) {
                    ask(*id, Event::ResolvedAdopt { task: task.id });
                }
            }
            Person::Delivers => {
                for id in held() {
                    let outcome = self.shared.queue.store().records[&id].outcome.clone();
                    let Some(outcome) = outcome else { continue };
                    let (images, deadline) = (outcome.images.len() as u8, outcome.deadline());
                    let deadline = deadline.unwrap_or(outcome.noticed_at);
                    ask(id, Event::ResolvedDeliver { task: outcome.task, images, deadline });
                }
            }
            Person::AsksForMissing(number) => {
                let event = Event::MissingRequested { job: JobId::fresh(1, 1), images: 1 };
                self.ids.get(number).into_iter().for_each(|id| ask(*id, event.clone()));
            }
            Person::CopiesQueue => self.shared.queue.copy(),
            Person::RestoresQueue => self.shared.queue.restore(),
            Person::RestartsQueue => self.shared.queue.restart(),
            Person::RemovesOutcomes => {
                let mut store = self.shared.queue.store();
                let copying = |job: &Job| matches!(job.state, JobState::Archiving { .. });
                let records = store.records.values_mut().filter(|record| copying(&record.job));
                records.for_each(|record| record.outcome = None);
            }
        }
    }

    fn number(&self, id: JobId) -> usize {
        self.ids.iter().position(|known| *known == id).unwrap_or_default()
    }

    /// Whether nothing is left that could still change anything.
    fn is_quiet(&self) -> bool {
        let now = self.shared.time.now();
        let store = self.shared.queue.store();
        let over = |state: job::StateName| state.is_final() || state == job::StateName::Held;
        self.ids.len() == self.setup.jobs.len()
            && self.setup.people.is_empty()
            && self.setup.stops.is_empty()
            && store.records.values().all(|record| over(record.job.state_name()) && !record.job.claimed)
            && !store.books.extras.values().any(|extra| extra.state == ExtraState::Open)
            && !self.workers.iter().any(|worker| worker.process.is_paused())
            && !self.shared.provider.any_task(|task| !task.exists(now) || task.is_at_work(now))
    }
}

/// Every second job refreshes an item of a catalogue.
fn refresh_of(number: usize) -> Option<Refresh> {
    let collection = "shoes".parse().expect("a word is a name");
    (number % 2 == 1).then(|| Refresh { collection, keep: 1, content: "c".to_owned() })
}
