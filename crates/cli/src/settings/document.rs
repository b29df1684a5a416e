//! The settings file as a tree in which every key and value knows its line and column. Pure.
//!
//! Only the syntax is judged here; names and values are for [`super::layers`].

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problem};

/// A settings file that was read.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// The file as the user named it.
    pub(crate) file: String,
    /// Its top level.
    pub(crate) root: Table,
}

/// A table: its keys in the order of the file.
#[derive(Debug, Default)]
pub(crate) struct Table(pub(crate) Vec<Entry>);

/// A key and what it is set to.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) name: String,
    /// Where the key stands.
    pub(crate) at: Position,
    /// The value.
    pub(crate) node: Node,
}

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where the value begins.
    pub(crate) at: Position,
    /// The value.
    pub(crate) value: Value,
}

/// A value of TOML.
#[derive(Debug)]
pub(crate) enum Value {
    /// A string.
    Text(String),
    /// An integer that fits.
    Whole(i64),
    /// Any other number.
    Number(f64),
    /// A boolean.
    Flag(bool),
    /// An array, also of tables.
    List(Vec<Node>),
    /// A table.
    Table(Table),
    /// A date or time, which no setting is.
    Date,
}

/// A place in the file, both from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Position {
    /// The line.
    pub(crate) line: usize,
    /// The column.
    pub(crate) column: usize,
}

impl Table {
    /// The value of a key.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.0.iter().find(|entry| entry.name == name).map(|entry| &entry.node)
    }
}

impl Value {
    /// What kind of value it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Whole(_) | Self::Number(_) => "a number",
            Self::Flag(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
            Self::Date => "a date",
        }
    }
}

impl Document {
    /// Reads TOML. `file` names it in problems.
    ///
    /// # Errors
    ///
    /// Every error of syntax, each with its place.
    pub(crate) fn parse(text: &str, file: &str) -> Result<Self, Vec<Problem>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let positions = Positions::of(text);
        if errors.is_empty() {
            return Ok(Self { file: file.to_owned(), root: positions.table(root.get_ref()) });
        }
        let problem = |error: &toml::de::Error| {
            let at = error.span().map(|span| positions.at(span.start)).unwrap_or_default();
            // The library's message may run over several lines; the first says it.
            let what = error.message().lines().next().unwrap_or("not TOML").to_owned();
            Problem { place: Place::File { file: file.to_owned(), at }, what, hint: None }
        };
        Err(errors.iter().map(problem).collect())
    }
}

/// Finds line and column of a byte.
struct Positions<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Positions<'a> {
    fn of(text: &'a str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(0).chain(after_breaks).collect() }
    }

    fn at(&self, byte: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = self.starts[line - 1];
        let column = self.text.get(start..byte).map_or(0, |before| before.chars().count()) + 1;
        Position { line, column }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let mut entries: Vec<(usize, Entry)> = table
            .iter()
            .map(|(name, value)| {
                let at = name.span().start;
                (at, Entry { name: name.get_ref().to_string(), at: self.at(at), node: self.node(value) })
            })
            .collect();
        entries.sort_by_key(|(at, _)| *at);
        Table(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    fn node(&self, value: &Spanned<DeValue<'_>>) -> Node {
        let read = match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Whole(number),
                Err(_) => Value::Number(f64::INFINITY),
            },
            DeValue::Float(number) => Value::Number(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(items) => Value::List(items.iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { at: self.at(value.span().start), value: read }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_value_knows_its_place() {
        let document = Document::parse("# é\n[redis]\n  url = 'redis://h'\n", "f.toml").unwrap();
        let Value::Table(redis) = &document.root.get("redis").unwrap().value else { panic!("not a table") };
        assert_eq!(redis.0[0].at, Position { line: 3, column: 3 });
        assert_eq!(redis.get("url").unwrap().at, Position { line: 3, column: 9 });
    }

    #[test]
    fn all_errors_of_syntax_are_found_at_once() {
        let problems = Document::parse("a = \nb = 1\nb = 2\n", "f.toml").unwrap_err();
        let places: Vec<String> = problems.iter().map(|problem| problem.place.to_string()).collect();
        assert!(places.iter().any(|place| place.starts_with("f.toml:1:")), "{places:?}");
        assert!(places.iter().any(|place| place.starts_with("f.toml:3:")), "{places:?}");
    }
}
