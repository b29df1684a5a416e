//! Jobs that replace a catalogue item's images: what such a job knows of itself, and which items need one. Pure.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use dashscope::ImageInput;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{BatchName, InputImage, JobSpec, Timestamp};

/// The most old versions of an item's images that are kept. Source: ours; each is named in the manifest.
pub const KEEP_MAX: u8 = 100;

/// The longest manifest of an item that is read, in bytes. Source: ours; a hundred versions of twelve images are some 200 KiB.
pub const MANIFEST_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How much sooner than its age an image may count as old: a twentieth of the age, and no more than this.
///
/// Source: ours; a tick's jobs are enqueued a while after its time, and a daily tick with an age of a day must not skip every second day.
const AGE_GRACE_MAX: Duration = Duration::from_secs(3_600);

/// What a job of a batch knows if it may replace images under stable keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The folder of the stable keys: it stands where other jobs have their batch.
    pub collection: BatchName,
    /// How many old versions are kept.
    pub keep: u8,
    /// The digest of what the images depend on: [`content_digest`].
    pub content: String,
}

/// Which items of a catalogue are made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RefreshRule {
    /// Every one.
    Always,
    /// Those for which something else is asked than what the stored images were made from.
    #[default]
    IfChanged,
    /// Those too whose images are older than this.
    MaxAge(Duration),
}

/// No rule is called so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownRule {
    /// Another word.
    #[error("write `always`, `if_changed`, or `max_age=30d`")]
    Word,
    /// An age that is none.
    #[error("write the age as `max_age=30d` or `max_age=12h`")]
    Age,
}

impl FromStr for RefreshRule {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        match text {
            "always" => Ok(Self::Always),
            "if_changed" => Ok(Self::IfChanged),
            _ => match text.strip_prefix("max_age=") {
                Some(age) => Ok(Self::MaxAge(whole_age(age).ok_or(UnknownRule::Age)?)),
                None => Err(UnknownRule::Word),
            },
        }
    }
}

/// An age as one number and one unit: `30d`, `12h`, `90m`, `10s`.
fn whole_age(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" | "day" | "days" => 24 * 3_600,
        _ => return None,
    };
    Some(Duration::from_secs(number.checked_mul(unit).filter(|seconds| *seconds > 0)?))
}

impl fmt::Display for RefreshRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::IfChanged => f.write_str("if_changed"),
            Self::MaxAge(age) => {
                let seconds = age.as_secs();
                let (number, unit) = [(24 * 3_600, "d"), (3_600, "h"), (60, "m")]
                    .into_iter()
                    .find(|(unit, _)| seconds.is_multiple_of(*unit))
                    .map_or((seconds, "s"), |(unit, name)| (seconds / unit, name));
                write!(f, "max_age={number}{unit}")
            }
        }
    }
}

/// What the manifest under an item's stable keys says of the images there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Published {
    /// The job that made them.
    pub job: Option<String>,
    /// Its task that they are of.
    pub task: Option<String>,
    /// What they were made from; `None` if they were made by a job that was no refresh.
    pub content: Option<String>,
    /// When that job was enqueued.
    pub enqueued_at: Option<Timestamp>,
    /// When they were stored.
    pub stored_at: Option<Timestamp>,
    /// The versions that are kept, the current one among them, newest first.
    pub versions: Vec<Version>,
    /// The keys of the images.
    pub keys: Vec<PublishedImage>,
}

/// An image under a stable key, as its manifest names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedImage {
    /// Its place in the result.
    pub index: u8,
    /// Its key.
    pub key: String,
    /// Its sum.
    pub sha256: String,
}

/// A version of an item's images, as its manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The job that made it.
    pub job_id: String,
    /// When its images were put under the stable keys.
    pub stored_at: Timestamp,
    /// The keys of its images.
    pub keys: Vec<String>,
}

/// What stands where an item's manifest is looked for is none, and is so until a person acts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no JSON object")]
pub struct NoManifest;

impl Published {
    /// Reads the bytes that stand there. What is no manifest at all is told from one that says nothing: it may have named versions.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoManifest> {
        match serde_json::from_slice(bytes) {
            Ok(manifest @ Value::Object(_)) => Ok(Self::read(&manifest)),
            _ => Err(NoManifest),
        }
    }

    /// Reads a manifest. What it does not say, or says otherwise than we write it, is not known: it never makes anything fail.
    pub fn read(manifest: &Value) -> Self {
        let time = |name: &str| manifest["times"][name].as_str().and_then(|text| text.parse().ok());
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let image = |image: &Value| {
            Some(PublishedImage {
                index: u8::try_from(image["index"].as_u64()?).ok()?,
                key: text(&image["key"])?,
                sha256: text(&image["sha256"])?,
            })
        };
        let items = |name: &str| manifest[name].as_array().cloned().unwrap_or_default();
        Self {
            job: text(&manifest["job_id"]),
            task: text(&manifest["task_id"]),
            content: text(&manifest["content"]),
            enqueued_at: time("enqueued_at"),
            stored_at: time("stored_at"),
            versions: items("versions")
                .into_iter()
                .filter_map(|version| serde_json::from_value(version).ok())
                .collect(),
            keys: items("images").iter().filter_map(image).collect(),
        }
    }
}

impl RefreshRule {
    /// Whether an item whose images depend on `content` needs new ones at `tick`, when `published` stands under its stable keys.
    pub fn asks_for(self, content: &str, published: Option<&Published>, tick: Timestamp) -> bool {
        let Some(published) = published else { return true };
        let changed = published.content.as_deref() != Some(content);
        match self {
            Self::Always => true,
            Self::IfChanged => changed,
            // From when they were asked for, and with a grace: a night's images are a day old in the next night, however long they took.
            Self::MaxAge(age) => {
                let made = published.enqueued_at.or(published.stored_at);
                let grace = (age / 20).min(AGE_GRACE_MAX);
                let ends = made.and_then(|made| made.checked_add(age - grace).ok());
                changed || ends.is_none_or(|ends| ends <= tick)
            }
        }
    }
}

/// The digest of what a job's images depend on: its request and its input images, and not its batch, priority, place or time.
///
/// `tags` are the entity tags of the images that are objects ([`InputImage::Object`]), in their order: such an object may be written
/// anew under its name. What we stored ourselves is named by its sum; a link is its own text, since nobody looks behind it.
pub fn content_digest(spec: &JobSpec, tags: &[String]) -> String {
    let mut tags = tags.iter();
    let images: Vec<Value> = spec
        .images
        .iter()
        .map(|image| match image {
            InputImage::Direct(ImageInput::Link(link)) => Value::from(link.expose()),
            InputImage::Object { bucket, key } => {
                serde_json::json!([bucket, key, tags.next()])
            }
            other => serde_json::to_value(other).unwrap_or_default(),
        })
        .collect();
    let content = serde_json::json!({ "request": spec.request, "images": images });
    let json = serde_json::to_vec(&content).expect("plain data always serializes");
    Sha256::digest(&json).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use dashscope::ImageRequest;

    use super::*;
    use crate::{ObjectKey, Priority};

    fn spec(prompt: &str, images: Vec<InputImage>) -> JobSpec {
        JobSpec {
            batch: Some(BatchName::parse("monday").unwrap()),
            images,
            ..JobSpec::new(ImageRequest::new(crate::Model::Wan27Image, prompt))
        }
    }

    fn object() -> InputImage {
        InputImage::Object { bucket: "shop".to_owned(), key: ObjectKey::parse("shoe.png").unwrap() }
    }

    #[test]
    fn the_digest_follows_what_images_depend_on_and_nothing_else() {
        let base = spec("a shoe", vec![object()]);
        let of = |spec: &JobSpec, tag: &str| content_digest(spec, &[tag.to_owned()]);
        let elsewhere = JobSpec {
            batch: Some(BatchName::parse("tuesday").unwrap()),
            priority: Priority::try_from(1).unwrap(),
            not_before: Some(Timestamp::UNIX_EPOCH),
            ..base.clone()
        };
        assert_eq!(of(&base, "e1"), of(&elsewhere, "e1"));
        assert_ne!(of(&base, "e1"), of(&base, "e2"), "the object was written anew");
        assert_ne!(of(&base, "e1"), of(&spec("a boot", vec![object()]), "e1"));
        assert_ne!(of(&base, "e1"), of(&spec("a shoe", Vec::new()), "e1"));
        assert_eq!(of(&base, "e1").len(), 32);
    }

    /// Whoever changes this digest has every catalogue made and paid for anew at its next tick: a new field of a request must not be
    /// in it where it is not set.
    #[test]
    fn the_digest_of_a_spec_stays_what_it_is() {
        let mut request = ImageRequest::new(crate::Model::Wan27ImagePro, "a shoe");
        (request.n, request.seed, request.size) = (2, Some(7), "1024*768".parse().unwrap());
        let link = dashscope::ImageUrl::new("https://example.com/a.png".to_owned()).unwrap();
        let link = InputImage::Direct(ImageInput::Link(link));
        let full = JobSpec { images: vec![object(), link], ..JobSpec::new(request) };
        assert_eq!(content_digest(&full, &["e1".to_owned()]), "76b884b7ef52554f1c316394e9e9c104");
        assert_eq!(content_digest(&spec("a shoe", Vec::new()), &[]), "9dbbe4eb1ca186b68072cc88d8842325");
    }

    #[test]
    fn each_rule_asks_for_what_it_says() {
        let tick: Timestamp = "2026-11-26T03:00:00Z".parse().unwrap();
        let day = Duration::from_secs(24 * 3_600);
        let published = |content: &str, age: Duration| Published {
            content: Some(content.to_owned()),
            // The tick took a minute to enqueue it.
            enqueued_at: Some(tick - age + Duration::from_secs(60)),
            // It took an hour.
            stored_at: Some(tick - age + Duration::from_secs(3_600)),
            ..Published::default()
        };
        let rows = [
            (None, [true, true, true]),
            (Some(Published::default()), [true, true, true]),
            (Some(published("a", day)), [true, false, false]),
            (Some(published("a", 30 * day)), [true, false, true]),
            (Some(published("b", day)), [true, true, true]),
        ];
        for (published, expected) in rows {
            let rules = [RefreshRule::Always, RefreshRule::IfChanged, RefreshRule::MaxAge(30 * day)];
            let asked = rules.map(|rule| rule.asks_for("a", published.as_ref(), tick));
            assert_eq!(asked, expected, "{published:?}");
        }
    }

    #[test]
    fn rules_are_read_as_they_are_shown() {
        for text in ["always", "if_changed", "max_age=30d", "max_age=12h", "max_age=90m", "max_age=5s"] {
            assert_eq!(text.parse::<RefreshRule>().unwrap().to_string(), text);
        }
        assert_eq!("changed".parse::<RefreshRule>(), Err(UnknownRule::Word));
        for text in ["max_age=", "max_age=0d", "max_age=3 moons", "max_age=30"] {
            assert_eq!(text.parse::<RefreshRule>(), Err(UnknownRule::Age), "{text}");
        }
    }

    #[test]
    fn a_manifest_that_is_not_ours_says_nothing() {
        for text in ["{}", "[]", "7", r#"{"times": 3, "versions": [1, {}], "images": {"a": 1}}"#] {
            assert_eq!(Published::read(&serde_json::from_str(text).unwrap()), Published::default());
        }
    }

    #[test]
    fn what_is_no_manifest_at_all_is_told_from_one_that_says_nothing() {
        let deep = "[".repeat(100_000);
        for text in ["", "<html>", "{\"job_id\": \"x\"", "7", "[]", "null", &deep] {
            assert_eq!(Published::parse(text.as_bytes()), Err(NoManifest), "{text:.20}");
        }
        assert_eq!(Published::parse(b"{}"), Ok(Published::default()));
        assert_eq!(Published::parse(&[0xff, 0xfe]), Err(NoManifest));
    }
}
