//! What stands in for the real servers where everything runs on this machine: a private Redis, an S3 store over plain files, and
//! this very binary with nothing but an environment that points it at them.
//!
//! `demo` and `bench` drive it. The simulator, which stands in for DashScope, is a crate of its own. Everything ends with its handle.

mod binary;
mod redis_child;
mod scratch;
mod store;

use std::path::Path;

pub(super) use binary::Binary;
pub(super) use redis_child::RedisChild;
pub(super) use scratch::Scratch;
pub(super) use store::{BUCKET, LocalStore, Pace};

/// What points a command at this Redis and this store.
pub(super) fn environment(redis: &RedisChild, store: &LocalStore) -> Vec<(&'static str, String)> {
    vec![
        ("IMAGEMILL_REDIS_URL", redis.url()),
        ("IMAGEMILL_S3_BUCKET", BUCKET.to_owned()),
        ("IMAGEMILL_S3_ENDPOINT", store.endpoint()),
        ("AWS_ACCESS_KEY_ID", store::ACCESS_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", store::SECRET_KEY.to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ]
}

/// The last lines of a file, as far as it can be read.
pub(super) fn end_of(file: &Path, lines_max: usize) -> Vec<String> {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(lines_max)..].iter().map(ToString::to_string).collect()
}
