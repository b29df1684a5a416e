//! Holds every index of the queue against the records: what the scripts moved must be what the records say.
//!
//! Written against the key table of `crates/queue/src/keys.rs`, and on purpose without the crate's own computation of places.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Context;
use queue::Queue;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

/// One record's fields.
type Record = HashMap<String, String>;

/// Every disagreement between records and indexes, as sentences; none in a sound queue that nobody writes to meanwhile.
pub async fn audit(queue: &Queue, connection: &mut MultiplexedConnection) -> anyhow::Result<Vec<String>> {
    let prefix = queue.keys().prefix().to_owned();
    let keys = scan(connection, &prefix).await?;
    let mut records: BTreeMap<String, Record> = BTreeMap::new();
    for key in &keys {
        if let Some(id) = key.strip_prefix("job:") {
            records.insert(id.to_owned(), connection.hgetall(format!("{prefix}{key}")).await?);
        }
    }
    let mut found = Found::default();
    let mut actual: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut turns: BTreeSet<(String, String)> = BTreeSet::new();
    for key in &keys {
        let kind = key.split(':').next().unwrap_or_default();
        if matches!(
            kind,
            "ready" | "delayed" | "due" | "wait" | "leases" | "held" | "slots" | "links" | "quarantine"
        ) {
            let members: Vec<String> = connection.zrange(format!("{prefix}{key}"), 0, -1).await?;
            actual.insert(key.clone(), members.into_iter().collect());
        } else if kind == "turns" {
            let lanes: Vec<String> = connection.zrange(format!("{prefix}{key}"), 0, -1).await?;
            turns.extend(lanes.into_iter().map(|lane| (key.clone(), lane)));
        }
    }
    let mut expected: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (id, record) in &records {
        for (key, member) in places(id, record, &actual)? {
            expected.entry(key).or_default().insert(member);
        }
        if !keys.contains(&format!("spec:{id}")) {
            found.push(format!("job {id} has no spec"));
        }
    }
    for key in expected.keys().chain(actual.keys()).collect::<BTreeSet<_>>() {
        let (none, should, is) = (BTreeSet::new(), expected.get(key), actual.get(key));
        let (should, is) = (should.unwrap_or(&none), is.unwrap_or(&none));
        found.extend(should.difference(is).map(|member| format!("{key} lacks {member}")));
        found.extend(
            is.difference(should).map(|member| format!("{key} has {member}, which no record accounts for")),
        );
    }
    let mut lanes: BTreeSet<(String, String)> = BTreeSet::new();
    let mut paused: BTreeSet<String> = BTreeSet::new();
    // Lanes that wait for the budgets of their batches, which are looked at.
    let mut waiting: BTreeSet<(String, String)> = BTreeSet::new();
    let looked_at: Vec<String> = connection.zrange(format!("{prefix}waits:budget"), 0, -1).await?;
    for key in &keys {
        if let Some(batch) = key.strip_prefix("lanes:") {
            let members: Vec<(String, f64)> =
                connection.zrange_withscores(format!("{prefix}{key}"), 0, -1).await?;
            for (lane, score) in members {
                if score > 0.0 && looked_at.iter().any(|name| name == batch) {
                    let (place, priority) = lane.rsplit_once(':').unwrap_or_default();
                    waiting.insert((format!("turns:{place}"), format!("{priority}:{batch}")));
                }
                lanes.insert((batch.to_owned(), lane));
            }
        } else if let Some(batch) = key.strip_prefix("batch:") {
            let flag: Option<String> = connection.hget(format!("{prefix}{key}"), "paused").await?;
            paused.extend(flag.map(|_| batch.to_owned()));
        }
    }
    let or_wait: BTreeSet<_> = turns.union(&waiting).cloned().collect();
    lanes_have_turns(&actual, &turns, &or_wait, &lanes, &paused, &mut found);
    batches(connection, &prefix, &keys, &records, &mut found).await?;
    Ok(found.0)
}

#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn push(&mut self, sentence: String) {
        self.0.push(sentence);
    }

    fn extend(&mut self, sentences: impl Iterator<Item = String>) {
        self.0.extend(sentences.take(20));
    }
}

async fn scan(connection: &mut MultiplexedConnection, prefix: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    let mut cursor = 0_u64;
    loop {
        let (next, page): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(format!("{}*", prefix.replace('[', "\\[")))
            .arg("COUNT")
            .arg(1_000)
            .query_async(connection)
            .await?;
        keys.extend(page.iter().filter_map(|key| key.strip_prefix(prefix)).map(str::to_owned));
        cursor = next;
        if cursor == 0 {
            return Ok(keys);
        }
    }
}

fn has_slot_while_held(record: &Record) -> bool {
    let flag = |field: &str| record.get(field).is_some_and(|flag| flag == "1");
    flag("us") && !flag("sf")
}

/// Where a record says that its job stands. A job that promotion may or may not have moved stands in either place.
fn places(
    id: &str,
    record: &Record,
    actual: &BTreeMap<String, BTreeSet<String>>,
) -> anyhow::Result<Vec<(String, String)>> {
    let field = |name: &str| record.get(name).with_context(|| format!("job {id} has no field {name}"));
    let stands_in = |key: &str| actual.get(key).is_some_and(|members| members.contains(id));
    let state = field("s")?.as_str();
    let mut places = Vec::new();
    let unsettled = has_slot_while_held(record);
    if matches!(state, "submitting" | "settling" | "polling") || (state == "held" && unsettled) {
        places.push((format!("slots:{}:{}", field("aa")?, field("m")?), format!("{id}:{}", field("an")?)));
    }
    if state == "archiving" {
        places.push(("links".to_owned(), id.to_owned()));
    }
    if record.get("c").is_some_and(|claimed| claimed == "1") {
        places.push(("leases".to_owned(), format!("{id}:{}", field("f")?)));
        return Ok(places);
    }
    let own = id.to_owned();
    if record.get("al").is_some_and(|alone| alone == "1") {
        places.push(("quarantine".to_owned(), own));
        return Ok(places);
    }
    match state {
        "queued" => {
            let region = record.get("g").map(|region| format!("@{region}"));
            let place = record.get("a").cloned().or(region).unwrap_or_else(|| "any".to_owned());
            let batch = record.get("b").map_or("-", String::as_str);
            let lane = format!("ready:{}:{place}:{}:{batch}", field("m")?, field("p")?);
            places.push((if stands_in("delayed") { "delayed".to_owned() } else { lane }, own));
        }
        "settling" => places.push(("due:settle".to_owned(), own)),
        "polling" => places.push((format!("due:poll:{}", field("aa")?), own)),
        "archiving" => {
            let key = if stands_in("wait:archive") { "wait:archive" } else { "ready:archive" };
            places.push((key.to_owned(), own));
        }
        "held" => places.push(("held".to_owned(), own)),
        "submitting" => anyhow::bail!("job {id} is submitting, and nobody holds it"),
        _ => {}
    }
    Ok(places)
}

/// Each lane with jobs is known among its batch's lanes, and has its turn unless the batch is paused or the lane waits for its budget. (A lane that ran empty keeps its
/// turn until it comes.)
fn lanes_have_turns(
    actual: &BTreeMap<String, BTreeSet<String>>,
    turns: &BTreeSet<(String, String)>,
    turns_or_wait: &BTreeSet<(String, String)>,
    known: &BTreeSet<(String, String)>,
    paused: &BTreeSet<String>,
    found: &mut Found,
) {
    let lanes: BTreeSet<(String, String)> = actual
        .iter()
        .filter(|(key, jobs)| key.starts_with("ready:") && *key != "ready:archive" && !jobs.is_empty())
        .filter_map(|(key, _)| {
            let mut parts = key.splitn(4, ':');
            let (_, model, account, lane) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
            Some((format!("turns:{model}:{account}"), lane.to_owned()))
        })
        .collect();
    let batch_of = |lane: &str| lane.split_once(':').map_or("", |(_, batch)| batch).to_owned();
    for (key, lane) in &lanes {
        let place = key.strip_prefix("turns:").unwrap_or_default();
        let (priority, batch) = lane.split_once(':').unwrap_or_default();
        if !known.contains(&(batch.to_owned(), format!("{place}:{priority}"))) {
            found.push(format!("lane {lane} of {key} is not among the lanes of its batch"));
        }
    }
    let (lanes, resting): (BTreeSet<_>, BTreeSet<_>) =
        lanes.into_iter().partition(|(_, lane)| !paused.contains(&batch_of(lane)));
    found.extend(
        resting
            .intersection(turns)
            .map(|(key, lane)| format!("lane {lane} is paused and has a turn in {key}")),
    );
    found.extend(
        lanes
            .difference(turns_or_wait)
            .map(|(key, lane)| format!("lane {lane} has jobs and no turn in {key}")),
    );
}

async fn batches(
    connection: &mut MultiplexedConnection,
    prefix: &str,
    keys: &BTreeSet<String>,
    records: &BTreeMap<String, Record>,
    found: &mut Found,
) -> anyhow::Result<()> {
    let mut sums: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for key in keys.iter().filter(|key| key.starts_with("account:")) {
        // Also those of which no record has anything reserved.
        let fields = ["reserved", "reserved_cost"].map(|field| (field.to_owned(), 0));
        sums.insert(key.clone(), fields.into_iter().collect());
    }
    for record in records.values() {
        let number = |field: &str| record.get(field).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        let state = record.get("s").cloned().unwrap_or_default();
        let left = i64::from(!matches!(state.as_str(), "succeeded" | "failed" | "canceled" | "expired"));
        let holds = matches!(state.as_str(), "submitting" | "settling" | "polling")
            || (state == "held" && has_slot_while_held(record));
        // An attempt that nobody could settle may have been billed, also when its place is free.
        let may_cost = holds || (state == "held" && number("us") == 1);
        let reserved_cost = if may_cost { number("ar") } else { 0 };
        let batch = record.get("b").cloned().unwrap_or_else(|| "-".to_owned());
        for sums in [sums.entry(format!("batch:{batch}")).or_default()] {
            for (field, by) in [
                (state.as_str(), 1),
                ("total", 1),
                ("left", left),
                ("expected", number("x")),
                ("billed", number("bi")),
                ("stored", number("st")),
                ("cost", number("co")),
                ("reserved_cost", reserved_cost),
                ("lost", if left == 0 { (number("bi") - number("st") - number("sb")).max(0) } else { 0 }),
            ] {
                *sums.entry(field.to_owned()).or_default() += by;
            }
        }
        let counts = sums.entry("counts".to_owned()).or_default();
        *counts.entry(state.clone()).or_default() += 1;
        *counts.entry("reserved_cost".to_owned()).or_default() += reserved_cost;
        if holds {
            let account = format!("account:{}", record.get("aa").cloned().unwrap_or_default());
            let account = sums.entry(account).or_default();
            *account.entry("reserved".to_owned()).or_default() += number("x");
        }
        if may_cost {
            let account = format!("account:{}", record.get("aa").cloned().unwrap_or_default());
            *sums.entry(account).or_default().entry("reserved_cost".to_owned()).or_default() += reserved_cost;
        }
    }
    for (key, sums) in sums {
        let is: HashMap<String, String> = connection.hgetall(format!("{prefix}{key}")).await?;
        for (field, should) in sums {
            let is = is.get(&field).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
            if is != should {
                found.push(format!("{key} counts {is} {field}, the records say {should}"));
            }
        }
    }
    Ok(())
}
