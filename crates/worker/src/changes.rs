//! What differs between what the settings had and what they have. Pure.

/// What a reload changed, of the accounts or of the webhooks, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes<Name> {
    /// Those that are new.
    pub added: Vec<Name>,
    /// Those that were known, and are set otherwise now.
    pub changed: Vec<Name>,
    /// Those that the settings no longer have.
    pub removed: Vec<Name>,
}

impl<Name> Default for Changes<Name> {
    fn default() -> Self {
        Self { added: Vec::new(), changed: Vec::new(), removed: Vec::new() }
    }
}

impl<Name: Clone + PartialEq> Changes<Name> {
    /// From `before` to `after`.
    pub(crate) fn between<T: PartialEq>(before: &[T], after: &[T], name: impl Fn(&T) -> &Name) -> Self {
        let find = |all: &[T], wanted: &Name| all.iter().position(|one| name(one) == wanted);
        let mut changes = Self::default();
        for one in after {
            match find(before, name(one)) {
                None => changes.added.push(name(one).clone()),
                Some(at) if before[at] != *one => changes.changed.push(name(one).clone()),
                Some(_) => {}
            }
        }
        let gone = before.iter().map(&name).filter(|known| find(after, known).is_none());
        changes.removed = gone.cloned().collect();
        changes
    }

    /// Whether nothing did.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}
