//! Where an image is stored: deterministic keys from a template, never from the link's file name.

use std::fmt;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::{BatchName, CustomId, JobId, TaskId};

/// The longest key that S3 takes, in bytes of UTF-8.
///
/// Source: Amazon S3 user guide, "Naming Amazon S3 objects".
pub const OBJECT_KEY_BYTES_MAX: usize = 1024;

/// The default template for jobs of a batch that carry a `custom_id`.
pub const DEFAULT_TEMPLATE: &str = "{batch}/{custom_id}/{index}.png";

/// Everything but letters, digits, `-` and `_` is encoded, and `.` too: so the encoding is injective (`%` itself is encoded),
/// no key has an empty, `.` or `..` part, and no store or file system sees a character that it treats specially.
const KEPT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'!')
    .add(b'"')
    .add(b'#')
    .add(b'$')
    .add(b'%')
    .add(b'&')
    .add(b'\'')
    .add(b'(')
    .add(b')')
    .add(b'*')
    .add(b'+')
    .add(b',')
    .add(b'/')
    .add(b':')
    .add(b';')
    .add(b'<')
    .add(b'=')
    .add(b'>')
    .add(b'?')
    .add(b'@')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'~');

/// The key of an object in the bucket.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectKey(String);

/// Why a text cannot be an object key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Empty, or beginning or ending with a slash.
    #[error("an object key is not empty and neither begins nor ends with `/`")]
    Shape,
    /// An empty, `.` or `..` part.
    #[error("an object key has no empty, `.` or `..` part")]
    Part,
    /// A control character.
    #[error("an object key has no control character")]
    Control,
    /// Over [`OBJECT_KEY_BYTES_MAX`].
    #[error("an object key of {bytes} bytes is longer than the {OBJECT_KEY_BYTES_MAX} that S3 takes")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
}

impl ObjectKey {
    /// A checked key.
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        if text.is_empty() || text.starts_with('/') || text.ends_with('/') {
            return Err(InvalidKey::Shape);
        }
        if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(InvalidKey::Part);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidKey::Control);
        }
        if text.len() > OBJECT_KEY_BYTES_MAX {
            return Err(InvalidKey::TooLong { bytes: text.len() });
        }
        Ok(Self(text.to_owned()))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl TryFrom<String> for ObjectKey {
    type Error = InvalidKey;

    fn try_from(text: String) -> Result<Self, InvalidKey> {
        Self::parse(&text)
    }
}

impl From<ObjectKey> for String {
    fn from(key: ObjectKey) -> Self {
        key.0
    }
}

/// A template for object keys, such as `{batch}/{id}/{index}.png`.
///
/// | placeholder | becomes |
/// | --- | --- |
/// | `{batch}` | the batch, or `single` for a job without one |
/// | `{custom_id}` or `{id}` | the `custom_id`, percent-encoded; the job id where there is none, or no batch |
/// | `{job_id}` | the job id |
/// | `{index}` | the image's place in the result, from 0 |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTemplate {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Batch,
    Id,
    JobId,
    Index,
}

/// Why a template was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// A placeholder that does not exist, or a brace that is not closed.
    #[error(
        "unknown placeholder `{0}` (there are {{batch}}, {{id}}, {{custom_id}}, {{job_id}} and {{index}})"
    )]
    UnknownPlaceholder(String),
    /// Without `{index}` the images of one job would overwrite each other.
    #[error("the template must contain {{index}}, or the images of one job overwrite each other")]
    NoIndex,
    /// Without an id the images of different jobs would overwrite each other.
    #[error(
        "the template must contain {{id}}, {{custom_id}} or {{job_id}}, or jobs overwrite each other's images"
    )]
    NoId,
    /// `{id}` without `{batch}`: equal custom ids of two batches would meet.
    #[error(
        "a template with {{id}} must contain {{batch}} as well, or equal custom ids of two batches overwrite each other"
    )]
    NoBatch,
    /// Two placeholders side by side, or around text that an id may contain: two jobs could get one key.
    #[error("placeholders must be separated by `/`, or two jobs may get the same key")]
    NotSeparated,
    /// The folder must be the job's own: its manifest stands in it.
    #[error(
        "{{index}} must stand in the last part, behind the last `/`: the job's manifest stands beside its images"
    )]
    IndexNotLast,
    /// The result would not be a key.
    #[error("the template does not make an object key")]
    NotAKey(#[from] InvalidKey),
}

impl KeyTemplate {
    /// A checked template.
    pub fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let close = rest[open..].find('}').map(|at| open + at);
            let name = close.map_or(&rest[open..], |close| &rest[open..=close]);
            parts.push(match name {
                "{batch}" => Part::Batch,
                "{id}" | "{custom_id}" => Part::Id,
                "{job_id}" => Part::JobId,
                "{index}" => Part::Index,
                other => return Err(InvalidTemplate::UnknownPlaceholder(other.to_owned())),
            });
            rest = &rest[open + name.len()..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if !parts.contains(&Part::Index) {
            return Err(InvalidTemplate::NoIndex);
        }
        if !parts.contains(&Part::Id) && !parts.contains(&Part::JobId) {
            return Err(InvalidTemplate::NoId);
        }
        if parts.contains(&Part::Id) && !parts.contains(&Part::JobId) && !parts.contains(&Part::Batch) {
            return Err(InvalidTemplate::NoBatch);
        }
        if !each_segment_has_one_placeholder(&parts) {
            return Err(InvalidTemplate::NotSeparated);
        }
        let last_slash =
            parts.iter().rposition(|part| matches!(part, Part::Text(text) if text.contains('/')));
        if parts.iter().position(|part| *part == Part::Index) < last_slash {
            return Err(InvalidTemplate::IndexNotLast);
        }
        let template = Self { text: text.to_owned(), parts };
        // A template that is no key with the longest ids is refused now, not at 3 a.m. on line 40,000.
        template.key(None, None, JobId::fresh(0, 0), 0)?;
        Ok(template)
    }

    /// The key of image `index` of a job.
    pub fn key(
        &self,
        batch: Option<&BatchName>,
        custom_id: Option<&CustomId>,
        job_id: JobId,
        index: u8,
    ) -> Result<ObjectKey, InvalidKey> {
        let mut key = String::with_capacity(64);
        for part in &self.parts {
            match part {
                Part::Text(text) => key.push_str(text),
                Part::Batch => key.push_str(batch.map_or("single", BatchName::as_str)),
                Part::Id => match custom_id {
                    Some(id) if batch.is_some() => {
                        key.extend(utf8_percent_encode(id.as_str(), KEPT).flat_map(encode_dot))
                    }
                    // `~` never stands in an encoded custom id, so a job id cannot meet a custom id that looks like one.
                    None if batch.is_some() => key.push_str(&format!("~{job_id}")),
                    // Without a batch the folder is shared by everything that ever ran alone: only the job id tells them apart.
                    _ => key.push_str(&job_id.to_string()),
                },
                Part::JobId => key.push_str(&job_id.to_string()),
                Part::Index => key.push_str(&index.to_string()),
            }
        }
        ObjectKey::parse(&key)
    }

    /// The key under which a later task of the same job writes before its images replace the old ones: the stable key with
    /// the task id before its last part.
    pub fn key_of_task(stable: &ObjectKey, task: &TaskId) -> Result<ObjectKey, InvalidKey> {
        let (folder, file) = stable.as_str().rsplit_once('/').unwrap_or(("", stable.as_str()));
        let task: String = utf8_percent_encode(task.as_str(), KEPT).flat_map(encode_dot).collect();
        ObjectKey::parse(format!("{folder}/~{task}/{file}").trim_start_matches('/'))
    }

    /// The key under which a refreshed item's images are written before they are copied over the stable ones: a folder for each job,
    /// in one beside them.
    pub fn version_key(stable: &ObjectKey, job: JobId) -> Result<ObjectKey, InvalidKey> {
        let (folder, file) = stable.as_str().rsplit_once('/').unwrap_or(("", stable.as_str()));
        ObjectKey::parse(format!("{folder}/versions/{job}/{file}").trim_start_matches('/'))
    }

    /// The stable key that a key of a job's version is a copy of, if it is one: the reverse of [`Self::version_key`].
    pub fn stable_key(version: &ObjectKey, job: JobId) -> Option<ObjectKey> {
        let (folder, file) = version.as_str().rsplit_once('/')?;
        let folder = folder.strip_suffix(&format!("versions/{job}"))?;
        if !(folder.is_empty() || folder.ends_with('/')) {
            return None;
        }
        ObjectKey::parse(&format!("{folder}{file}")).ok()
    }

    /// Whether two jobs of one `custom_id` have the same keys, where they have the same batch: what a refresh replaces.
    pub fn is_stable(&self) -> bool {
        self.parts.contains(&Part::Id) && !self.parts.contains(&Part::JobId)
    }

    /// The key of the manifest beside image 0 of a job.
    pub fn manifest_key(image_0: &ObjectKey) -> Result<ObjectKey, InvalidKey> {
        match image_0.as_str().rsplit_once('/') {
            Some((folder, _)) => ObjectKey::parse(&format!("{folder}/manifest.json")),
            None => ObjectKey::parse(&format!("{image_0}.manifest.json")),
        }
    }

    /// The key of the manifest of a whole batch: in the batch's own folder, where the template has one; else beside the folders of its
    /// jobs, with the batch in its name.
    pub fn batch_manifest_key(&self, batch: &BatchName) -> Result<ObjectKey, InvalidKey> {
        let mut folder = String::new();
        let mut parts = self.parts.iter();
        for part in parts.by_ref() {
            match part {
                Part::Text(text) => folder.push_str(text),
                Part::Batch => {
                    folder.push_str(batch.as_str());
                    // What else stands in the name of the folder.
                    if let Some(Part::Text(text)) = parts.next() {
                        folder.push_str(text.split('/').next().unwrap_or_default());
                    }
                    return ObjectKey::parse(&format!("{folder}/manifest.jsonl"));
                }
                Part::Id | Part::JobId | Part::Index => break,
            }
        }
        let folder = folder.rfind('/').map_or("", |slash| &folder[..=slash]);
        ObjectKey::parse(&format!("{folder}{batch}.manifest.jsonl"))
    }

    /// The name of a folder of its own for each job of a batch, as the default template has it: for files beside the bucket. A name that
    /// is too long for a file system is the job id's.
    /// Where the file system does not tell capitals from small letters (`one_case`), capitals are encoded as well, so that two names never meet.
    pub fn folder_name(custom_id: Option<&CustomId>, job_id: JobId, one_case: bool) -> String {
        /// The longest name of a file on the usual file systems, in bytes. Source: `NAME_MAX` of Linux.
        const NAME_BYTES_MAX: usize = 255;
        let encoded = custom_id.map(|id| {
            let mut name = String::with_capacity(id.as_str().len());
            let mut letter = [0; 4];
            for c in id.as_str().chars() {
                if one_case && c.is_ascii_uppercase() {
                    name.push_str(&format!("%{:02X}", u32::from(c)));
                } else {
                    let letter: &str = c.encode_utf8(&mut letter);
                    name.extend(utf8_percent_encode(letter, KEPT).flat_map(encode_dot));
                }
            }
            name
        });
        encoded.filter(|name| name.len() <= NAME_BYTES_MAX).unwrap_or_else(|| format!("~{job_id}"))
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Default for KeyTemplate {
    fn default() -> Self {
        Self::parse(DEFAULT_TEMPLATE).expect("the default template is checked by a test")
    }
}

/// `.` is kept inside names such as `shoe.v2`? No: it is encoded, since `custom_id` may be `..`.
fn encode_dot(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('.').flat_map(|piece| match piece.strip_suffix('.') {
        Some(before) => [before, "%2E"],
        None => [piece, ""],
    })
}

/// At most one placeholder between two slashes: then every placeholder's value can be read back from the key, so that two
/// different jobs never get the same one. (Values contain no slash: they are encoded.)
fn each_segment_has_one_placeholder(parts: &[Part]) -> bool {
    let mut placeholders = 0;
    for part in parts {
        match part {
            Part::Text(text) if text.contains('/') => placeholders = 0,
            Part::Text(_) => {}
            _ if placeholders > 0 => return false,
            _ => placeholders += 1,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(batch: Option<&str>, custom_id: Option<&str>, index: u8) -> String {
        let batch = batch.map(|text| BatchName::parse(text).unwrap());
        let custom_id = custom_id.map(|text| CustomId::parse(text).unwrap());
        KeyTemplate::default()
            .key(batch.as_ref(), custom_id.as_ref(), JobId::fresh(0, 7), index)
            .unwrap()
            .to_string()
    }

    #[test]
    fn keys_follow_batch_custom_id_and_index() {
        assert_eq!(key(Some("spring"), Some("sku-1042"), 0), "spring/sku-1042/0.png");
        assert_eq!(key(None, None, 3), "single/00000000000000000000000007/3.png");
        assert_eq!(key(Some("b"), Some("../../etc"), 0), "b/%2E%2E%2F%2E%2E%2Fetc/0.png");
        assert_eq!(key(Some("b"), Some("鞋"), 0), "b/%E9%9E%8B/0.png");
    }

    #[test]
    fn a_template_that_could_mix_up_images_is_refused() {
        use InvalidTemplate::*;
        let refused = |text: &str| KeyTemplate::parse(text).unwrap_err();
        assert_eq!(refused("{batch}/{id}.png"), NoIndex);
        assert_eq!(refused("{batch}/{index}.png"), NoId);
        assert_eq!(refused("{id}/{index}.png"), NoBatch);
        assert_eq!(refused("{batch}-{id}/{index}.png"), NotSeparated);
        assert_eq!(refused("{batch}/{index}/{id}.png"), IndexNotLast);
        assert_eq!(refused("{job_id}/{index}/image.png"), IndexNotLast);
        assert_eq!(refused("{batch}/{id}/{sku}-{index}"), UnknownPlaceholder("{sku}".into()));
        assert_eq!(refused("{batch}/{id}/{index"), UnknownPlaceholder("{index".into()));
        assert_eq!(refused("/{job_id}/{index}"), NotAKey(InvalidKey::Shape));
        assert_eq!(refused("a/../{job_id}/{index}"), NotAKey(InvalidKey::Part));
        assert!(KeyTemplate::parse("out/{job_id}/img-{index}.png").is_ok());
    }

    #[test]
    fn a_later_task_and_the_manifest_get_keys_of_their_own() {
        let stable = ObjectKey::parse("b/sku/0.png").unwrap();
        let task = "t-1".parse::<TaskId>().unwrap();
        assert_eq!(KeyTemplate::key_of_task(&stable, &task).unwrap().as_str(), "b/sku/~t-1/0.png");
        let version = KeyTemplate::version_key(&stable, JobId::fresh(0, 7)).unwrap();
        assert_eq!(version.as_str(), "b/sku/versions/00000000000000000000000007/0.png");
        assert_eq!(KeyTemplate::stable_key(&version, JobId::fresh(0, 7)), Some(stable.clone()));
        assert_eq!(KeyTemplate::stable_key(&version, JobId::fresh(0, 8)), None);
        assert_eq!(KeyTemplate::stable_key(&stable, JobId::fresh(0, 7)), None);
        let neighbour = ObjectKey::parse(&version.as_str().replace("/versions/", "versions/")).unwrap();
        assert_eq!(KeyTemplate::stable_key(&neighbour, JobId::fresh(0, 7)), None, "{neighbour}");
        assert_eq!(KeyTemplate::manifest_key(&stable).unwrap().as_str(), "b/sku/manifest.json");
    }

    proptest! {
        #[test]
        fn two_custom_ids_never_share_a_key(a in "[ -~é鞋]{1,20}", b in "[ -~é鞋]{1,20}") {
            prop_assume!(a != b);
            prop_assert_ne!(key(Some("b"), Some(&a), 0), key(Some("b"), Some(&b), 0));
        }

        #[test]
        fn a_custom_id_stays_inside_its_folder(id in "[./\\\\%~ a-z]{1,20}") {
            let key = key(Some("b"), Some(&id), 0);
            prop_assert_eq!(key.split('/').count(), 3, "{}", key);
        }
    }

    #[test]
    fn the_manifest_of_a_batch_stands_in_its_folder_and_meets_no_image() {
        let batch = BatchName::parse("spring.v2").unwrap();
        let key = |template: &str| {
            KeyTemplate::parse(template).unwrap().batch_manifest_key(&batch).unwrap().to_string()
        };
        assert_eq!(key(DEFAULT_TEMPLATE), "spring.v2/manifest.jsonl");
        assert_eq!(key("shop/img-{batch}-x/{id}/{index}.png"), "shop/img-spring.v2-x/manifest.jsonl");
        assert_eq!(key("{job_id}/{index}.png"), "spring.v2.manifest.jsonl");
        assert_eq!(key("shop/a-{job_id}/{batch}/{index}.png"), "shop/spring.v2.manifest.jsonl");
        // A job of that name has its dots encoded.
        let custom_id = CustomId::parse("manifest.jsonl").unwrap();
        let image =
            KeyTemplate::default().key(Some(&batch), Some(&custom_id), JobId::fresh(1, 2), 0).unwrap();
        assert!(!image.as_str().starts_with("spring.v2/manifest.jsonl"), "{image}");
    }

    #[test]
    fn a_folder_of_a_job_has_a_name_that_every_file_system_takes() {
        let of = |text: &str, one_case| {
            KeyTemplate::folder_name(Some(&CustomId::parse(text).unwrap()), JobId::fresh(1, 2), one_case)
        };
        assert_eq!(of("../a b", false), "%2E%2E%2Fa%20b");
        let own = KeyTemplate::folder_name(None, JobId::fresh(1, 2), true);
        assert_eq!(of(&"é".repeat(100), false), own, "a name that is too long is the job's");
        assert!(own.starts_with('~'));
        assert_eq!(of("SKU-1", false), "SKU-1");
        // Where capitals are not told from small letters, names that differ by them alone still differ.
        let names = ["SKU-1", "sku-1", "Sku-1", "%53KU-1"].map(|text| of(text, true).to_lowercase());
        assert_eq!(std::collections::BTreeSet::from(names).len(), 4);
    }
}
