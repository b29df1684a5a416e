//! Secrets: named in the settings, never written there.
//!
//! A setting says where a secret stands, `{ env = "NAME" }` or `{ file = "path" }`. It is read when a command needs it, so that
//! `status` works without a key. No flag takes a secret, since command lines are visible to every user of a machine.

use std::path::PathBuf;

use super::document::{Table, Value};
use super::layers::Environment;
use super::value::{Setting, Wrong, quoted};

/// Where a secret stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretSource {
    /// In an environment variable.
    Env(String),
    /// In a file, as its only line.
    File(PathBuf),
}

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    NotSet(String),
    /// The file cannot be read.
    #[error("the file {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error("the file {} is empty", .0.display())]
    Empty(PathBuf),
}

/// The largest file that is taken for a secret, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

impl SecretSource {
    /// The secret itself.
    ///
    /// # Errors
    ///
    /// [`SecretError`], without anything of the secret.
    pub(crate) fn read(&self, environment: &Environment) -> Result<String, SecretError> {
        use std::io::Read as _;
        match self {
            Self::Env(name) => match environment.get(name).map(|text| text.trim()) {
                Some(text) if !text.is_empty() => Ok(text.to_owned()),
                _ => Err(SecretError::NotSet(name.clone())),
            },
            Self::File(path) => {
                let unreadable = |source| SecretError::Unreadable { path: path.clone(), source };
                let file = std::fs::File::open(path).map_err(unreadable)?;
                let mut text = String::new();
                file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
                let text = text.trim();
                if text.is_empty() { Err(SecretError::Empty(path.clone())) } else { Ok(text.to_owned()) }
            }
        }
    }

    fn of_table(table: &Table) -> Option<Self> {
        let [entry] = &table.0[..] else { return None };
        match (entry.name.as_str(), &entry.node.value) {
            ("env", Value::Text(name)) if !name.is_empty() => Some(Self::Env(name.clone())),
            ("file", Value::Text(path)) if !path.is_empty() => Some(Self::File(path.into())),
            _ => None,
        }
    }
}

/// What is said to somebody who wrote a secret into the settings.
fn written_out() -> Wrong {
    Wrong {
        what: "holds the secret itself, and must name where it stands".to_owned(),
        hint: Some("write `{ env = \"NAME\" }` or `{ file = \"path\" }`".to_owned()),
    }
}

impl Setting for SecretSource {
    const WANTED: &'static str = "{ env = \"NAME\" } or { file = \"path\" }";

    fn from_text(_: &str) -> Result<Self, Wrong> {
        Err(written_out())
    }

    fn from_value(value: &Value) -> Result<Self, Wrong> {
        match value {
            Value::Table(table) => Self::of_table(table)
                .ok_or_else(|| Wrong::new("a table", "it must be { env = \"NAME\" } or { file = \"path\" }")),
            other => Err(Wrong::new(other.kind(), "it must be { env = \"NAME\" } or { file = \"path\" }")),
        }
    }

    fn show(&self) -> Option<String> {
        Some(match self {
            Self::Env(name) => format!("{{ env = {} }}", quoted(name)),
            Self::File(path) => format!("{{ file = {} }}", quoted(&path.to_string_lossy())),
        })
    }
}

/// One secret or several: `{ … }` or `[{ … }, { … }]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretSources(pub(crate) Vec<SecretSource>);

impl Setting for SecretSources {
    const WANTED: &'static str = SecretSource::WANTED;

    fn from_text(_: &str) -> Result<Self, Wrong> {
        Err(written_out())
    }

    fn from_value(value: &Value) -> Result<Self, Wrong> {
        match value {
            Value::List(items) if items.is_empty() => Err(Wrong::new("an empty list", "it must name a key")),
            Value::List(items) => {
                let one = |item: &super::document::Node| SecretSource::read_node(item);
                items.iter().map(one).collect::<Result<_, _>>().map(Self)
            }
            other => SecretSource::from_value(other).map(|source| Self(vec![source])),
        }
    }

    fn show(&self) -> Option<String> {
        match &self.0[..] {
            [one] => one.show(),
            many => {
                let items: Vec<String> = many.iter().filter_map(Setting::show).collect();
                Some(format!("[{}]", items.join(", ")))
            }
        }
    }
}

impl SecretSource {
    fn read_node(node: &super::document::Node) -> Result<Self, Wrong> {
        <Self as Setting>::read(super::value::Raw::Node(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::document::Document;

    fn read(toml: &str) -> Result<SecretSources, Wrong> {
        let document = Document::parse(&format!("key = {toml}"), "f").unwrap();
        SecretSources::read(super::super::value::Raw::Node(document.root.get("key").unwrap()))
    }

    #[test]
    fn a_secret_is_named_and_never_written() {
        assert_eq!(read("{ env = 'A' }").unwrap().0, [SecretSource::Env("A".into())]);
        assert_eq!(read("[{ env = 'A' }, { file = '/k' }]").unwrap().0.len(), 2);
        let wrong = read("'sk-0123456789'").unwrap_err();
        assert!(wrong.what.contains("secret itself") && !wrong.what.contains("0123"), "{wrong:?}");
        for toml in ["{}", "{ env = '' }", "{ env = 'A', file = 'b' }", "[]", "5", "{ envv = 'A' }"] {
            assert!(read(toml).is_err(), "{toml}");
        }
    }

    #[test]
    fn a_secret_comes_from_its_variable_or_its_file_without_the_line_end() {
        let environment = Environment::from([("A".to_owned(), " s3cret\n".to_owned())]);
        assert_eq!(SecretSource::Env("A".into()).read(&environment).unwrap(), "s3cret");
        let missing = SecretSource::Env("B".into()).read(&environment).unwrap_err();
        assert_eq!(missing.to_string(), "the environment variable B is not set");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "s3cret\n").unwrap();
        assert_eq!(SecretSource::File(path.clone()).read(&environment).unwrap(), "s3cret");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(SecretSource::File(path).read(&environment), Err(SecretError::Empty(_))));
    }
}
