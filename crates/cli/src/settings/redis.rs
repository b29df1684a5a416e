//! `[redis]`: where the queue lives.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::layers::section;
use super::value::{Setting, Span, Whole, Wrong, quoted};

section! {
    /// The queue: one Redis, with AOF on and `maxmemory-policy noeviction`.
    RedisSection {
        /// Where it is: `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS.
        url: RedisUrl = RedisUrl(queue::RedisSettings::default().url);
        /// What all keys begin with. One account belongs to one namespace.
        namespace: Namespace = Namespace(queue::RedisSettings::default().namespace);
        /// How long an answer may take. A busy disk under `appendfsync always` is no outage.
        response_timeout: Span<100> = Span(queue::RedisSettings::default().response_timeout);
        /// How long a claim lasts without renewal: jobs of a worker that vanished move on after it.
        lease: Span<500> = Span(queue::RedisSettings::default().lease);
        /// How many replicas must have a claim before its create is sent; else it is given back, unsent.
        replicas: Whole<0, 100> = Whole(u64::from(queue::RedisSettings::default().replicas));
        /// How long these replicas are waited for: well below `worker.send_within`.
        replica_wait: Span<10> = Span(queue::RedisSettings::default().replica_wait);
        /// A CA in PEM for rediss://, where the system's are not to be used.
        ca_file: Option<PathBuf> = None, example "/etc/ssl/redis-ca.pem";
    }
}

impl RedisSection {
    /// For the queue.
    pub(crate) fn settings(&self) -> queue::RedisSettings {
        queue::RedisSettings {
            url: self.url.value.0.clone(),
            namespace: self.namespace.value.0.clone(),
            response_timeout: self.response_timeout.value.0,
            lease: self.lease.value.0,
            replicas: self.replicas.value.small(),
            replica_wait: self.replica_wait.value.0,
            ca_file: self.ca_file.value.clone(),
        }
    }

    /// How often a lease can be renewed at most seldom.
    pub(crate) fn lease(&self) -> Duration {
        self.lease.value.0
    }
}

/// A Redis URL. It may hold a password, and is shown without.
#[derive(Clone)]
pub(crate) struct RedisUrl(String);

impl RedisUrl {
    /// The URL without user and password.
    pub(crate) fn masked(&self) -> String {
        mask(&self.0)
    }
}

fn mask(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else { return "[redacted]".to_owned() };
    let secret = url.password().is_some() || !url.username().is_empty();
    if secret {
        // Neither fails for a URL with a host, and without one there is nothing to hide.
        let _ = url.set_password(url.password().map(|_| "redacted").map(str::to_owned).as_deref());
    }
    url.set_query(None);
    url.to_string()
}

impl std::fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.masked())
    }
}

impl Setting for RedisUrl {
    const WANTED: &'static str = "a URL such as \"redis://127.0.0.1:6379\"";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let rule = "it must look like `redis://host:6379` or `rediss://host:6379`";
        match Url::parse(text) {
            Ok(url) if matches!(url.scheme(), "redis" | "rediss") && url.has_host() => {
                Ok(Self(text.to_owned()))
            }
            Ok(url) if url.has_host() => Err(Wrong::new(format_args!("a `{}` address", url.scheme()), rule)),
            // It may hold a password in an odd place: nothing of it is repeated.
            _ => Err(Wrong::new("not a URL", rule)),
        }
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.masked()))
    }
}

/// What all keys begin with.
#[derive(Debug, Clone)]
pub(crate) struct Namespace(pub(crate) String);

impl Setting for Namespace {
    const WANTED: &'static str = "a text";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if (1..=32).contains(&text.len()) && text.chars().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Wrong::new("unusable", "it must be 1 to 32 letters, digits, `-`, `_` or `.`"))
        }
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for url in ["redis://:s3cret@h:6379/1", "rediss://user:s3cret@h", "redis://h?password=s3cret"] {
            let url = RedisUrl::from_text(url).unwrap();
            let shown = format!("{:?} {}", url, url.show().unwrap());
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        let wrong = RedisUrl::from_text("reds://user:s3cret@h").unwrap_err();
        assert!(!wrong.what.contains("s3cret"), "{wrong:?}");
        assert_eq!(RedisUrl::from_text("redis://h:1/2").unwrap().show().unwrap(), "\"redis://h:1/2\"");
    }

    #[test]
    fn what_is_no_redis_url_is_refused() {
        for text in ["", "127.0.0.1:6379", "http://h", "redis://"] {
            assert!(RedisUrl::from_text(text).is_err(), "{text:?}");
        }
    }
}
