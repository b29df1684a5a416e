//! The scripts: each is a file in `lua/` with its contract, and stands here under the same name.
//!
//! What several of them need stands once, in `lua/shared/`, and is written in place of its `-- include` line.
//!
//! `redis::Script` sends the hash and falls back to the text, so that a `SCRIPT FLUSH` or a restarted Redis is harmless.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(&whole(include_str!(concat!("../lua/", $file)))));)*
    };
}

/// A script with what it includes.
fn whole(text: &str) -> String {
    text.replace("-- include begin_of\n", include_str!("../lua/shared/begin_of.lua"))
        .replace("-- include end_batch\n", include_str!("../lua/shared/end_batch.lua"))
        .replace("-- include seal_batch\n", include_str!("../lua/shared/seal_batch.lua"))
}

scripts! {
    AUDIT_SLOTS = "audit_slots.lua";
    BREAKER = "breaker.lua";
    BRING_BACK = "bring_back.lua";
    CLAIM_DUE = "claim_due.lua";
    CLAIM_SUBMIT = "claim_submit.lua";
    CLOSE_EXTRA = "close_extra.lua";
    COMMIT = "commit.lua";
    ENQUEUE = "enqueue.lua";
    HALVE_DURATIONS = "halve_durations.lua";
    HEAL_RESERVED = "heal_reserved.lua";
    HEED_LIST = "heed_list.lua";
    HOLD_KEY = "hold_key.lua";
    LOWER_PLACES = "lower_places.lua";
    OUTBOX_KEEP = "outbox_keep.lua";
    OUTBOX_TAKE = "outbox_take.lua";
    OUTBOX_WRITE = "outbox_write.lua";
    PAUSE_ACCOUNT = "pause_account.lua";
    PAUSE_BATCH = "pause_batch.lua";
    PROMOTE = "promote.lua";
    RECOVER = "recover.lua";
    RENEW = "renew.lua";
    REPAIR = "repair.lua";
    RESCUE = "rescue.lua";
    RETAIN = "retain.lua";
    SCHEDULE_CLAIM = "schedule_claim.lua";
    SCHEDULE_END = "schedule_end.lua";
    SCHEDULE_LOOK = "schedule_look.lua";
    SCHEDULE_RENEW = "schedule_renew.lua";
    SEAL = "seal.lua";
    SET_BUDGET = "set_budget.lua";
    TAKE_PERMIT = "take_permit.lua";
}
