//! Who can have made which task: every way in which the open attempts explain the tasks that nobody owns. Pure.
//!
//! Each of the tasks was made by exactly one attempt, and each attempt made at most one. Usually the times leave several ways to
//! assign the tasks; what all of the ways agree on is true if the windows are. Nothing is enumerated: whether a pair stands in
//! any way at all is a question of one augmenting path in a bipartite graph, so that even 64 creates of one killed worker are
//! weighed in milliseconds. Driven by [`super::decide`].

/// What all explanations together say of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It made this task in each of them.
    Made(usize),
    /// It made nothing in each of them.
    Nothing,
    /// They differ.
    Differs,
}

/// Attempts and tasks, by number, and which can have made which.
#[derive(Debug, Clone)]
pub(crate) struct Graph {
    /// For each task the attempts that can have made it.
    makers_of: Vec<Vec<usize>>,
    makers: usize,
}

/// One way to explain every task.
#[derive(Debug, Clone)]
struct Explanation {
    maker_of: Vec<Option<usize>>,
    task_of: Vec<Option<usize>>,
}

impl Graph {
    /// The graph of so many tasks and attempts, where `can(attempt, task)`.
    pub(crate) fn new(tasks: usize, makers: usize, can: impl Fn(usize, usize) -> bool) -> Self {
        let makers_of =
            (0..tasks).map(|task| (0..makers).filter(|maker| can(*maker, task)).collect()).collect();
        Self { makers_of, makers }
    }

    /// What the explanations say of each attempt; `None` if there is no explanation.
    pub(crate) fn tell(&self) -> Option<Vec<Told>> {
        let mut found =
            Explanation { maker_of: vec![None; self.makers_of.len()], task_of: vec![None; self.makers] };
        for task in 0..self.makers_of.len() {
            if !self.assign(&mut found, task, None) {
                return None;
            }
        }
        Some((0..self.makers).map(|maker| self.tell_of(&found, maker)).collect())
    }

    fn tell_of(&self, found: &Explanation, maker: usize) -> Told {
        let nothing = self.may_make_nothing(found, maker);
        let mut possible = (0..self.makers_of.len()).filter(|task| self.may_make(found, maker, *task));
        match (possible.next(), possible.next(), nothing) {
            (None, _, _) => Told::Nothing,
            (Some(only), None, false) => Told::Made(only),
            _ => Told::Differs,
        }
    }

    /// Whether some explanation leaves `maker` without a task.
    fn may_make_nothing(&self, found: &Explanation, maker: usize) -> bool {
        let Some(task) = found.task_of[maker] else { return true };
        let mut other = found.clone();
        (other.task_of[maker], other.maker_of[task]) = (None, None);
        self.assign(&mut other, task, Some(maker))
    }

    /// Whether `maker` made `task` in some explanation.
    fn may_make(&self, found: &Explanation, maker: usize, task: usize) -> bool {
        if !self.makers_of[task].contains(&maker) {
            return false;
        }
        // The task moves over to `maker`; what that one made before needs another maker.
        match found.task_of[maker] {
            None => true,
            Some(same) if same == task => true,
            Some(displaced) => {
                let mut other = found.clone();
                if let Some(before) = other.maker_of[task] {
                    other.task_of[before] = None;
                }
                (other.task_of[maker], other.maker_of[task]) = (Some(task), Some(maker));
                other.maker_of[displaced] = None;
                self.assign(&mut other, displaced, Some(maker))
            }
        }
    }

    /// Finds a maker for `task` other than `barred`, moving other tasks on where that helps.
    fn assign(&self, found: &mut Explanation, task: usize, barred: Option<usize>) -> bool {
        let mut seen = vec![false; self.makers];
        if let Some(barred) = barred {
            seen[barred] = true;
        }
        self.augment(found, task, &mut seen)
    }

    fn augment(&self, found: &mut Explanation, task: usize, seen: &mut [bool]) -> bool {
        for &maker in &self.makers_of[task] {
            if std::mem::replace(&mut seen[maker], true) {
                continue;
            }
            if found.task_of[maker].is_none_or(|displaced| self.augment(found, displaced, seen)) {
                (found.task_of[maker], found.maker_of[task]) = (Some(task), Some(maker));
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(tasks: usize, makers: usize, edges: &[(usize, usize)]) -> Option<Vec<Told>> {
        Graph::new(tasks, makers, |maker, task| edges.contains(&(maker, task))).tell()
    }

    #[test]
    fn what_only_one_can_have_made_is_its_own_and_frees_the_others() {
        // The second task fits both, and the first only attempt 0: so attempt 1 made the second.
        let told = told(2, 3, &[(0, 0), (0, 1), (1, 1)]).unwrap();
        assert_eq!(told, [Told::Made(0), Told::Made(1), Told::Nothing]);
    }

    #[test]
    fn one_task_and_two_that_fit_it_leave_both_in_doubt() {
        assert_eq!(told(1, 2, &[(0, 0), (1, 0)]).unwrap(), [Told::Differs, Told::Differs]);
        let both = [(0, 0), (0, 1), (1, 0), (1, 1)];
        assert_eq!(told(2, 2, &both).unwrap(), [Told::Differs, Told::Differs]);
    }

    #[test]
    fn a_task_that_nobody_can_have_made_leaves_no_explanation() {
        assert_eq!(told(1, 1, &[]), None);
        assert_eq!(told(2, 1, &[(0, 0), (0, 1)]), None);
    }

    /// The same by trying everything.
    fn by_enumeration(tasks: usize, makers: usize, edges: &[(usize, usize)]) -> Option<Vec<Told>> {
        let mut ways: Vec<Vec<Option<usize>>> = vec![vec![None; makers]];
        for task in 0..tasks {
            let mut longer = Vec::new();
            for way in &ways {
                for maker in 0..makers {
                    if way[maker].is_none() && edges.contains(&(maker, task)) {
                        let mut way = way.clone();
                        way[maker] = Some(task);
                        longer.push(way);
                    }
                }
            }
            ways = longer;
        }
        let first = ways.first()?.clone();
        Some(
            (0..makers)
                .map(|maker| match first[maker] {
                    _ if ways.iter().any(|way| way[maker] != first[maker]) => Told::Differs,
                    Some(task) => Told::Made(task),
                    None => Told::Nothing,
                })
                .collect(),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn paths_say_what_trying_everything_says(
            tasks in 0usize..5, makers in 1usize..6,
            edges in proptest::collection::vec((0usize..6, 0usize..5), 0..16),
        ) {
            let edges: Vec<_> = edges.into_iter().filter(|(maker, task)| *maker < makers && *task < tasks).collect();
            prop_assert_eq!(told(tasks, makers, &edges), by_enumeration(tasks, makers, &edges));
        }
    }
}
