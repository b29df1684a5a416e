//! Claims: a job handed to a worker for one step, with a lease and a fence.

use std::time::Duration;

use job::{AccountName, Job, JobId, JobSpec, Micros, Model, Outcome, PinnedTo, RegionName, Timestamp};

use crate::Queue;
use crate::allowed::{QUIET, QUIET_MAX};
use crate::breaker::QUERY_PROBE_WINDOW;
use crate::budgets::{Budgets, days_that_hold, in_micros};
use crate::error::QueueError;
use crate::limits::{AccountLimits, Call, Pace};
use crate::link::TimeAt;
use crate::pacer::AHEAD;
use crate::record::from_fields;
use crate::reply::{Reply, Wait};
use crate::scripts::{CLAIM_DUE, CLAIM_SUBMIT, RESCUE};
use crate::why_wait::WhyWait;

/// From where, and under which limits, a job may be claimed for submit.
#[derive(Debug, Clone, PartialEq)]
pub struct SubmitAsk {
    /// The account that will be asked.
    pub account: AccountName,
    /// The region that it stands in: jobs for that region are its as well.
    pub region: Option<RegionName>,
    /// The model.
    pub model: Model,
    /// The account's limits for it.
    pub limits: AccountLimits,
    /// Its share of the work that either of two accounts could start at once: beside one of weight 1, as many times the part of its
    /// places. At least 1.
    pub weight: u32,
    /// The other accounts that may take its jobs, as far as they are not pinned. The first [`OTHERS_MAX`] count.
    pub others: Vec<OtherAccount>,
    /// How long after the claim the create call may be sent. Default 5 s.
    pub send_within: Duration,
    /// How long after the claim the create can go out at the earliest: inputs, and a connection.
    pub lead: Duration,
    /// What one image costs: what a claim reserves of the budgets goes by it.
    pub price: Micros,
    /// What may be spent, beside the account's own budget in its limits.
    pub budgets: Budgets,
    /// How long after the claim the answer to a probe of an open breaker is there at the latest; then the next may go out.
    pub probe_window: Duration,
}

/// An account that shares work with the one that asks.
#[derive(Debug, Clone, PartialEq)]
pub struct OtherAccount {
    /// Its name.
    pub account: AccountName,
    /// The region that it stands in.
    pub region: Option<RegionName>,
    /// Its limits for the model.
    pub limits: AccountLimits,
    /// Its weight. At least 1.
    pub weight: u32,
}

/// How many other accounts a claim looks at. Source: ours; each costs Redis four short reads, with budgets seven, and nobody has so many.
pub const OTHERS_MAX: usize = 16;

impl SubmitAsk {
    fn others(&self) -> &[OtherAccount] {
        &self.others[..self.others.len().min(OTHERS_MAX)]
    }

    /// Who shares the work, as `claim_submit.lua` takes it.
    fn share_json(&self) -> String {
        let region =
            |region: &Option<RegionName>| region.as_ref().map(ToString::to_string).unwrap_or_default();
        let others: Vec<_> = self
            .others()
            .iter()
            .map(|other| {
                let (name, region) = (other.account.as_str(), region(&other.region));
                let (at_once, weight) = (other.limits.in_flight.max(1), other.weight.max(1));
                let step_us = Pace::of(other.limits.create_per_second).step_us;
                serde_json::json!({
                    "name": name, "region": region, "at_once": at_once, "weight": weight, "step_us": step_us,
                    "day_max": other.limits.images_per_day.unwrap_or(0).to_string(),
                    "budget": in_micros(other.limits.cost_per_day),
                })
            })
            .collect();
        serde_json::json!({
            "region": region(&self.region),
            "at_once": self.limits.in_flight.max(1),
            "weight": self.weight.max(1),
            "others": others,
        })
        .to_string()
    }
}

/// The answer to a claim for submit.
#[derive(Debug)]
pub enum SubmitClaim {
    /// A job, with its attempt written down.
    Claimed {
        /// The job.
        job: Box<Job>,
        /// What it asks for; the fault, if this version cannot read it.
        spec: Result<Box<JobSpec>, String>,
        /// When its create is to be sent: the permit is for this time.
        send_at: Timestamp,
        /// Whether it goes through an open breaker, to find out whether that may close.
        probe: bool,
    },
    /// Nothing now.
    Wait {
        /// What is missing.
        why: WhyWait,
        /// When to ask again.
        wait: Wait,
    },
}

/// Jobs that were due.
#[derive(Debug)]
pub struct Claimed {
    /// The jobs, each under a lease.
    pub jobs: Vec<ClaimedJob>,
    /// When to ask again.
    pub wait: Wait,
    /// Whether the job goes through an open breaker, to find out whether that may close.
    pub probe: bool,
}

/// One of them.
#[derive(Debug)]
pub struct ClaimedJob {
    /// The job.
    pub job: Job,
    /// What its task brought, where that was asked for.
    pub outcome: Option<Outcome>,
}

/// Jobs whose worker vanished.
#[derive(Debug)]
pub struct Rescued {
    /// The jobs, now under a lease of the rescuer's, each with the time since its old lease ran out.
    pub jobs: Vec<(Job, Duration)>,
    /// Whether there may be more.
    pub more: bool,
}

/// One answer of `claim_due`: an index, and how it is asked.
struct DueAsk<'a> {
    index: String,
    /// How long a copy takes, where the index goes by the ends of links; else it goes by due times.
    dying_within: Option<Duration>,
    with_outcome: bool,
    pace: Option<(&'a AccountName, Pace)>,
    max: usize,
}

impl Queue {
    /// Claims one job for submit: with its permit, its place at the provider and its attempt, in one step.
    ///
    /// `nonce` names the call: repeated with the same one after a lost answer, it gives the same job.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses, or a record cannot be read.
    pub async fn claim_submit(&self, ask: &SubmitAsk, nonce: &str) -> Result<SubmitClaim, QueueError> {
        let keys = self.keys();
        let now = self.now();
        let today = now.strftime("%Y-%m-%d").to_string();
        let [before, after] = days_that_hold(now);
        let region = ask.region.clone().map(PinnedTo::Region);
        let key_names = [
            keys.permits(&ask.account, &Call::Create(Some(ask.model)).name()),
            keys.slots(&ask.account, ask.model),
            keys.account(&ask.account),
            keys.turns(ask.model, Some(&PinnedTo::Account(ask.account.clone()))),
            keys.turns(ask.model, None),
            keys.leases(),
            keys.counts(),
            keys.reply(nonce),
            keys.ledger(&today),
            keys.virtual_time(ask.model),
            keys.claims(),
            keys.incarnation(),
            keys.paused(),
            keys.turns(ask.model, region.as_ref()),
            keys.ledger(&before),
            keys.ledger(&after),
            keys.waiting_batches(),
        ];
        let mut key_names = Vec::from(key_names);
        for other in ask.others() {
            key_names.push(keys.slots(&other.account, ask.model));
            key_names.push(keys.account(&other.account));
            key_names.push(keys.permits(&other.account, &Call::Create(Some(ask.model)).name()));
        }
        let (mark, incarnation) = self.memory().seen();
        let pace = Pace::of(ask.limits.create_per_second);
        let args = [
            keys.prefix().to_owned(),
            ask.account.to_string(),
            ask.model.to_string(),
            pace.step_us.to_string(),
            ask.lead.as_micros().to_string(),
            (u64::from(ask.limits.in_flight) + u64::from(ask.limits.queue_ahead)).to_string(),
            self.lease_ms(),
            ask.send_within.as_millis().to_string(),
            ask.limits.images_per_day.unwrap_or(0).to_string(),
            nonce.to_owned(),
            ask.probe_window.as_millis().to_string(),
            mark.to_string(),
            incarnation,
            // A worker whose connection died without a word notices that only when an answer is overdue.
            (self.lease() + self.link().response_timeout()).as_millis().to_string(),
            ask.share_json(),
            (ask.lead + AHEAD).as_micros().to_string(),
            QUIET.as_millis().to_string(),
            QUIET_MAX.as_millis().to_string(),
            ask.price.0.to_string(),
            in_micros(ask.budgets.per_day),
            in_micros(ask.limits.cost_per_day),
            in_micros(ask.budgets.per_batch),
        ];
        let mut reply = self.script("claim_submit", &CLAIM_SUBMIT, &key_names, &args, TimeAt::Second).await?;
        match reply.text()?.as_str() {
            word @ ("claimed" | "probe") => {
                let probe = word == "probe";
                reply.int()?;
                self.memory().note(reply.int()?, &reply.text()?);
                let send_at = Timestamp::from_microsecond(reply.int()?).unwrap_or(Timestamp::UNIX_EPOCH);
                let id = parse_id(&reply.text()?)?;
                let spec = reply.text()?;
                let job = Box::new(from_fields(id, &reply.fields()?)?);
                let spec = serde_json::from_str(&spec).map(Box::new).map_err(|error| error.to_string());
                Ok(SubmitClaim::Claimed { job, spec, send_at, probe })
            }
            "wait" => {
                reply.int()?;
                let (claims, incarnation) = (reply.int()?, reply.text()?);
                let why = WhyWait::of_word(&reply.text()?);
                if why != WhyWait::Restored {
                    self.memory().note(claims, &incarnation);
                }
                Ok(SubmitClaim::Wait { why, wait: reply.wait()? })
            }
            other => {
                let problem = format!("{other:?} is no answer of it");
                Err(QueueError::Reply { call: "claim_submit", problem })
            }
        }
    }

    /// Claims up to `max` tasks of one account that are due to be asked, each with a query permit.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses, or a record cannot be read.
    pub async fn claim_polls(
        &self,
        account: &AccountName,
        limits: &AccountLimits,
        max: usize,
        nonce: &str,
    ) -> Result<Claimed, QueueError> {
        let pace = Some((account, Pace::of(limits.queries_per_second)));
        let index = self.keys().due_poll(account);
        self.claim_due(DueAsk { index, dying_within: None, with_outcome: false, pace, max }, nonce).await
    }

    /// Claims up to `max` attempts without an answer that are due to be looked into.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses, or a record cannot be read.
    pub async fn claim_settles(&self, max: usize, nonce: &str) -> Result<Claimed, QueueError> {
        let index = self.keys().due_settle();
        self.claim_due(DueAsk { index, dying_within: None, with_outcome: false, pace: None, max }, nonce)
            .await
    }

    /// Claims up to `max` jobs whose images can be copied now, those first whose links die first.
    ///
    /// Links that die within `takes`, the time that a copy takes just now, are passed over for those that live longer: they come
    /// only when fewer than `max` of the others are there, the latest first, since the time may be wrong. As long as all copies take
    /// the same time, no other order loses fewer of the jobs that are there.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses, or a record cannot be read.
    pub async fn claim_archives(
        &self,
        max: usize,
        takes: Duration,
        nonce: &str,
    ) -> Result<Claimed, QueueError> {
        let index = self.keys().ready_archive();
        self.claim_due(
            DueAsk { index, dying_within: Some(takes), with_outcome: true, pace: None, max },
            nonce,
        )
        .await
    }

    /// Whether a job of the quarantine is due and it is this worker's turn: for `hold` it is nobody else's.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn take_quarantine_turn(&self, hold: Duration) -> Result<bool, QueueError> {
        let keys = self.keys();
        let mut due = redis::cmd("ZCOUNT");
        due.arg(keys.quarantine()).arg("-inf").arg(self.now().as_millisecond());
        if self.link().query::<u64>(&due).await? == 0 {
            return Ok(false);
        }
        let mut turn = redis::cmd("SET");
        turn.arg(keys.quarantine_turn()).arg(self.nonce()).arg("NX");
        turn.arg("PX").arg(u64::try_from(hold.as_millis()).unwrap_or(u64::MAX).max(1));
        let taken: Option<String> = self.link().query(&turn).await?;
        Ok(taken.is_some())
    }

    /// Keeps the turn that this worker has for another `hold`.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn keep_quarantine_turn(&self, hold: Duration) -> Result<(), QueueError> {
        // Should it have passed to somebody else, who is at it as well, theirs lasts longer: no harm.
        let mut turn = redis::cmd("PEXPIRE");
        turn.arg(self.keys().quarantine_turn());
        turn.arg(u64::try_from(hold.as_millis()).unwrap_or(u64::MAX).max(1));
        let _: i64 = self.link().query(&turn).await?;
        Ok(())
    }

    /// Claims one job of the quarantine that is due, without a permit for what it may ask the provider.
    ///
    /// Waits for as long as Redis is away: a claim that was granted and not heard of would be one more worker that vanished.
    ///
    /// # Errors
    ///
    /// Redis refuses, or answers nonsense.
    pub async fn claim_alone(&self) -> Result<Option<ClaimedJob>, QueueError> {
        let nonce = self.nonce();
        let ask = || DueAsk {
            index: self.keys().quarantine(),
            dying_within: None,
            with_outcome: true,
            pace: None,
            max: 1,
        };
        let claimed = self.link().persist("a claim", || self.claim_due(ask(), &nonce)).await?;
        Ok(claimed.jobs.into_iter().next())
    }

    /// How many jobs wait to be run alone.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn quarantined(&self) -> Result<u64, QueueError> {
        self.link().query(redis::cmd("ZCARD").arg(self.keys().quarantine())).await
    }

    async fn claim_due(&self, ask: DueAsk<'_>, nonce: &str) -> Result<Claimed, QueueError> {
        let keys = self.keys();
        let (permits, account, pace) = match ask.pace {
            Some((account, pace)) => {
                (keys.permits(account, &Call::Query.name()), keys.account(account), pace)
            }
            None => (ask.index.clone(), ask.index.clone(), Pace { step_us: 0, burst_us: 0 }),
        };
        let key_names = [ask.index, keys.leases(), keys.reply(nonce), permits, account];
        let args = [
            keys.prefix().to_owned(),
            ask.max.to_string(),
            if ask.dying_within.is_some() { "dying" } else { "due" }.to_owned(),
            self.lease_ms(),
            nonce.to_owned(),
            pace.step_us.to_string(),
            pace.burst_us.to_string(),
            u8::from(ask.with_outcome).to_string(),
            QUERY_PROBE_WINDOW.as_millis().to_string(),
            ask.dying_within.unwrap_or_default().as_millis().to_string(),
        ];
        let mut reply = self.script("claim_due", &CLAIM_DUE, &key_names, &args, TimeAt::First).await?;
        reply.int()?;
        let wait = reply.wait()?;
        let probe = reply.int()? == 1;
        let mut jobs = Vec::new();
        while let Some(mut item) = reply.list()? {
            let id = parse_id(&item.text()?)?;
            let outcome = item.text()?;
            let fields = item.list()?.map(Reply::fields).transpose()?.unwrap_or_default();
            match from_fields(id, &fields) {
                Ok(job) => {
                    // Without it the task is asked again: one document must not hold up its neighbours.
                    let outcome = (!outcome.is_empty()).then(|| serde_json::from_str(&outcome)).transpose();
                    let outcome = outcome.unwrap_or_else(|error| {
                        tracing::error!(job.id = %id, "The outcome of job {id} cannot be read: {error}");
                        None
                    });
                    jobs.push(ClaimedJob { job, outcome });
                }
                // One record that cannot be read must not keep its neighbours from being worked on; its lease runs out.
                Err(error) => {
                    tracing::error!(job.id = %id, error = &error as &dyn std::error::Error, "A record cannot be read")
                }
            }
        }
        Ok(Claimed { jobs, wait, probe })
    }

    /// Takes over up to `max` jobs whose lease has run out.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn rescue(&self, max: usize, nonce: &str) -> Result<Rescued, QueueError> {
        let keys = self.keys();
        let key_names = [keys.leases(), keys.reply(nonce)];
        let args = [keys.prefix().to_owned(), max.to_string(), self.lease_ms(), nonce.to_owned()];
        let mut reply = self.script("rescue", &RESCUE, &key_names, &args, TimeAt::First).await?;
        reply.int()?;
        let more = reply.int()? == 1;
        let mut jobs = Vec::new();
        while let Some(mut item) = reply.list()? {
            let id = parse_id(&item.text()?)?;
            let fields = item.list()?.map(Reply::fields).transpose()?.unwrap_or_default();
            let late = Duration::from_millis(u64::try_from(item.int()?).unwrap_or(0));
            match from_fields(id, &fields) {
                Ok(job) => jobs.push((job, late)),
                Err(error) => {
                    tracing::error!(job.id = %id, error = &error as &dyn std::error::Error, "A record cannot be read")
                }
            }
        }
        Ok(Rescued { jobs, more })
    }

    /// A number that names one call: keep it for the call's repetitions.
    pub fn nonce(&self) -> String {
        self.link().nonce()
    }

    pub(crate) async fn script(
        &self,
        call: &'static str,
        script: &redis::Script,
        keys: &[String],
        args: &[String],
        time_at: TimeAt,
    ) -> Result<Reply, QueueError> {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.link().call(call, script, &keys, &args, time_at).await
    }
}

pub(crate) fn parse_id(text: &str) -> Result<JobId, QueueError> {
    text.parse()
        .map_err(|error: job::InvalidName| QueueError::Reply { call: "a script", problem: error.to_string() })
}
