//! What all workers know together of an account: permits, pauses, places at the provider, and which tasks are ours.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use job::{AccountName, Job, JobId, Micros, Model, TaskId, Timestamp};

use crate::Queue;
use crate::breaker::{self, OpenBreaker, QUERY_PROBE_WINDOW};
use crate::budgets::Spent;
use crate::claim::parse_id;
use crate::error::QueueError;
use crate::limits::{AccountLimits, Call, PAUSE_MAX, Pace, Pausable};
use crate::link::TimeAt;
use crate::quotas::{self, Quotas};
use crate::rests::WorkersAtRest;
use crate::scripts::{PAUSE_ACCOUNT, TAKE_PERMIT};

/// How far back creates are counted for people. Source: ours; the rate is documented by the second, and swings less by the minute.
const LATELY: Duration = Duration::from_secs(60);

/// How far ahead of its moment a permit for a query without a claim is given.
///
/// Source: ours; five calls at the documented 20 a second: a list, a settling and a few cancels at once; polls that are due wait no longer.
pub const QUERY_AHEAD: Duration = Duration::from_millis(250);

/// One query in so many is for those without a claim, while polls are due.
///
/// Source: ours; an account with 2,000 tasks at once needs a seventh of its queries for lists, and the settler reads page after page.
pub const AHEAD_PART: u64 = 4;

/// A call that is held back for everyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// `create:<model>` or `query`.
    pub call: String,
    /// Until when.
    pub until: Timestamp,
    /// Why, for people.
    pub why: String,
}

/// The answer to whoever asks for a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// The call is to be made so long from now.
    In(Duration),
    /// So long from now, and its answer decides about the open breaker of the account's queries.
    ProbeIn(Duration),
    /// Ask again after so long.
    Wait(Duration),
}

/// The answer to whoever asks when a create may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreateTime {
    /// So long from now: then, and not later.
    In(Duration),
    /// Ask again after so long.
    Wait(Duration),
}

/// What is known of an account.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AccountStatus {
    /// Its pauses that are not over.
    pub pauses: Vec<Pause>,
    /// Its breakers that are open.
    pub breakers: Vec<OpenBreaker>,
    /// How often the breaker of each call has opened so far.
    pub openings: BTreeMap<String, u64>,
    /// Places at the provider that are, or may be, taken.
    pub slots: HashMap<Model, u64>,
    /// Places that may be taken, where the provider has refused more; perhaps all of them again by now.
    pub places: HashMap<Model, u64>,
    /// Before when no create goes out, by model, as far as permits are spent ahead.
    pub next_creates: HashMap<Model, Timestamp>,
    /// Tasks of all models that were created in the last minute.
    pub created_lately: u64,
    /// Calls that single workers let rest.
    pub at_rest: Vec<WorkersAtRest>,
    /// What the provider says of its limits.
    pub quotas: Option<Quotas>,
    /// Images that the attempts under way may yet bring.
    pub reserved: i64,
    /// Images billed today (UTC).
    pub images_today: u64,
    /// What is spent on it today (UTC).
    pub spent_today: Spent,
    /// Tasks that wait to be asked.
    pub polls: u64,
    /// When the first of them is, or was, due.
    pub first_poll_due: Option<Timestamp>,
}

/// Who owns a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskOwner {
    /// The job.
    pub job: JobId,
    /// The number of its attempt; 0 for a create that belongs to no job.
    pub attempt: u32,
    /// When the attempt was claimed, where that was written down.
    pub claimed_at: Option<Timestamp>,
    /// Whether the task was taken for the attempt's by its time, from the provider's list, where no create was answered with it.
    pub found: bool,
}

impl TaskOwner {
    /// What stands in place of the time of the claim where the task was found.
    pub(crate) const FOUND: &str = "found";

    /// Reads `<job>:<attempt>:<claimed ms>` or `<job>:<attempt>:found`; without a job's attempt it ends after the number.
    pub(crate) fn parse(text: &str) -> Result<Self, QueueError> {
        let mut parts = text.split(':');
        let job = parse_id(parts.next().unwrap_or_default())?;
        let attempt = parts.next().and_then(|number| number.parse().ok()).unwrap_or(0);
        let how = parts.next();
        let claimed_at = how.and_then(|ms| Timestamp::from_millisecond(ms.parse().ok()?).ok());
        Ok(Self { job, attempt, claimed_at, found: how == Some(Self::FOUND) })
    }
}

impl Queue {
    /// Takes a permit for one query, list or cancel, or says how long to wait before one can be had.
    ///
    /// It goes before polls that are due: it takes the next free moment, which polls do only once that has come. So lists, settling
    /// and cancels have their part, one permit in [`AHEAD_PART`], however many polls are late; and polls have theirs. Where no poll is
    /// due, every second one.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn take_query_permit(
        &self,
        account: &AccountName,
        limits: &AccountLimits,
    ) -> Result<Permit, QueueError> {
        let pace = Pace::of(limits.queries_per_second);
        let permits = |call| self.keys().permits(account, call);
        let keys = [permits("query"), self.keys().account(account), permits("query:ahead")];
        let args = [
            pace.step_us.to_string(),
            "0".to_owned(),
            Call::Query.name(),
            QUERY_PROBE_WINDOW.as_millis().to_string(),
            "0".to_owned(),
            QUERY_AHEAD.as_micros().to_string(),
            (pace.step_us * AHEAD_PART).to_string(),
        ];
        let mut reply = self.script("take_permit", &TAKE_PERMIT, &keys, &args, TimeAt::First).await?;
        reply.int()?;
        let wait_ms = reply.int()?;
        if wait_ms > 0 {
            return Ok(Permit::Wait(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))));
        }
        let after = self.until(reply.int()?);
        Ok(if wait_ms < 0 { Permit::ProbeIn(after) } else { Permit::In(after) })
    }

    /// How long it is until that time, in microseconds by Redis's clock.
    fn until(&self, time_us: i64) -> Duration {
        let at = Timestamp::from_microsecond(time_us).unwrap_or(Timestamp::UNIX_EPOCH);
        Duration::try_from(at.duration_since(self.now())).unwrap_or_default()
    }

    /// Takes the time at which one create is to be sent, no sooner than after `lead` and within `within`: for a create that missed the
    /// time of its claim, or has none. Breakers do not hold it back.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn take_create_time(
        &self,
        account: &AccountName,
        model: Model,
        limits: &AccountLimits,
        lead: Duration,
        within: Duration,
    ) -> Result<CreateTime, QueueError> {
        let (pace, call) = (Pace::of(limits.create_per_second), Call::Create(Some(model)));
        let permits = self.keys().permits(account, &call.name());
        let keys = [permits.clone(), self.keys().account(account), permits];
        let args = [
            pace.step_us.to_string(),
            "0".to_owned(),
            call.name(),
            "0".to_owned(),
            lead.as_micros().to_string(),
            within.as_micros().to_string(),
            "0".to_owned(),
        ];
        let mut reply = self.script("take_permit", &TAKE_PERMIT, &keys, &args, TimeAt::First).await?;
        reply.int()?;
        let wait_ms = reply.int()?;
        if wait_ms > 0 {
            return Ok(CreateTime::Wait(Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0))));
        }
        Ok(CreateTime::In(self.until(reply.int()?)))
    }

    /// Holds one of an account's calls back, for every worker, at least for `pause` from now.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn pause_account(
        &self,
        account: &AccountName,
        call: Pausable,
        pause: Duration,
        why: &str,
    ) -> Result<(), QueueError> {
        let keys = [self.keys().account(account)];
        let args = [call.name(), pause.as_millis().to_string(), why.chars().take(200).collect()];
        self.script("pause_account", &PAUSE_ACCOUNT, &keys, &args, TimeAt::First).await?;
        Ok(())
    }

    /// Whether creates of a model that were claimed before are held back by now, for every worker: a pause that is not over, or a
    /// breaker that is open. No question for its probe, which the breaker lets through.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn creates_held_back(&self, account: &AccountName, model: Model) -> Result<bool, QueueError> {
        let mut command = redis::cmd("HMGET");
        command.arg(self.keys().account(account)).arg(format!("pause:create:{model}"));
        command.arg("open:create").arg(format!("open:create:{model}"));
        let (paused_until, open, model_open): (Option<i64>, Option<i64>, Option<i64>) =
            self.link().query(&command).await?;
        let (now, latest) = (self.now().as_millisecond(), (self.now() + PAUSE_MAX).as_millisecond());
        let is_paused = paused_until.is_some_and(|until| until > now && until <= latest);
        Ok(is_paused || open.is_some() || model_open.is_some())
    }

    /// Who owns each of these tasks, or nobody here.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn task_owners(
        &self,
        account: &AccountName,
        tasks: &[TaskId],
    ) -> Result<Vec<Option<TaskOwner>>, QueueError> {
        if tasks.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("HMGET");
        command.arg(self.keys().tasks(account));
        for task in tasks {
            command.arg(task.as_str());
        }
        let owners: Vec<Option<String>> = self.link().query(&command).await?;
        owners.into_iter().map(|owner| owner.as_deref().map(TaskOwner::parse).transpose()).collect()
    }

    /// The jobs whose attempts hold one of an account's places for a model: few, since places are few.
    ///
    /// # Errors
    ///
    /// Redis is away, or a record cannot be read.
    pub async fn jobs_with_slots(&self, account: &AccountName, model: Model) -> Result<Vec<Job>, QueueError> {
        let mut command = redis::cmd("ZRANGE");
        command.arg(self.keys().slots(account, model)).arg(0).arg(-1);
        let members: Vec<String> = self.link().query(&command).await?;
        let ids: Vec<String> =
            members.iter().filter_map(|member| Some(member.split_once(':')?.0.to_owned())).collect();
        let mut jobs = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(500) {
            jobs.extend(self.records(chunk).await?.into_iter().flatten());
        }
        Ok(jobs)
    }

    /// What is known of an account.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn account_status(&self, account: &AccountName) -> Result<AccountStatus, QueueError> {
        let (keys, now) = (self.keys(), self.now());
        let day = now.strftime("%Y-%m-%d").to_string();
        let mut pipeline = redis::pipe();
        pipeline
            .hgetall(keys.account(account))
            .hget(keys.ledger(&day), format!("images:{account}"))
            .hget(keys.ledger(&day), format!("cost:{account}"))
            .zcard(keys.due_poll(account))
            .zrange_withscores(keys.due_poll(account), 0, 0)
            .zcount(keys.tasks_by_time(account), (now - LATELY).as_millisecond(), "+inf");
        for model in Model::ALL {
            pipeline.zcard(keys.slots(account, model));
        }
        type Answer =
            (HashMap<String, String>, Option<u64>, Option<i64>, u64, Vec<(String, i64)>, u64, u64, u64);
        let (state, images_today, booked_today, polls, first, created_lately, pro, standard): Answer =
            self.link().pipeline(&pipeline).await?;
        let permits = Model::ALL.map(|model| keys.permits(account, &Call::Create(Some(model)).name()));
        let permits: Vec<Option<i64>> = self.link().query(redis::cmd("MGET").arg(&permits)).await?;
        let next_creates = Model::ALL
            .into_iter()
            .zip(permits)
            .filter_map(|(model, at)| Some((model, Timestamp::from_microsecond(at?).ok()?)))
            .filter(|(_, at)| *at > now)
            .collect();
        let mut pauses: Vec<Pause> = state
            .iter()
            .filter_map(|(field, until)| {
                let call = field.strip_prefix("pause:")?.to_owned();
                let until = Timestamp::from_millisecond(until.parse().ok()?).ok()?;
                let why = state.get(&format!("why:{call}")).cloned().unwrap_or_default();
                (until > now && until <= now + PAUSE_MAX).then_some(Pause { call, until, why })
            })
            .collect();
        pauses.sort_by(|a, b| a.call.cmp(&b.call));
        let (breakers, openings) = breaker::read(&state);
        Ok(AccountStatus {
            pauses,
            breakers,
            openings,
            slots: Model::ALL.into_iter().zip([pro, standard]).collect(),
            places: Model::ALL
                .into_iter()
                .filter_map(|model| Some((model, state.get(&format!("places:{model}"))?.parse().ok()?)))
                .collect(),
            next_creates,
            created_lately,
            at_rest: self.workers_at_rest(account).await?,
            quotas: state.get(quotas::FIELD).and_then(|text| quotas::read(text)),
            reserved: state.get("reserved").and_then(|text| text.parse().ok()).unwrap_or(0),
            images_today: images_today.unwrap_or(0),
            spent_today: Spent {
                booked: Micros(booked_today.unwrap_or(0)),
                reserved: Micros(state.get("reserved_cost").and_then(|text| text.parse().ok()).unwrap_or(0)),
            },
            polls,
            first_poll_due: first.first().and_then(|(_, due)| Timestamp::from_millisecond(*due).ok()),
        })
    }
}
