//! The faults in force, and which of them strike.
//!
//! Owns the counters. Never looks at a clock or a generator: moments and identities come with each [`Candidate`].

use std::collections::{HashMap, HashSet};

use super::{Act, Fault, On};
use crate::draw::Draw;
use crate::ledger::FaultEntry;

/// Something a fault may strike.
pub(crate) struct Candidate<'a> {
    pub(crate) on: On,
    pub(crate) phase: Phase,
    /// Milliseconds since the simulator's start.
    pub(crate) at_ms: i64,
    /// The prompt of the request, or of its task.
    pub(crate) prompt: Option<&'a str>,
    /// The task it is about.
    pub(crate) task: Option<u32>,
    /// What this candidate is, whatever order requests arrive in: the base of shares.
    pub(crate) identity: &'a [u8],
}

/// When in the life of a request faults are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// On arrival, before anything is decided.
    Arrival,
    /// After a create call was accepted.
    Accepted,
}

/// The scripted faults with their counts.
#[derive(Debug)]
pub(crate) struct FaultBook {
    seed: u64,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    fault: Fault,
    seen: u64,
    struck: u64,
    seen_by_task: HashMap<u32, u64>,
    /// For acts that are decided once per task: those already decided, and those struck.
    decided: HashSet<u32>,
    marked: HashSet<u32>,
}

impl FaultBook {
    pub(crate) fn new(seed: u64, faults: Vec<Fault>) -> Self {
        Self { seed, entries: faults.into_iter().map(Entry::new).collect() }
    }

    pub(crate) fn extend(&mut self, faults: Vec<Fault>) {
        self.entries.extend(faults.into_iter().map(Entry::new));
    }

    pub(crate) fn replace(&mut self, faults: Vec<Fault>) {
        *self = Self::new(self.seed, faults);
    }

    pub(crate) fn report(&self) -> Vec<FaultEntry> {
        self.entries
            .iter()
            .map(|entry| FaultEntry {
                name: entry.fault.name.clone(),
                on: entry.fault.on,
                act: entry.fault.act.name().to_owned(),
                seen: entry.seen,
                struck: entry.struck,
            })
            .collect()
    }

    /// All acts that shape a task, in the order of the script.
    pub(crate) fn pick_all(&mut self, candidate: &Candidate<'_>) -> Vec<Act> {
        let seed = self.seed;
        self.entries
            .iter_mut()
            .enumerate()
            .filter_map(|(index, entry)| entry.strike(seed, index, candidate))
            .collect()
    }

    /// The delays that strike, summed, and the first other act. Acts behind that one are not asked.
    pub(crate) fn pick(&mut self, candidate: &Candidate<'_>) -> (u64, Option<Act>) {
        let (mut delay_ms, seed) = (0, self.seed);
        for (index, entry) in self.entries.iter_mut().enumerate() {
            match entry.strike(seed, index, candidate) {
                Some(Act::Delay { ms }) => delay_ms += ms,
                Some(act) => return (delay_ms, Some(act)),
                None => {}
            }
        }
        (delay_ms, None)
    }
}

impl Entry {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            seen: 0,
            struck: 0,
            seen_by_task: HashMap::new(),
            decided: HashSet::new(),
            marked: HashSet::new(),
        }
    }

    fn strike(&mut self, seed: u64, index: usize, candidate: &Candidate<'_>) -> Option<Act> {
        let fault = &self.fault;
        let accepted = candidate.phase == Phase::Accepted;
        if fault.on != candidate.on || fault.act.is_after_acceptance() != accepted || !self.holds(candidate) {
            return None;
        }
        if let Some(task) = candidate.task {
            match fault.act {
                Act::UnknownForever if self.marked.contains(&task) => return Some(fault.act.clone()),
                Act::UnknownForever | Act::UnknownOnce if !self.decided.insert(task) => return None,
                _ => {}
            }
        }
        self.seen += 1;
        let count = match candidate.task.filter(|_| self.fault.when.per_task) {
            Some(task) => {
                let seen = self.seen_by_task.entry(task).or_default();
                *seen += 1;
                *seen
            }
            None => self.seen,
        };
        if !self.chooses(count, seed, index, candidate)
            || self.fault.times.is_some_and(|max| self.struck >= max)
        {
            return None;
        }
        self.struck += 1;
        self.marked.extend(candidate.task.filter(|_| self.fault.act == Act::UnknownForever));
        Some(self.fault.act.clone())
    }

    /// The conditions that do not count.
    fn holds(&self, candidate: &Candidate<'_>) -> bool {
        let when = &self.fault.when;
        let at_s = candidate.at_ms as f64 / 1_000.0;
        when.after_s.is_none_or(|after| at_s >= after)
            && when.before_s.is_none_or(|before| at_s < before)
            && when
                .prompt_contains
                .as_deref()
                .is_none_or(|part| candidate.prompt.is_some_and(|all| all.contains(part)))
    }

    /// The conditions that count, for the candidate with this number.
    fn chooses(&self, count: u64, seed: u64, index: usize, candidate: &Candidate<'_>) -> bool {
        let when = &self.fault.when;
        (when.nth.is_empty() || when.nth.contains(&count))
            && when.every.is_none_or(|every| count.is_multiple_of(every))
            && when.rate.is_none_or(|rate| {
                Draw::new(seed, "fault", &[&index.to_be_bytes(), candidate.identity]).unit(0) < rate
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::When;

    fn query(task: u32) -> Candidate<'static> {
        Candidate {
            on: On::Query,
            phase: Phase::Arrival,
            at_ms: 0,
            prompt: None,
            task: Some(task),
            identity: b"q",
        }
    }

    fn struck(book: &mut FaultBook, candidates: &[Candidate<'_>]) -> Vec<bool> {
        candidates.iter().map(|candidate| book.pick(candidate).1.is_some()).collect()
    }

    #[test]
    fn nth_and_times_count_candidates_and_strikes() {
        let mut book = FaultBook::new(7, vec![Fault::new(On::Query, Act::Hang).nth(&[2, 3, 4]).times(2)]);
        let candidates: Vec<_> = (0..5).map(query).collect();
        assert_eq!(struck(&mut book, &candidates), [false, true, true, false, false]);
        let report = book.report();
        assert_eq!((report[0].seen, report[0].struck), (5, 2));
    }

    #[test]
    fn per_task_counts_each_task_by_itself() {
        let mut fault = Fault::new(On::Query, Act::Hang).nth(&[2]);
        fault.when.per_task = true;
        let mut book = FaultBook::new(7, vec![fault]);
        assert_eq!(struck(&mut book, &[query(1), query(2), query(1), query(2)]), [false, false, true, true]);
    }

    #[test]
    fn every_third_is_struck() {
        let mut fault = Fault::new(On::Query, Act::Hang);
        fault.when.every = Some(3);
        let mut book = FaultBook::new(7, vec![fault]);
        let candidates: Vec<_> = (0..6).map(query).collect();
        assert_eq!(struck(&mut book, &candidates), [false, false, true, false, false, true]);
    }

    #[test]
    fn a_share_depends_on_identity_and_not_on_order() {
        let fault =
            Fault { when: When { rate: Some(0.3), ..When::default() }, ..Fault::new(On::Query, Act::Hang) };
        let run = |order: &[u32]| {
            let mut book = FaultBook::new(7, vec![fault.clone()]);
            let mut hit: Vec<u32> = order
                .iter()
                .copied()
                .filter(|task| {
                    let identity = task.to_be_bytes();
                    book.pick(&Candidate { identity: &identity, ..query(*task) }).1.is_some()
                })
                .collect();
            hit.sort_unstable();
            hit
        };
        let forwards: Vec<u32> = (0..1_000).collect();
        let backwards: Vec<u32> = (0..1_000).rev().collect();
        let hit = run(&forwards);
        assert_eq!(hit, run(&backwards));
        assert!((250..=350).contains(&hit.len()), "{} of 1000", hit.len());
    }

    #[test]
    fn unknown_once_strikes_a_tasks_first_query_only_and_unknown_forever_all_of_them() {
        let once = &mut FaultBook::new(7, vec![Fault::new(On::Query, Act::UnknownOnce)]);
        assert_eq!(struck(once, &[query(1), query(1), query(2), query(2)]), [true, false, true, false]);
        let forever = &mut FaultBook::new(7, vec![Fault::new(On::Query, Act::UnknownForever).nth(&[1])]);
        assert_eq!(struck(forever, &[query(1), query(2), query(1), query(2)]), [true, false, true, false]);
    }

    #[test]
    fn the_window_and_the_prompt_are_conditions() {
        let mut fault = Fault::new(On::Query, Act::Hang).prompt_contains("cat");
        fault.when.after_s = Some(1.0);
        fault.when.before_s = Some(2.0);
        let mut book = FaultBook::new(7, vec![fault]);
        let at = |at_ms, prompt| Candidate { at_ms, prompt: Some(prompt), ..query(1) };
        let candidates = [at(999, "a cat"), at(1_000, "a dog"), at(1_000, "a cat"), at(2_000, "a cat")];
        assert_eq!(struck(&mut book, &candidates), [false, false, true, false]);
    }

    #[test]
    fn delays_add_up_and_go_with_another_act() {
        let delay = |ms| Fault::new(On::Query, Act::Delay { ms });
        let mut book =
            FaultBook::new(7, vec![delay(10), delay(20), Fault::new(On::Query, Act::Hang), delay(40)]);
        assert_eq!(book.pick(&query(1)), (30, Some(Act::Hang)));
    }

    #[test]
    fn faults_of_accepted_calls_count_accepted_calls_only() {
        let mut book = FaultBook::new(7, vec![Fault::new(On::Create, Act::AcceptThenCut).nth(&[2])]);
        let create = |phase| Candidate { on: On::Create, phase, task: None, ..query(0) };
        let phases = [Phase::Arrival, Phase::Accepted, Phase::Arrival, Phase::Arrival, Phase::Accepted];
        let candidates: Vec<_> = phases.into_iter().map(create).collect();
        assert_eq!(struck(&mut book, &candidates), [false, false, false, false, true]);
    }
}
