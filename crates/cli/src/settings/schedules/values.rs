//! The values that only schedules have: how each is written, and what is wrong with it.

use std::path::PathBuf;

use dashscope::{Model, Size};
use jiff::tz::TimeZone;
use job::Cron;
use url::Url;

use super::super::value::{Setting, Wrong, is_loopback, parsed, quoted};
use crate::input::template::Template;

/// An expression of cron.
#[derive(Debug, Clone)]
pub(crate) struct Expression(pub(in crate::settings) Cron);

impl Setting for Expression {
    const WANTED: &'static str = "a cron expression such as \"0 3 * * *\"";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        Cron::parse(text).map(Self).map_err(|error| Wrong {
            what: format!("{} cannot be used: {error}", quoted(text)),
            hint: Some(
                "\"0 3 * * *\" is every day at 3:00, \"30 6 * * MON-FRI\" every workday at 6:30".to_owned(),
            ),
        })
    }

    fn show(&self) -> Option<String> {
        Some(quoted(self.0.as_str()))
    }
}

/// A time zone with its name.
#[derive(Debug, Clone)]
pub(crate) struct Zone(pub(in crate::settings) String, pub(in crate::settings) TimeZone);

impl Setting for Zone {
    const WANTED: &'static str = "a time zone such as \"Europe/Berlin\"";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if let Ok(zone) = TimeZone::get(text) {
            let name = zone.iana_name().unwrap_or(text).to_owned();
            return Ok(Self(name, zone));
        }
        let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        let names: Vec<&str> = known.iter().map(String::as_str).collect();
        // Whoever writes `Berlin` means the zone that ends so.
        let ends_so =
            |name: &&&str| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(text.trim()));
        let near =
            names.iter().find(ends_so).copied().or_else(|| dashscope::request::nearest_name(text, &names));
        Err(Wrong {
            what: format!("{} is no time zone", quoted(text)),
            hint: Some(match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "zones are named as in the IANA database, such as `Europe/Berlin`".to_owned(),
            }),
        })
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

/// Where a schedule's items come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SourcePlace {
    /// A file.
    File(PathBuf),
    /// An object of the store.
    Object {
        /// The bucket.
        bucket: String,
        /// The key.
        key: job::ObjectKey,
    },
    /// A link.
    Link(Url),
}

impl Setting for SourcePlace {
    const WANTED: &'static str = "a path, s3://bucket/key, or an https link";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let refuse = |rule: &str| Err(Wrong::new(quoted(text), rule));
        let text = text.trim();
        match text.split_once("://") {
            Some(("s3", rest)) => match rest.split_once('/') {
                Some((bucket, key)) if !bucket.is_empty() => match job::ObjectKey::parse(key) {
                    Ok(key) => Ok(Self::Object { bucket: bucket.to_owned(), key }),
                    Err(error) => Err(Wrong::new(quoted(text), error)),
                },
                _ => refuse("it must have the form `s3://bucket/key`"),
            },
            Some(("http" | "https", _)) => {
                // Nobody knows which part of it is a secret.
                let Ok(link) = Url::parse(text) else {
                    return Err(Wrong::new("a text with `://`", "it is no link"));
                };
                if !link.username().is_empty() || link.password().is_some() {
                    return Err(Wrong::new("a link with a password", "no secret may stand in the settings"));
                }
                let is_safe = link.scheme() == "https" || is_loopback(&link);
                let source = Self::Link(link);
                if !is_safe {
                    let rule = "what is made and paid for must not come over plain http: write https";
                    return Err(Wrong::new(quoted(&source.to_string()), rule));
                }
                Ok(source)
            }
            Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
                refuse("sources are files, s3:// and https://")
            }
            _ if text.is_empty() => Err(Wrong::new("empty", "it must not be")),
            _ => Ok(Self::File(PathBuf::from(text))),
        }
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

impl std::fmt::Display for SourcePlace {
    /// A link without its query, which may be signed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Object { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Self::Link(link) => {
                let mut shown = link.clone();
                let had_query = link.query().is_some();
                shown.set_query(None);
                write!(f, "{shown}{}", if had_query { "?[redacted]" } else { "" })
            }
        }
    }
}

/// A template of prompts.
#[derive(Debug, Clone)]
pub(crate) struct Prompts(pub(in crate::settings) Template, String);

impl Setting for Prompts {
    const WANTED: &'static str = "a text such as \"studio photo of {name}\"";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        parsed(text).map(|template| Self(template, text.to_owned()))
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.1))
    }
}

/// A model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModelName(pub(crate) Model);

impl Setting for ModelName {
    const WANTED: &'static str = "a model";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        text.parse()
            .map(Self)
            .map_err(|_| super::super::value::no_such_choice(text, &Model::ALL.map(Model::as_str)))
    }

    fn show(&self) -> Option<String> {
        Some(quoted(self.0.as_str()))
    }
}

/// A size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SizeText(pub(crate) Size);

impl Setting for SizeText {
    const WANTED: &'static str = "a size such as \"2K\" or \"1024*1024\"";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        parsed(text).map(Self)
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.0.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_that_is_refused_shows_no_query_and_plain_http_is_for_this_machine_alone() {
        for good in
            ["http://127.0.0.1:1/a?x=1", "http://localhost/a", "http://[::1]/a", "https://shop.example/a?x=1"]
        {
            assert!(SourcePlace::from_text(good).is_ok(), "{good}");
        }
        for bad in [
            "http://shop.example/a?X-Amz-Signature=s3cret",
            "http://127.evil.example/a?token=s3cret",
            "http://127.0.0.1.evil.example/?token=s3cret",
            "https://:s3cret:/?token=s3cret",
        ] {
            let what = SourcePlace::from_text(bad).unwrap_err().what;
            assert!(!what.contains("s3cret"), "{bad}: {what}");
        }
    }
}
