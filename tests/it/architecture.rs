//! The arrows between crates, and who may name what. `crates/README.md` draws them; this holds them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which of our crates each crate may use. Arrows only point down.
const ARROWS: &[(&str, &[&str])] = &[
    ("dashscope", &[]),
    ("dashscope-sim", &[]),
    ("job", &["dashscope"]),
    ("queue", &["dashscope", "job"]),
    ("archive", &["dashscope", "job"]),
    ("worker", &["archive", "dashscope", "job", "queue"]),
    ("cli", &["archive", "dashscope", "dashscope-sim", "job", "queue", "worker"]),
];

/// Outside crates that only some of ours may name, in their manifests and in their sources.
const RESERVED: &[(&str, &[&str])] = &[
    ("redis", &["crates/queue/"]),
    ("apalis", &["crates/worker/src/stages.rs"]),
    ("apalis_core", &["crates/queue/src/claims.rs", "crates/worker/src/stages.rs"]),
    ("backoff", &["crates/job/src/curve.rs"]),
    ("aws_sdk_s3", &["crates/archive/"]),
    ("s3s", &["crates/cli/src/commands/stand_ins/"]),
];

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn manifest(name: &str) -> toml::Table {
    let path = workspace().join("crates").join(name).join("Cargo.toml");
    std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .parse()
        .unwrap()
}

fn dependencies(name: &str) -> BTreeSet<String> {
    let manifest = manifest(name);
    let table = manifest.get("dependencies").and_then(toml::Value::as_table);
    table.into_iter().flat_map(|table| table.keys().cloned()).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn arrows_between_crates_only_point_down() {
    let folders: BTreeSet<String> = std::fs::read_dir(workspace().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let drawn: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    assert_eq!(
        folders,
        drawn.keys().map(|name| (*name).to_owned()).collect(),
        "a crate without arrows, or arrows without a crate"
    );
    for (name, allowed) in drawn {
        let ours: BTreeSet<String> =
            dependencies(name).into_iter().filter(|used| folders.contains(used)).collect();
        let allowed: BTreeSet<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        assert!(ours.is_subset(&allowed), "`{name}` uses {ours:?}, and may use {allowed:?}");
    }
}

#[test]
fn job_has_no_runtime_no_io_and_no_client() {
    let used = dependencies("job");
    for forbidden in ["tokio", "reqwest", "redis", "aws-sdk-s3", "tracing", "apalis"] {
        assert!(!used.contains(forbidden), "`job` is pure and uses `{forbidden}`");
    }
    let dashscope = manifest("job")["dependencies"]["dashscope"].clone();
    assert!(dashscope.get("features").is_none(), "`job` uses `dashscope` with features: {dashscope}");
}

#[test]
fn outside_systems_are_named_only_where_they_belong() {
    let mut files = Vec::new();
    sources(&workspace().join("crates"), &mut files);
    assert!(files.len() > 50, "only {} sources were found", files.len());
    for (name, places) in RESERVED {
        for file in &files {
            let relative = file.strip_prefix(workspace()).unwrap().to_str().unwrap();
            if places.iter().any(|place| relative.starts_with(place)) {
                continue;
            }
            let text = std::fs::read_to_string(file).unwrap();
            for (number, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                assert!(!names(code, name), "{relative}:{} names `{name}`: {line}", number + 1);
            }
        }
    }
}

/// Whether a line of code uses the crate: `use name`, `name::`.
fn names(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '.')
    }) || code.trim() == format!("use {name};")
}

#[test]
fn the_check_of_names_can_fail() {
    assert!(names("use redis::Cmd;", "redis"));
    assert!(names("    let x = redis::cmd(\"GET\");", "redis"));
    assert!(!names("    settings::redis::load()", "redis"));
    assert!(!names("mod redis_server;", "redis"));
}
