//! The slow sweep: every record is held against the indexes, and what is lost there is rebuilt from the record.
//!
//! The scripts keep records and indexes in step; this is for what no script can help: a part of the data that was lost or edited
//! by hand, a bug. Owns the turn of the sweep and how fast it goes. It never changes a record, and leaves a job alone that moved
//! between the look and the repair. Driven by `worker::sweep`.

use std::collections::BTreeMap;
use std::time::Duration;

use job::{AccountName, Job, JobId, JobState, Model, Timestamp};
use serde::Serialize;
use tracing::{error, warn};

use crate::Queue;
use crate::claim::parse_id;
use crate::error::QueueError;
use crate::keys::Keys;
use crate::link::TimeAt;
use crate::places::{Place, lease_member, places};
use crate::record::{Fields, from_fields};
use crate::scripts::REPAIR;

/// How many keys one step walks over: a few hundred records, since a job has three or four keys.
///
/// Source: ours; the SCAN of so many keys and the look at their records take Redis about 3 ms together.
const STEP_KEYS: u64 = 1_000;

/// How many jobs one call of the script looks at. Source: ours; a millisecond or two in which Redis does nothing else.
const CALL_JOBS: usize = 250;

/// How many members of a set of slots one step reads.
const STEP_SLOTS: usize = 500;

/// The shortest pause between two steps, however many keys there are. Source: ours; it keeps the share of Redis's time under a tenth.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// What one step of the sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sweep {
    /// Whether it was this caller's turn.
    pub ours: bool,
    /// How long until the next step.
    pub pause: Duration,
    /// How many records were held against the indexes.
    pub looked_at: usize,
    /// What was put right.
    pub repaired: Vec<Repair>,
}

/// An index entry that was put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// The job.
    pub job: JobId,
    /// What was lost (`lease`, `slot`, `ready`, …), or was too many (`extra_slot`, …).
    pub kind: String,
}

/// A job as the script looks at it.
#[derive(Serialize)]
struct Look {
    id: String,
    version: String,
    want: Vec<(&'static str, Vec<Entry>)>,
    ban: Vec<(String, usize, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<LaneTurn>,
}

/// Keys of the lane, of its turns, of the batch, of the virtual time; lane, place; key of the batch's lanes, and the lane's name there.
type LaneTurn = (usize, usize, usize, usize, String, String, usize, String);

/// Key, score, member, and the ms from which it is the right one.
type Entry = (usize, String, String, String);

/// The keys of one call, and the jobs that it looks at.
struct Looks<'a> {
    keys: &'a Keys,
    index_keys: Vec<String>,
    jobs: Vec<Look>,
}

/// Keys of the script that come before the index keys: the counter.
const FIRST_INDEX_KEY: usize = 2;

/// The score of a lease, which only Redis's clock gives.
const LEASE: &str = "lease";

impl<'a> Looks<'a> {
    fn new(keys: &'a Keys) -> Self {
        Self { keys, index_keys: Vec::new(), jobs: Vec::new() }
    }

    fn key(&mut self, key: String) -> usize {
        let at = self.index_keys.iter().position(|known| *known == key).unwrap_or_else(|| {
            self.index_keys.push(key);
            self.index_keys.len() - 1
        });
        at + FIRST_INDEX_KEY
    }

    /// Everything that must be in the indexes for this record, and what must not be there.
    fn add(&mut self, job: &Job) {
        let keys = self.keys;
        let mut look = Look {
            id: job.id.to_string(),
            version: job.version.to_string(),
            want: Vec::new(),
            ban: Vec::new(),
            turn: None,
        };
        let mut wanted: Vec<(String, String)> = Vec::new();
        let mut want =
            |looks: &mut Self, look: &mut Look, kind, entries: Vec<(String, String, String, i64)>| {
                let entries = entries.into_iter().map(|(key, score, member, from)| {
                    wanted.push((key.clone(), member.clone()));
                    (looks.key(key), score, member, from.to_string())
                });
                look.want.push((kind, entries.collect()));
            };
        let id = job.id.to_string();
        want(
            self,
            &mut look,
            "member",
            vec![(keys.members(job.batch.as_ref()), job.seq.to_string(), id.clone(), 0)],
        );
        if job.batch.is_none() && job.state_name().is_final() {
            let at = ended_at(&job.state).unwrap_or(job.enqueued_at);
            want(self, &mut look, "final", vec![(keys.ended(), ms(at), format!("job:{id}"), 0)]);
        }
        if job.claimed {
            want(self, &mut look, "lease", vec![(keys.leases(), LEASE.to_owned(), lease_member(job), 0)]);
        }
        // Where it stands if its time has come, and before: promotion moves it by Redis's clock, without touching its record.
        let (now, before) = (places(keys, job, Timestamp::MAX), places(keys, job, Timestamp::MIN));
        for place in now {
            match place {
                Place::Lane { ready, turns, batch, virtual_time, lane, place, seq, lanes, name } => {
                    let due = job.state.due().unwrap_or(Timestamp::UNIX_EPOCH);
                    want(
                        self,
                        &mut look,
                        "ready",
                        vec![
                            (ready.clone(), seq.to_string(), id.clone(), due.as_millisecond()),
                            (keys.delayed(), ms(due), id.clone(), 0),
                        ],
                    );
                    look.turn = Some((
                        self.key(ready),
                        self.key(turns),
                        self.key(batch),
                        self.key(virtual_time),
                        lane,
                        place,
                        self.key(lanes),
                        name,
                    ));
                }
                Place::Sorted { key, member, score } => {
                    let other = before.iter().find_map(|place| match place {
                        Place::Sorted { key: other, score, .. }
                            if *other == keys.wait_archive() && key == keys.ready_archive() =>
                        {
                            Some((other.clone(), *score))
                        }
                        _ => None,
                    });
                    let kind = kind_of(keys, &key);
                    let entries = match other {
                        None => vec![(key, score.to_string(), member, 0)],
                        Some((wait, due)) => vec![
                            (key, score.to_string(), member.clone(), due),
                            (wait, due.to_string(), member, 0),
                        ],
                    };
                    want(self, &mut look, kind, entries);
                }
            }
        }
        for (key, member) in possible_entries(keys, job) {
            if !wanted.contains(&(key.clone(), member.clone())) {
                let kind = format!("extra_{}", kind_of(keys, &key));
                let key = self.key(key);
                look.ban.push((kind, key, member));
            }
        }
        self.jobs.push(look);
    }

    /// An entry of a set of slots that the record of its job, as it was read, does not account for.
    fn ban_slot(&mut self, id: &str, version: Option<u64>, key: String, member: &str) {
        let key = self.key(key);
        self.jobs.push(Look {
            id: id.to_owned(),
            version: version.map_or_else(String::new, |version| version.to_string()),
            want: Vec::new(),
            ban: vec![("extra_slot".to_owned(), key, member.to_owned())],
            turn: None,
        });
    }
}

fn ms(time: Timestamp) -> String {
    time.as_millisecond().to_string()
}

fn ended_at(state: &JobState) -> Option<Timestamp> {
    match state {
        JobState::Succeeded { at, .. }
        | JobState::Failed { at, .. }
        | JobState::Canceled { at, .. }
        | JobState::Expired { at, .. } => Some(*at),
        _ => None,
    }
}

/// What an index is called in counts and logs.
fn kind_of(keys: &Keys, key: &str) -> &'static str {
    let rest = key.strip_prefix(keys.prefix()).unwrap_or(key);
    let is_copy = rest == "ready:archive" || rest == "wait:archive";
    match rest.split(':').next().unwrap_or_default() {
        _ if is_copy => "copy",
        "slots" => "slot",
        "leases" => "lease",
        "delayed" | "ready" => "ready",
        "due" => "due",
        "quarantine" => "quarantine",
        "links" => "links",
        "held" => "held",
        _ => "entry",
    }
}

/// Every entry that a job of this record may have left behind in another state.
fn possible_entries(keys: &Keys, job: &Job) -> Vec<(String, String)> {
    let id = job.id.to_string();
    let lane = crate::keys::lane_member(job.priority, job.batch.as_ref());
    let mut entries: Vec<(String, String)> = [
        keys.delayed(),
        keys.ready(job.model, job.pinned_to.as_ref(), &lane),
        keys.due_settle(),
        keys.wait_archive(),
        keys.ready_archive(),
        keys.quarantine(),
        keys.links(),
        keys.held(),
    ]
    .into_iter()
    .map(|key| (key, id.clone()))
    .collect();
    entries.push((keys.leases(), lease_member(job)));
    if let Some(attempt) = job.state.attempt() {
        entries.push((keys.due_poll(&attempt.account), id.clone()));
        entries.push((keys.slots(&attempt.account, job.model), format!("{id}:{}", attempt.number)));
    }
    entries
}

/// How long to wait between two steps, so that one pass over `keys` takes about `every`. Pure.
fn pause(every: Duration, keys: u64) -> Duration {
    let steps = keys.div_ceil(STEP_KEYS).max(1);
    (every / u32::try_from(steps).unwrap_or(u32::MAX)).max(PAUSE_MIN)
}

impl Queue {
    /// One step of the sweep, if it is this caller's turn: some hundred records are held against the indexes.
    ///
    /// A whole pass takes about `every`, whoever takes its steps: where it stands is kept in Redis. At its beginning the places at the
    /// provider of `accounts` are held against the records as well, and sums of what is reserved are put right where nothing can be.
    ///
    /// # Errors
    ///
    /// Redis is away or refuses.
    pub async fn sweep(&self, accounts: &[AccountName], every: Duration) -> Result<Sweep, QueueError> {
        let keys = self.keys();
        let size: u64 = self.link().query(&redis::cmd("DBSIZE")).await?;
        let pause = pause(every, size);
        let mut turn = redis::cmd("SET");
        turn.arg(keys.sweep_turn()).arg(self.nonce()).arg("NX");
        turn.arg("PX").arg(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).max(1));
        let taken: Option<String> = self.link().query(&turn).await?;
        if taken.is_none() {
            return Ok(Sweep { pause, ..Sweep::default() });
        }
        let cursor: Option<String> = self.link().query(redis::cmd("GET").arg(keys.sweep_cursor())).await?;
        let cursor = cursor.unwrap_or_else(|| "0".to_owned());
        let mut sweep = Sweep { ours: true, pause, ..Sweep::default() };
        if cursor == "0" {
            self.heal_reserved(accounts).await?;
            for account in accounts {
                for model in Model::ALL {
                    sweep.repaired.extend(self.sweep_slots(account, model).await?);
                }
            }
        }
        let records = format!("{}job:", keys.prefix());
        let mut scan = redis::cmd("SCAN");
        scan.arg(&cursor).arg("MATCH").arg(format!("{records}*")).arg("COUNT").arg(STEP_KEYS);
        let (next, found): (String, Vec<String>) = self.link().query(&scan).await?;
        let ids: Vec<JobId> =
            found.iter().filter_map(|key| parse_id(key.strip_prefix(&records)?).ok()).collect();
        sweep.looked_at = ids.len();
        for ids in ids.chunks(CALL_JOBS) {
            match self.sweep_jobs(ids).await {
                Err(problem) if !problem.is_retryable() => {
                    // Something of the wrong type, perhaps: whose it is shows only one by one, and the others are seen to.
                    for id in ids {
                        match self.sweep_jobs(&[*id]).await {
                            Err(problem) if !problem.is_retryable() => {
                                let problem = &problem as &dyn std::error::Error;
                                warn!(job.id = %id, error = problem, "Job {id} could not be held against the indexes");
                            }
                            swept => sweep.repaired.extend(swept?),
                        }
                    }
                }
                swept => sweep.repaired.extend(swept?),
            }
        }
        // Only now: a step that failed is taken again.
        let () = self.link().query(redis::cmd("SET").arg(keys.sweep_cursor()).arg(next)).await?;
        Ok(sweep)
    }

    async fn sweep_jobs(&self, ids: &[JobId]) -> Result<Vec<Repair>, QueueError> {
        let mut looks = Looks::new(self.keys());
        for job in self.readable(ids).await?.values() {
            looks.add(job);
        }
        self.repair(looks).await
    }

    /// What the sweep has put right since the beginning, by kind; in normal runs nothing.
    ///
    /// # Errors
    ///
    /// Redis is away.
    pub async fn repairs(&self) -> Result<BTreeMap<String, u64>, QueueError> {
        self.link().query(redis::cmd("HGETALL").arg(self.keys().repairs())).await
    }

    async fn sweep_slots(&self, account: &AccountName, model: Model) -> Result<Vec<Repair>, QueueError> {
        let keys = self.keys();
        let key = keys.slots(account, model);
        let (mut repaired, mut from) = (Vec::new(), 0);
        loop {
            let mut range = redis::cmd("ZRANGE");
            range.arg(&key).arg(from).arg(from + STEP_SLOTS - 1);
            let members: Vec<String> = self.link().query(&range).await?;
            let of = |member: &str| parse_id(member.split_once(':')?.0).ok();
            let ids: Vec<JobId> = members.iter().filter_map(|member| of(member)).collect();
            let jobs = self.records_with_versions(&ids).await?;
            let mut looks = Looks::new(keys);
            for member in &members {
                let Some(id) = of(member) else { continue };
                let (version, job) = match jobs.get(&id) {
                    None => (None, None),
                    Some(None) => continue,
                    Some(Some(job)) => (Some(job.version), Some(job)),
                };
                let accounted_for = job.is_some_and(|job| {
                    job.state.slot().is_some_and(|attempt| {
                        format!("{id}:{}", attempt.number) == *member
                            && keys.slots(&attempt.account, job.model) == key
                    })
                });
                if !accounted_for {
                    looks.ban_slot(&id.to_string(), version, key.clone(), member);
                }
            }
            let gone = self.repair(looks).await?;
            if members.len() < STEP_SLOTS {
                repaired.extend(gone);
                return Ok(repaired);
            }
            from += STEP_SLOTS - gone.len();
            repaired.extend(gone);
        }
    }

    /// Records by id: those that this version cannot read as `None`, those that are gone not at all.
    async fn records_with_versions(&self, ids: &[JobId]) -> Result<BTreeMap<JobId, Option<Job>>, QueueError> {
        if ids.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut pipeline = redis::pipe();
        for id in ids {
            pipeline.hgetall(self.keys().job(*id));
        }
        let found: Vec<Fields> = self.link().pipeline(&pipeline).await?;
        let mut records = BTreeMap::new();
        for (id, fields) in ids.iter().zip(found).filter(|(_, fields)| !fields.is_empty()) {
            let job = from_fields(*id, &fields).inspect_err(|problem| {
                error!(job.id = %id, error = problem as &dyn std::error::Error, "A record cannot be read");
            });
            records.insert(*id, job.ok());
        }
        Ok(records)
    }

    async fn readable(&self, ids: &[JobId]) -> Result<BTreeMap<JobId, Job>, QueueError> {
        let records = self.records_with_versions(ids).await?;
        Ok(records.into_iter().filter_map(|(id, job)| Some((id, job?))).collect())
    }

    async fn repair(&self, looks: Looks<'_>) -> Result<Vec<Repair>, QueueError> {
        if looks.jobs.is_empty() {
            return Ok(Vec::new());
        }
        let json = serde_json::to_string(&looks.jobs).expect("looks are plain data and always serialize");
        let mut keys = vec![self.keys().repairs()];
        keys.extend(looks.index_keys);
        let args = [self.keys().prefix().to_owned(), self.lease_ms(), json];
        let mut reply = self.script("repair", &REPAIR, &keys, &args, TimeAt::First).await?;
        reply.int()?;
        let mut repaired = Vec::new();
        while let Some(mut item) = reply.list()? {
            repaired.push(Repair { job: parse_id(&item.text()?)?, kind: item.text()? });
        }
        Ok(repaired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_takes_about_as_long_as_it_is_told() {
        let hour = Duration::from_secs(3600);
        assert_eq!(pause(hour, 0), hour);
        assert_eq!(pause(hour, 900), hour);
        // A million jobs: 3.6 million keys.
        assert_eq!(pause(hour, 3_600_000), Duration::from_secs(1));
        assert_eq!(pause(Duration::from_secs(1), 3_600_000), PAUSE_MIN);
    }
}
