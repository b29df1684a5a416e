//! What a claim for submit has to wait for, in the words of `lua/claim_submit.lua`.

/// What a claim for submit has to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyWait {
    /// No job waits.
    Empty,
    /// The account's create rate.
    Permit,
    /// All of the account's places at the provider are taken.
    Slots,
    /// The account, or the model on it, is paused, or its breaker is open.
    Paused,
    /// The jobs that wait are left to another account, which can start them at once.
    Elsewhere,
    /// A person has paused the account, the model, or everything: see [`crate::Queue::pause`].
    ByHand,
    /// The account's images of the day are used up.
    Day,
    /// The budget of the day has no room for the next job.
    BudgetOfDay,
    /// The account's budget of the day has no room for the next job.
    BudgetOfAccount,
    /// Redis went back in time: see [`crate::Queue::recover`].
    Restored,
    /// Redis was started, or went back in time, a moment ago: every worker gets to compare what it knows.
    Recovering,
}

impl WhyWait {
    /// Reads the script's word; one that this version does not know is no job.
    pub(crate) fn of_word(word: &str) -> Self {
        match word {
            "permit" => Self::Permit,
            "slots" => Self::Slots,
            "paused" => Self::Paused,
            "elsewhere" => Self::Elsewhere,
            "by_hand" => Self::ByHand,
            "day" => Self::Day,
            "budget_day" => Self::BudgetOfDay,
            "budget_account" => Self::BudgetOfAccount,
            "restored" => Self::Restored,
            "recovering" => Self::Recovering,
            _ => Self::Empty,
        }
    }
}
