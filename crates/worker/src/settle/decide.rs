//! What the evidence says about creates without an answer. Pure.
//!
//! Two mistakes cost money: sending again what was created (paid twice), and taking a task that belongs to somebody else. So
//! "not created" needs a list that proves itself up to date and holds nothing without an owner that could be the attempt's task;
//! and a task is taken only if it is the attempt's in every explanation, those with it in which the provider's gateway held another
//! attempt's request for as long as it may. Anything else waits, and in the end a person decides.

use std::collections::BTreeSet;
use std::time::Duration;

use dashscope::TaskStatus;
use dashscope::limits::LIST_WINDOW_MAX;
use job::{Attempt, Candidate, Doubt, HeldReason, JobId, Rules, TaskId, Timestamp};

use super::explain::{Graph, Told};
use super::window::{Learned, Windows, windows};
use crate::config::{Adopt, Ambiguous, SettleConfig};
use crate::release::has_ended;

/// The most attempts, and the most tasks, that are weighed against each other.
///
/// Source: ours; twice what one worker has on the wire by default. The work grows with the fourth power at worst: 128 and 64 take
/// a tenth of a second.
const MAKERS_MAX: usize = 128;
const TASKS_MAX: usize = 64;

/// The most candidates that a person is shown.
const CANDIDATES_MAX: usize = 20;

/// What is known of an account and model when decisions are due.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    /// When the list was asked for, by Redis's clock.
    pub(crate) now: Timestamp,
    /// How long after `send_by` the service may still hold, and act on, a request.
    pub(crate) held_for: Duration,
    /// What the provider lists.
    pub(crate) listing: Listing,
    /// Every attempt that may have created what is listed: those that are decided now, and all others that are open.
    pub(crate) open: Vec<Open>,
}

/// An attempt that may turn out to have created a task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Open {
    /// The attempt.
    pub(crate) attempt: Attempt,
    /// Whether it may yet be told: nothing that it can have made is weighed before.
    pub(crate) on_the_way: bool,
}

/// An attempt to decide on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    /// Its place in [`Round::open`].
    pub(crate) open: usize,
    /// Looks so far, this one not counted.
    pub(crate) looks: u16,
}

/// The provider's list of an account's tasks of one model, with our marks.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Listing {
    /// Whether it is known to be whole.
    pub(crate) whole: bool,
    /// Its tasks.
    pub(crate) tasks: Vec<Listed>,
}

/// A task of the list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listed {
    /// The task.
    pub(crate) task: TaskId,
    /// When it was created, by the provider's clock; `None` if it does not say.
    pub(crate) created_at: Option<Timestamp>,
    /// Where the provider says it is.
    pub(crate) status: TaskStatus,
    /// Whose it is.
    pub(crate) owner: Owner,
}

/// Whose a listed task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A job of ours owns it; its attempt was claimed then, where that is known.
    Ours(Option<Timestamp>),
    /// It was taken for this job's by its time: another create without an answer may have made it all the same.
    Found(JobId),
    /// Nobody here owns it, and one of our keys may have created it.
    Nobody,
    /// Another key created it.
    Foreign,
}

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The attempt created this task.
    Found(TaskId),
    /// The attempt created nothing.
    NotCreated,
    /// Look again after this.
    LookAgain(Duration),
    /// A person has to decide.
    Undecidable {
        /// Why.
        reason: HeldReason,
        /// Whether the attempt is known to hold no place at the provider.
        slot_free: bool,
        /// What is known, for the person.
        doubt: Doubt,
    },
}

/// Why the evidence does not decide.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Unclear {
    NotWhole,
    NoControl,
    OnTheWay,
    TooMany,
    FitsNobody,
    FitsSeveral,
    Stranger(TaskId),
    MayBeMine { task: TaskId, taken_for: JobId },
    NotAllowed,
    Forgotten,
}

impl Unclear {
    fn in_words(&self) -> String {
        match self {
            Self::NotWhole => "the provider's list could not be read whole".to_owned(),
            Self::NoControl => "nothing in the provider's list shows that it is up to date".to_owned(),
            Self::OnTheWay => "another create of that time has not been answered yet".to_owned(),
            Self::TooMany => {
                "more creates and tasks of that time are open than can be weighed against each other".to_owned()
            }
            Self::FitsNobody => {
                "the list shows a task that nobody owns, and at its time no open create is likely to have made it"
                    .to_owned()
            }
            Self::FitsSeveral => {
                "the list shows tasks that nobody owns, and more than one create can have made them".to_owned()
            }
            Self::Stranger(task) => format!(
                "task {task} has a key of ours, and no create here can have made it: somebody else uses the key, or an older backup of Redis was restored"
            ),
            Self::MayBeMine { task, taken_for } => format!(
                "task {task} was taken for job {taken_for}'s by its time, and this create can have made it, if the provider held the request"
            ),
            Self::NotAllowed => "a task fits, and `adopt = \"never\"` is set".to_owned(),
            Self::Forgotten => "the provider's list no longer covers the time of the create".to_owned(),
        }
    }
}

/// What the policy says before anything is looked at.
pub(crate) fn by_policy(policy: Ambiguous) -> Option<Verdict> {
    match policy {
        Ambiguous::Settle => None,
        Ambiguous::Hold => Some(Verdict::Undecidable {
            reason: HeldReason::Policy,
            slot_free: false,
            doubt: Doubt { why: "`ambiguous = \"hold\"` is set".to_owned(), candidates: Vec::new() },
        }),
        Ambiguous::ResubmitMayPayTwice => Some(Verdict::NotCreated),
    }
}

/// The round with what follows from it for every attempt.
pub(crate) struct Weighing<'a> {
    round: &'a Round,
    config: &'a SettleConfig,
    rules: &'a Rules,
    /// Of each open attempt.
    windows: Vec<Windows>,
    /// Of each open attempt.
    learned: Vec<Option<Learned>>,
    /// What nobody owns.
    nobodys: Vec<&'a Listed>,
}

impl<'a> Weighing<'a> {
    /// Computes the windows of every open attempt.
    pub(crate) fn new(round: &'a Round, config: &'a SettleConfig, rules: &'a Rules) -> Self {
        let tasks = &round.listing.tasks;
        let known: Vec<(Timestamp, Timestamp)> = tasks
            .iter()
            .filter_map(|task| match task.owner {
                Owner::Ours(claimed_at) => Some((claimed_at?, task.created_at?)),
                _ => None,
            })
            .collect();
        let learned: Vec<_> = round.open.iter().map(|open| Learned::near(&open.attempt, &known)).collect();
        let windows = round
            .open
            .iter()
            .zip(&learned)
            .map(|(open, learned)| windows(&open.attempt, *learned, round.held_for, rules, config))
            .collect();
        let nobodys = tasks.iter().filter(|task| task.owner == Owner::Nobody).collect();
        Self { round, config, rules, windows, learned, nobodys }
    }

    /// Judges one attempt. `chance` places the next look inside its jitter.
    pub(crate) fn judge(&self, case: Case, chance: f64) -> Verdict {
        let attempt = &self.round.open[case.open].attempt;
        if self.round.now >= self.windows[case.open].narrow.from + list_covers(self.rules) {
            // The list forgets: that it does not show a task proves nothing any more.
            return self.cannot_tell(case, &Unclear::Forgotten);
        }
        let unclear = match self.weigh(case.open) {
            Ok(verdict) => return verdict,
            Err(unclear) => unclear,
        };
        let patience = self.config.give_up_after.max(self.round.held_for + self.config.settle_lag);
        if waited(attempt, self.round.now) >= patience {
            return self.cannot_tell(case, &unclear);
        }
        Verdict::LookAgain(self.config.looks.wait_with_jitter(case.looks.into(), chance))
    }

    fn weigh(&self, open: usize) -> Result<Verdict, Unclear> {
        if !self.round.listing.whole {
            return Err(Unclear::NotWhole);
        }
        let (makers, tasks) = self.bound_with(open);
        if tasks.is_empty() {
            // Whatever was created from the claim on, even late, even at an unknown time, could be this attempt's; nothing was.
            if !self.is_up_to_date(open) {
                return Err(Unclear::NoControl);
            }
            return self.taken_for_another(open).map_or(Ok(Verdict::NotCreated), Err);
        }
        if makers.iter().any(|maker| self.round.open[*maker].on_the_way) {
            return Err(Unclear::OnTheWay);
        }
        if let Some(stranger) = self.stranger() {
            return Err(Unclear::Stranger(stranger.task.clone()));
        }
        if makers.len() > MAKERS_MAX || tasks.len() > TASKS_MAX {
            return Err(Unclear::TooMany);
        }
        let graph = Graph::new(tasks.len(), makers.len(), |maker, task| {
            let created = self.nobodys[tasks[task]].created_at;
            created.is_some_and(|created| self.windows[makers[maker]].late.holds(created))
        });
        let told = graph.tell().ok_or(Unclear::FitsNobody)?;
        let mine = makers.iter().position(|maker| *maker == open).map_or(Told::Differs, |place| told[place]);
        match mine {
            Told::Made(_) if self.config.adopt == Adopt::Never => Err(Unclear::NotAllowed),
            Told::Made(task) => {
                let task = self.nobodys[tasks[task]];
                let likely = |created| self.windows[open].narrow.holds(created);
                if task.created_at.is_some_and(likely) {
                    Ok(Verdict::Found(task.task.clone()))
                } else {
                    Err(Unclear::FitsNobody)
                }
            }
            // As long as a task has no owner that this attempt can have made at all, it is not sent again: the clocks may differ by
            // more than was learned.
            Told::Nothing | Told::Differs => Err(Unclear::FitsSeveral),
        }
    }

    /// A task that was taken for another attempt's, and that this one made if the provider held its request.
    fn taken_for_another(&self, open: usize) -> Option<Unclear> {
        self.round.listing.tasks.iter().find_map(|task| {
            let Owner::Found(taken_for) = task.owner else { return None };
            let may_be_mine = task.created_at.is_none_or(|created| self.windows[open].late.holds(created));
            may_be_mine.then(|| Unclear::MayBeMine { task: task.task.clone(), taken_for })
        })
    }

    /// Whether the attempt can have made the task at all.
    fn could_make(&self, open: usize, task: usize) -> bool {
        self.nobodys[task].created_at.is_none_or(|created| self.windows[open].hard.holds(created))
    }

    /// The attempts and tasks that have to be explained together with this one: what it can have made, who else can have made
    /// that, what those can have made, and so on.
    fn bound_with(&self, open: usize) -> (Vec<usize>, Vec<usize>) {
        let (mut makers, mut tasks) = (BTreeSet::from([open]), BTreeSet::new());
        let mut next = vec![open];
        while let Some(maker) = next.pop() {
            for task in (0..self.nobodys.len()).filter(|task| self.could_make(maker, *task)) {
                if tasks.insert(task) {
                    let others = (0..self.round.open.len()).filter(|other| self.could_make(*other, task));
                    next.extend(others.filter(|other| makers.insert(*other)));
                }
            }
        }
        (makers.into_iter().collect(), tasks.into_iter().collect())
    }

    /// A task of the last day that has a key of ours and that no open attempt explains: things happen on this account that we do
    /// not know of, and any other task may be of them as well.
    fn stranger(&self) -> Option<&Listed> {
        let stranger = (0..self.nobodys.len()).find(|task| !self.may_be_of_an_open_attempt(*task));
        stranger.map(|task| self.nobodys[task])
    }

    /// Whether an open attempt can have made this one, by its place among the tasks that nobody owns.
    pub(crate) fn may_be_of_an_open_attempt(&self, task: usize) -> bool {
        (0..self.round.open.len()).any(|open| self.could_make(open, task))
    }

    /// A person has to decide; until then the attempt keeps its place only if there may be something in it.
    fn cannot_tell(&self, case: Case, unclear: &Unclear) -> Verdict {
        let candidates = (0..self.nobodys.len()).filter(|task| self.could_make(case.open, *task));
        let candidate = |task: &Listed| Candidate {
            task: task.task.clone(),
            created_at: task.created_at,
            status: task.status.as_str().to_owned(),
        };
        Verdict::Undecidable {
            reason: HeldReason::CannotTell,
            slot_free: self.slot_is_free(case.open),
            doubt: Doubt {
                why: unclear.in_words(),
                candidates: candidates
                    .take(CANDIDATES_MAX)
                    .map(|task| candidate(self.nobodys[task]))
                    .collect(),
            },
        }
    }

    /// Whether the attempt is known to hold no place at the provider: the list would show its task, and shows nothing at work that
    /// nobody owns; or whatever it created has ended by now.
    pub(crate) fn slot_is_free(&self, open: usize) -> bool {
        let nothing_at_work = || self.nobodys.iter().all(|task| task.status.is_final());
        has_ended(&self.round.open[open].attempt, self.round.now)
            || (self.round.listing.whole && self.is_up_to_date(open) && nothing_at_work())
    }

    /// Whether the list proves that it would show the attempt's task: it shows one of ours that was created later. On an account
    /// that creates nothing it is enough that it shows an older one of ours, long after the attempt.
    fn is_up_to_date(&self, open: usize) -> bool {
        let (attempt, config) = (&self.round.open[open].attempt, self.config);
        // The request may be acted upon until the last moment for which it may be held, and its task be listed so much later.
        let lag = self.round.held_for + config.settle_lag;
        let ours = || {
            self.round
                .listing
                .tasks
                .iter()
                .filter(|task| matches!(task.owner, Owner::Ours(_) | Owner::Found(_)))
        };
        let idle_long_enough = self.round.now >= attempt.send_by + config.idle_control.max(lag);
        if idle_long_enough && ours().next().is_some() {
            return true;
        }
        // The task's time is the provider's, the attempt's is Redis's.
        let ahead = self.learned[open]
            .map_or(config.clock_margin, |learned| learned.ahead().max(config.clock_margin));
        let shown_until = attempt.send_by + lag + ahead;
        ours().any(|task| task.created_at.is_some_and(|created| created >= shown_until))
    }
}

/// What follows when there is no evidence, because the provider or the queue could not be asked. An outage is no reason to
/// bother a person for each job, as long as the list still shows what it has to show.
pub(crate) fn without_evidence(
    attempt: &Attempt,
    looks: u16,
    now: Timestamp,
    config: &SettleConfig,
    rules: &Rules,
    chance: f64,
) -> Verdict {
    if waited(attempt, now) >= list_covers(rules) {
        return Verdict::Undecidable {
            reason: HeldReason::CannotTell,
            slot_free: has_ended(attempt, now),
            doubt: Doubt {
                why: "the provider's list could not be read for as long as it covers the create".to_owned(),
                candidates: Vec::new(),
            },
        };
    }
    Verdict::LookAgain(config.looks.wait_with_jitter(looks.into(), chance))
}

fn waited(attempt: &Attempt, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(attempt.send_by)).unwrap_or_default()
}

/// For how long the list shows a task, with an hour of a day to spare: clocks differ, and reading a long list takes its time.
fn list_covers(rules: &Rules) -> Duration {
    LIST_WINDOW_MAX.min(rules.task_retention) / 24 * 23
}
