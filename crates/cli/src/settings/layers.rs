//! Where settings come from and which one wins: flags, then environment, then the file, then defaults.
//!
//! A section is declared once, by [`section!`]: name, kind, default, documentation. Reading it, `config show`, the example
//! file and the refusal of unknown names all follow from that declaration. Every layer is judged, even one that another
//! overrides, so that `config check` finds every problem at once. Pure.

use std::collections::BTreeMap;
use std::fmt;

use super::document::{Document, Position, Table, Value};
use super::problem::{Place, Problem};
use super::value::{Raw, Setting, Wrong};

/// The environment, as `main` found it.
pub(crate) type Environment = BTreeMap<String, String>;

/// A value and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Resolved<T> {
    /// The value.
    pub(crate) value: T,
    /// Where it came from.
    pub(crate) source: Source,
}

/// Where the winning value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Nobody set it.
    Default,
    /// The settings file, with the line.
    File(usize),
    /// This environment variable.
    Environment(String),
    /// This flag.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(line) => write!(f, "file, line {line}"),
            Self::Environment(name) => write!(f, "environment, {name}"),
            Self::Flag(flag) => write!(f, "flag, {flag}"),
        }
    }
}

/// A setting's declaration.
#[derive(Debug)]
pub(crate) struct Field {
    /// Its name within the section.
    pub(crate) name: &'static str,
    /// What it is, line by line.
    pub(crate) doc: &'static [&'static str],
    /// Variables beside the one that follows from section and name; the first that is set wins.
    pub(crate) env: &'static [&'static str],
    /// A value for the example file, where the default is "not set".
    pub(crate) example: Option<&'static str>,
}

/// A section's declaration.
pub(crate) trait Section: Sized {
    /// What it is about, line by line.
    const ABOUT: &'static [&'static str];
    /// Its settings, in the order of the example file.
    const FIELDS: &'static [Field];

    /// Reads it. What cannot be used is noted in the scope and replaced by the default.
    fn resolve(scope: &mut Scope<'_>) -> Self;

    /// Each setting's TOML (`None`: not set) and source, in the order of [`Self::FIELDS`].
    fn shown(&self) -> Vec<(Option<String>, Source)>;
}

/// Declares a section; see the module's documentation.
macro_rules! section {
    (
        $( #[doc = $about:literal] )+
        $name:ident {
            $( $( #[doc = $doc:literal] )+ $field:ident $(($key:literal))? : $kind:ty = $default:expr
                $(, env $env:literal)* $(, example $example:literal)? ; )+
        }
    ) => {
        $( #[doc = $about] )+
        #[derive(Debug, Clone)]
        pub(crate) struct $name {
            $( $( #[doc = $doc] )+ pub(crate) $field: $crate::settings::layers::Resolved<$kind>, )+
        }

        impl $crate::settings::layers::Section for $name {
            const ABOUT: &'static [&'static str] = &[$( $about ),+];
            const FIELDS: &'static [$crate::settings::layers::Field] = &[
                $( $crate::settings::layers::Field {
                    name: $crate::settings::layers::section!(@name $field $($key)?),
                    doc: &[$( $doc ),+],
                    env: &[$( $env ),*],
                    example: $crate::settings::layers::section!(@example $($example)?),
                } ),+
            ];

            fn resolve(scope: &mut $crate::settings::layers::Scope<'_>) -> Self {
                let mut fields = Self::FIELDS.iter();
                let resolved = Self {
                    $( $field: scope.take(
                        fields.next().expect("there are as many declarations as fields"),
                        || $default,
                    ), )+
                };
                scope.refuse_unknown(Self::FIELDS);
                resolved
            }

            fn shown(&self) -> Vec<(Option<String>, $crate::settings::layers::Source)> {
                vec![ $( (
                    $crate::settings::value::Setting::show(&self.$field.value),
                    self.$field.source.clone(),
                ) ),+ ]
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $key:literal) => { $key };
    (@example) => { None };
    (@example $example:literal) => { Some($example) };
}
pub(crate) use section;

/// All layers but the defaults.
#[derive(Debug)]
pub(crate) struct Layers<'a> {
    /// `--set section.name=value`, and flags of their own, by "section.name".
    pub(crate) flags: &'a BTreeMap<String, String>,
    /// The environment.
    pub(crate) environment: &'a Environment,
    /// The file.
    pub(crate) document: &'a Document,
}

/// Which variables a section listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variables {
    /// `IMAGEMILL_<SECTION>_<NAME>` and the declared ones.
    Derived,
    /// The declared ones only.
    Declared,
    /// None.
    Off,
}

/// One section in all layers, while it is read.
#[derive(Debug)]
pub(crate) struct Scope<'a> {
    layers: &'a Layers<'a>,
    /// The section as messages name it, such as `accounts[0]`.
    path: String,
    table: Option<&'a Table>,
    variables: Variables,
    /// Names of tables inside the section, which others read.
    inner: &'static [&'static str],
    problems: &'a mut Vec<Problem>,
}

impl<'a> Scope<'a> {
    /// The section `path` whose table in the file is `table`.
    pub(crate) fn new(
        layers: &'a Layers<'a>,
        path: impl Into<String>,
        table: Option<&'a Table>,
        variables: Variables,
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        Self { layers, path: path.into(), table, variables, inner: &[], problems }
    }

    /// The same, in whose table others read the tables `inner`.
    pub(crate) fn with_inner(mut self, inner: &'static [&'static str]) -> Self {
        self.inner = inner;
        self
    }

    /// The winning value of a setting.
    pub(crate) fn take<T: Setting>(&mut self, field: &Field, default: impl FnOnce() -> T) -> Resolved<T> {
        let mut winner = None;
        if let Some((node, line)) = self.table.and_then(|table| find(table, field.name)) {
            let place = Place::File { file: self.layers.document.file.clone(), at: node.at };
            self.judge(Raw::Node(node), field, place, Source::File(line), &mut winner);
        }
        if let Some((variable, text)) = self.variable(field) {
            let place = Place::Environment(variable.clone());
            self.judge(Raw::Text(text), field, place, Source::Environment(variable), &mut winner);
        }
        let layers = self.layers;
        if let Some(text) = layers.flags.get(&format!("{}.{}", self.path, field.name)) {
            let flag = format!("--set {}.{}", self.path, field.name);
            self.judge(Raw::Text(text), field, Place::Flag(flag.clone()), Source::Flag(flag), &mut winner);
        }
        winner.unwrap_or_else(|| Resolved { value: default(), source: Source::Default })
    }

    fn judge<T: Setting>(
        &mut self,
        raw: Raw<'_>,
        field: &Field,
        place: Place,
        source: Source,
        winner: &mut Option<Resolved<T>>,
    ) {
        match T::read(raw) {
            Ok(value) => *winner = Some(Resolved { value, source }),
            Err(Wrong { what, hint }) => {
                let what = format!("`{}.{}` {what}", self.path, field.name);
                self.problems.push(Problem { place, what, hint });
            }
        }
    }

    /// The variable that sets a field, and its text. An empty one counts as not set, as in most tools.
    fn variable(&self, field: &Field) -> Option<(String, &'a str)> {
        let derived = variable_name(&self.path, field.name);
        let names = match self.variables {
            Variables::Derived => vec![derived.as_str()],
            Variables::Declared | Variables::Off => Vec::new(),
        };
        let declared: &[&str] = if self.variables == Variables::Off { &[] } else { field.env };
        let environment = self.layers.environment;
        names.into_iter().chain(declared.iter().copied()).find_map(|name| {
            let text = environment.get(name).filter(|text| !text.is_empty())?;
            Some((name.to_owned(), text.as_str()))
        })
    }

    /// Notes every key of the table that no field has.
    pub(crate) fn refuse_unknown(&mut self, fields: &[Field]) {
        let Some(table) = self.table else { return };
        let known: Vec<&str> =
            fields.iter().map(|field| field.name).chain(self.inner.iter().copied()).collect();
        for entry in table.0.iter().filter(|entry| !known.contains(&entry.name.as_str())) {
            let place = Place::File { file: self.layers.document.file.clone(), at: entry.at };
            let what = format!("there is no setting `{}.{}`", self.path, entry.name);
            let near = dashscope::request::nearest_name(&entry.name, &known);
            let hint = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known are {}", known.join(", ")),
            };
            self.problems.push(Problem { place, what, hint: Some(hint) });
        }
    }
}

/// The variable of a setting: `IMAGEMILL_REDIS_URL` for `url` of section `redis`.
pub(crate) fn variable_name(section: &str, name: &str) -> String {
    format!("IMAGEMILL_{section}_{name}").to_uppercase().replace(['.', '-'], "_")
}

fn find<'t>(table: &'t Table, name: &str) -> Option<(&'t super::document::Node, usize)> {
    table.0.iter().find(|entry| entry.name == name).map(|entry| (&entry.node, entry.at.line))
}

/// The table that the file has under `name`; a value of another kind is a problem.
pub(crate) fn table_of<'d>(
    document: &'d Document,
    name: &str,
    problems: &mut Vec<Problem>,
) -> Option<&'d Table> {
    let node = document.root.get(name)?;
    match &node.value {
        Value::Table(table) => Some(table),
        other => {
            problems.push(problem_at(
                document,
                node.at,
                format!("`{name}` is {}, but it must be a table", other.kind()),
            ));
            None
        }
    }
}

/// A problem at a place of the file.
pub(crate) fn problem_at(document: &Document, at: Position, what: String) -> Problem {
    Problem { place: Place::File { file: document.file.clone(), at }, what, hint: None }
}
