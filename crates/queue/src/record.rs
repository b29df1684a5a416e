//! A job's record as Redis fields and back.
//!
//! Field names are short because there is one record per job and there may be a million of them; names are persisted, so they
//! must be kept stable. Times are milliseconds. A field that has its default is absent.

use std::collections::HashMap;

use job::{
    Attempt, CanceledBy, FailureClass, HeldReason, Job, JobId, JobState, Micros, PinnedTo, Priority,
    RetriesSpent, StateName, TaskId, TaskPhase, Timestamp,
};

/// A record as fields and values.
pub(crate) type Fields = HashMap<String, String>;

/// Longer texts are cut: a field over 64 bytes would turn every record from a listpack into a hash table.
const TEXT_BYTES_MAX: usize = 64;

/// A record that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[error("the record of job {id} cannot be read: field `{field}` {problem}")]
pub struct UnreadableRecord {
    /// The job.
    pub id: String,
    /// The Redis field.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// The fields of a record, without `n` (the last nonce), which belongs to the scripts.
pub(crate) fn to_fields(job: &Job) -> Fields {
    let mut fields = Writer(Fields::with_capacity(24));
    fields.put("s", job.state_name().as_str());
    fields.put("v", job.version);
    fields.put_unless_zero("f", job.fence);
    fields.put_unless_zero("c", u64::from(job.claimed));
    fields.put_some("b", job.batch.as_ref());
    fields.put("m", job.model);
    match &job.pinned_to {
        Some(PinnedTo::Account(account)) => fields.put("a", account),
        Some(PinnedTo::Region(region)) => fields.put("g", region),
        None => {}
    }
    fields.put("x", job.images_max);
    fields.put_some("sz", job.shape);
    fields.put("p", job.priority);
    fields.put("q", job.seq);
    fields.put_time("e", job.enqueued_at);
    fields.put("d", &job.digest);
    fields.put_unless_zero("k", job.attempts.into());
    fields.put_unless_zero("t", job.tasks.into());
    fields.put_unless_zero("r", job.refusals.into());
    fields.put_unless_zero("rs", job.rescues.into());
    fields.put_unless_zero("al", u64::from(job.alone));
    fields.put_unless_zero("ad", u64::from(job.adopted));
    fields.put_unless_zero("cr", u64::from(job.cancel_requested));
    fields.put_unless_zero("bi", job.billed.into());
    fields.put_unless_zero("st", job.stored.into());
    fields.put_unless_zero("co", u64::try_from(job.cost.0).unwrap_or(0));
    fields.put_unless_zero("ra", job.replaced_after.into());
    fields.put_unless_zero("sb", job.stored_before.into());
    if job.retries != RetriesSpent::default() {
        let RetriesSpent { transport, service, service_timeout, input_download } = job.retries;
        fields.put("rt", format_args!("{transport},{service},{service_timeout},{input_download}"));
    }
    write_state(&mut fields, &job.state, job.enqueued_at);
    fields.0
}

fn write_state(fields: &mut Writer, state: &JobState, enqueued_at: Timestamp) {
    if let Some(attempt) = state.attempt() {
        fields.put("an", attempt.number);
        fields.put("aa", &attempt.account);
        fields.put_time("ac", attempt.claimed_at);
        fields.put_time("as", attempt.send_by);
        fields.put_unless_zero("ar", u64::try_from(attempt.cost_max.0).unwrap_or(0));
    }
    fields.put_some("ti", state.task());
    match state {
        JobState::Queued { due, cause } => {
            if *due > enqueued_at {
                fields.put_time("du", *due);
            }
            fields.put_some("ca", cause.as_ref());
        }
        JobState::Submitting { .. } => {}
        JobState::Settling { due, looks, cause, .. } => {
            fields.put_time("du", *due);
            fields.put_unless_zero("lo", (*looks).into());
            fields.put("ca", cause);
        }
        JobState::Polling { created_at, due, polls, unknowns, phase, running_since, .. } => {
            fields.put_time("tc", *created_at);
            fields.put_time("du", *due);
            fields.put_unless_zero("po", (*polls).into());
            fields.put_unless_zero("un", (*unknowns).into());
            fields.put("ph", phase_name(*phase));
            if let Some(since) = running_since {
                fields.put_time("sr", *since);
            }
        }
        JobState::Archiving { created_at, due, deadline, images, tries, refetches, .. } => {
            fields.put_time("tc", *created_at);
            fields.put_time("du", *due);
            fields.put_time("dl", *deadline);
            fields.put("im", images);
            fields.put_unless_zero("tr", (*tries).into());
            fields.put_unless_zero("rf", (*refetches).into());
        }
        JobState::Succeeded { at, partial, .. } => {
            fields.put_time("fa", *at);
            fields.put_unless_zero("pa", u64::from(*partial));
        }
        JobState::Failed { at, class, code } => {
            fields.put_time("fa", *at);
            fields.put("cl", class);
            fields.put("cd", code);
        }
        JobState::Canceled { at, by } => {
            fields.put_time("fa", *at);
            fields.put("by", if *by == CanceledBy::User { "user" } else { "provider" });
        }
        JobState::Expired { at, .. } => fields.put_time("fa", *at),
        JobState::Held { since, reason, unsettled, slot_free, .. } => {
            fields.put_time("fa", *since);
            fields.put("re", held_name(*reason));
            fields.put_unless_zero("us", u64::from(*unsettled));
            fields.put_unless_zero("sf", u64::from(*slot_free));
        }
    }
}

/// The job in a record.
pub(crate) fn from_fields(id: JobId, fields: &Fields) -> Result<Job, UnreadableRecord> {
    let read = Reader { id, fields };
    let retries = match read.text("rt") {
        None => RetriesSpent::default(),
        Some(text) => {
            let spent: Vec<u8> = text.split(',').filter_map(|part| part.parse().ok()).collect();
            let [transport, service, service_timeout, input_download] = spent[..] else {
                return Err(read.wrong("rt", "does not hold four counts"));
            };
            RetriesSpent { transport, service, service_timeout, input_download }
        }
    };
    Ok(Job {
        id,
        batch: read.optional("b")?,
        model: read.required("m")?,
        pinned_to: match read.optional("a")? {
            Some(account) => Some(PinnedTo::Account(account)),
            None => read.optional("g")?.map(PinnedTo::Region),
        },
        images_max: read.required("x")?,
        // One that this version does not know says nothing about how long it takes.
        shape: read.text("sz").and_then(|text| text.parse().ok()),
        priority: Priority::try_from(read.required::<u8>("p")?).map_err(|error| read.wrong("p", error))?,
        seq: read.required("q")?,
        enqueued_at: read.time("e")?,
        digest: read.required("d")?,
        state: read_state(&read)?,
        attempts: read.or_zero("k")?,
        tasks: read.or_zero("t")?,
        refusals: read.or_zero("r")?,
        retries,
        rescues: read.or_zero("rs")?,
        alone: read.flag("al"),
        adopted: read.flag("ad"),
        cancel_requested: read.flag("cr"),
        billed: read.or_zero("bi")?,
        stored: read.or_zero("st")?,
        cost: Micros(read.or_zero("co")?),
        replaced_after: read.or_zero("ra")?,
        stored_before: read.or_zero("sb")?,
        claimed: read.flag("c"),
        fence: read.or_zero("f")?,
        version: read.required("v")?,
    })
}

fn read_state(read: &Reader<'_>) -> Result<JobState, UnreadableRecord> {
    let attempt = || -> Result<Attempt, UnreadableRecord> {
        Ok(Attempt {
            number: read.required("an")?,
            account: read.required("aa")?,
            claimed_at: read.time("ac")?,
            send_by: read.time("as")?,
            cost_max: Micros(read.or_zero("ar")?),
        })
    };
    let task = || read.required::<TaskId>("ti");
    Ok(match read.required::<StateName>("s")? {
        StateName::Queued => JobState::Queued {
            due: if read.text("du").is_some() { read.time("du")? } else { read.time("e")? },
            cause: read.text("ca").map(str::to_owned),
        },
        StateName::Submitting => JobState::Submitting { attempt: attempt()? },
        StateName::Settling => JobState::Settling {
            attempt: attempt()?,
            due: read.time("du")?,
            looks: read.or_zero("lo")?,
            cause: read.required("ca")?,
        },
        StateName::Polling => JobState::Polling {
            attempt: attempt()?,
            task: task()?,
            created_at: read.time("tc")?,
            due: read.time("du")?,
            polls: read.or_zero("po")?,
            unknowns: read.or_zero("un")?,
            phase: match read.text("ph") {
                Some("pending") => TaskPhase::Pending,
                Some("running") => TaskPhase::Running,
                _ => TaskPhase::Unrecognised,
            },
            running_since: read.text("sr").map(|_| read.time("sr")).transpose()?,
        },
        StateName::Archiving => JobState::Archiving {
            attempt: attempt()?,
            task: task()?,
            created_at: read.time("tc")?,
            due: read.time("du")?,
            deadline: read.time("dl")?,
            images: read.required("im")?,
            tries: read.or_zero("tr")?,
            refetches: read.or_zero("rf")?,
        },
        StateName::Succeeded => {
            JobState::Succeeded { task: task()?, at: read.time("fa")?, partial: read.flag("pa") }
        }
        StateName::Failed => JobState::Failed {
            at: read.time("fa")?,
            class: read.required::<FailureClass>("cl")?,
            code: read.text("cd").unwrap_or_default().to_owned(),
        },
        StateName::Canceled => JobState::Canceled {
            at: read.time("fa")?,
            by: if read.text("by") == Some("user") { CanceledBy::User } else { CanceledBy::Provider },
        },
        StateName::Expired => JobState::Expired { at: read.time("fa")?, task: task()? },
        StateName::Held => JobState::Held {
            since: read.time("fa")?,
            reason: held_reason(read.text("re").unwrap_or_default())
                .ok_or_else(|| read.wrong("re", "is no reason that this version knows"))?,
            attempt: attempt()?,
            unsettled: read.flag("us"),
            slot_free: read.flag("sf"),
            task: read.optional("ti")?,
        },
    })
}

fn phase_name(phase: TaskPhase) -> &'static str {
    match phase {
        TaskPhase::Pending => "pending",
        TaskPhase::Running => "running",
        TaskPhase::Unrecognised => "unrecognised",
    }
}

const HELD_NAMES: [(HeldReason, &str); 6] = [
    (HeldReason::UnreadableResult, "unreadable_result"),
    (HeldReason::CannotTell, "cannot_tell"),
    (HeldReason::Policy, "policy"),
    (HeldReason::UnknownTask, "unknown_task"),
    (HeldReason::Poison, "poison"),
    (HeldReason::DoubtfulAdoption, "doubtful_adoption"),
];

fn held_name(reason: HeldReason) -> &'static str {
    HELD_NAMES.iter().find(|(known, _)| *known == reason).map_or("cannot_tell", |(_, name)| name)
}

fn held_reason(name: &str) -> Option<HeldReason> {
    HELD_NAMES.iter().find(|(_, known)| *known == name).map(|(reason, _)| *reason)
}

struct Writer(Fields);

impl Writer {
    fn put(&mut self, field: &'static str, value: impl std::fmt::Display) {
        let mut text = value.to_string();
        if text.len() > TEXT_BYTES_MAX && field != "ti" {
            let end = (0..=TEXT_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(end);
        }
        self.0.insert(field.to_owned(), text);
    }

    fn put_some(&mut self, field: &'static str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.put(field, value);
        }
    }

    fn put_unless_zero(&mut self, field: &'static str, number: u64) {
        if number != 0 {
            self.put(field, number);
        }
    }

    fn put_time(&mut self, field: &'static str, time: Timestamp) {
        self.put(field, time.as_millisecond());
    }
}

struct Reader<'a> {
    id: JobId,
    fields: &'a Fields,
}

impl Reader<'_> {
    fn text(&self, field: &'static str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    fn flag(&self, field: &'static str) -> bool {
        self.text(field) == Some("1")
    }

    fn wrong(&self, field: &'static str, problem: impl std::fmt::Display) -> UnreadableRecord {
        UnreadableRecord { id: self.id.to_string(), field, problem: problem.to_string() }
    }

    fn required<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        field: &'static str,
    ) -> Result<T, UnreadableRecord> {
        self.optional(field)?.ok_or_else(|| self.wrong(field, "is missing"))
    }

    fn optional<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        field: &'static str,
    ) -> Result<Option<T>, UnreadableRecord> {
        self.text(field)
            .map(|text| {
                text.parse().map_err(|error| self.wrong(field, format_args!("holds {text:?}: {error}")))
            })
            .transpose()
    }

    fn or_zero<T: std::str::FromStr<Err: std::fmt::Display> + Default>(
        &self,
        field: &'static str,
    ) -> Result<T, UnreadableRecord> {
        Ok(self.optional(field)?.unwrap_or_default())
    }

    fn time(&self, field: &'static str) -> Result<Timestamp, UnreadableRecord> {
        Timestamp::from_millisecond(self.required(field)?).map_err(|error| self.wrong(field, error))
    }
}
