//! What a setting may hold: each kind reads itself from TOML or from text, refuses what it does not know, and shows itself
//! as TOML. Pure.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use url::{Host, Url};

use super::document::{Node, Value};

/// A value as a layer gives it: a node of the file, or the text of a variable or a flag.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Raw<'a> {
    /// From the file.
    Node(&'a Node),
    /// From the environment or a flag.
    Text(&'a str),
}

/// Why a value was refused. It stands behind "`section.name` ".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Such as "is `0s`, but it must be at least 1s".
    pub(crate) what: String,
    /// What was probably meant.
    pub(crate) hint: Option<String>,
}

impl Wrong {
    /// The value `shown` breaks `rule`.
    pub(crate) fn new(shown: impl fmt::Display, rule: impl fmt::Display) -> Self {
        Self { what: format!("is {shown}, but {rule}"), hint: None }
    }

    fn of_kind(value: &Value, wanted: &str) -> Self {
        Self::new(value.kind(), format_args!("it must be {wanted}"))
    }
}

/// Whether a link leads to this machine itself.
pub(super) fn is_loopback(link: &Url) -> bool {
    match link.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A kind of setting.
pub(crate) trait Setting: Sized {
    /// What it must be, for messages: "a duration such as `10s`".
    const WANTED: &'static str;

    /// Reads it from text: of a variable, a flag, or a string in the file.
    fn from_text(text: &str) -> Result<Self, Wrong>;

    /// Reads it from a value of the file that is not a string.
    fn from_value(value: &Value) -> Result<Self, Wrong> {
        Err(Wrong::of_kind(value, Self::WANTED))
    }

    /// The value as TOML, secrets masked; `None` where it is not set.
    fn show(&self) -> Option<String>;

    /// Reads it from whichever form there is.
    fn read(raw: Raw<'_>) -> Result<Self, Wrong> {
        match raw {
            Raw::Text(text) => Self::from_text(text.trim()),
            Raw::Node(Node { value: Value::Text(text), .. }) => Self::from_text(text),
            Raw::Node(node) => Self::from_value(&node.value),
        }
    }
}

/// A text as TOML.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A text for messages: short, without control characters.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}

impl<T: Setting> Setting for Option<T> {
    const WANTED: &'static str = T::WANTED;

    fn from_text(text: &str) -> Result<Self, Wrong> {
        T::from_text(text).map(Some)
    }

    fn from_value(value: &Value) -> Result<Self, Wrong> {
        T::from_value(value).map(Some)
    }

    fn show(&self) -> Option<String> {
        self.as_ref().and_then(T::show)
    }
}

impl Setting for bool {
    const WANTED: &'static str = "true or false";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(Wrong::new(shown(text), "it must be true or false")),
        }
    }

    fn from_value(value: &Value) -> Result<Self, Wrong> {
        match value {
            Value::Flag(flag) => Ok(*flag),
            other => Err(Wrong::of_kind(other, Self::WANTED)),
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

/// A text that is not empty.
impl Setting for String {
    const WANTED: &'static str = "a text";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        if text.trim().is_empty() { Err(Wrong::new("empty", "it must not be")) } else { Ok(text.to_owned()) }
    }

    fn show(&self) -> Option<String> {
        Some(quoted(self))
    }
}

impl Setting for PathBuf {
    const WANTED: &'static str = "a path";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        String::from_text(text).map(Self::from)
    }

    fn show(&self) -> Option<String> {
        Some(quoted(&self.to_string_lossy()))
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Whole<const MIN: u64, const MAX: u64>(pub(crate) u64);

impl<const MIN: u64, const MAX: u64> Whole<MIN, MAX> {
    /// As `u32`, which `MAX` of every use fits into.
    pub(crate) fn small(self) -> u32 {
        u32::try_from(self.0).unwrap_or(u32::MAX)
    }

    /// As `usize`.
    pub(crate) fn size(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// As `u8`, which `MAX` of every use fits into.
    pub(crate) fn tiny(self) -> u8 {
        u8::try_from(self.0).unwrap_or(u8::MAX)
    }

    fn checked(number: Option<u64>, shown: impl fmt::Display) -> Result<Self, Wrong> {
        match number.filter(|number| (MIN..=MAX).contains(number)) {
            Some(number) => Ok(Self(number)),
            None if MAX == u64::MAX => {
                Err(Wrong::new(shown, format_args!("it must be a whole number from {MIN} on")))
            }
            None => Err(Wrong::new(shown, format_args!("it must be a whole number from {MIN} to {MAX}"))),
        }
    }
}

impl<const MIN: u64, const MAX: u64> Setting for Whole<MIN, MAX> {
    const WANTED: &'static str = "a whole number";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        Self::checked(text.parse().ok(), shown(text))
    }

    fn from_value(value: &Value) -> Result<Self, Wrong> {
        match value {
            Value::Whole(number) => Self::checked(u64::try_from(*number).ok(), number),
            Value::Number(number) => Self::checked(None, number),
            other => Err(Wrong::of_kind(other, Self::WANTED)),
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

/// A rate or factor: greater than 0, at most a million.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate(pub(crate) f64);

impl Rate {
    fn checked(number: Option<f64>, shown: impl fmt::Display) -> Result<Self, Wrong> {
        match number.filter(|number| *number > 0.0 && *number <= 1e6) {
            Some(number) => Ok(Self(number)),
            None => Err(Wrong::new(shown, "it must be a number above 0, at most 1000000")),
        }
    }
}

impl Setting for Rate {
    const WANTED: &'static str = "a number such as 5 or 0.5";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        Self::checked(text.parse().ok(), shown(text))
    }

    fn from_value(value: &Value) -> Result<Self, Wrong> {
        match value {
            // Numbers that a rate may have are exact as `f64`.
            Value::Whole(number) => Self::checked(i32::try_from(*number).ok().map(f64::from), number),
            Value::Number(number) => Self::checked(Some(*number), number),
            other => Err(Wrong::of_kind(other, Self::WANTED)),
        }
    }

    fn show(&self) -> Option<String> {
        Some(self.0.to_string())
    }
}

/// A time span of at least `MIN_MS` milliseconds and at most [`SPAN_MAX`], written as people do: `500ms`, `1h 30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span<const MIN_MS: u64>(pub(crate) Duration);

/// The longest span that a setting may have: ten years.
const SPAN_MAX: Duration = Duration::from_secs(3_660 * 24 * 3_600);

impl<const MIN_MS: u64> Setting for Span<MIN_MS> {
    const WANTED: &'static str = "a time span in quotes, such as \"500ms\", \"10s\" or \"1h 30m\"";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let Ok(span) = humantime::parse_duration(text) else {
            return Err(Wrong::new(shown(text), "a time span is written such as `500ms`, `10s` or `1h 30m`"));
        };
        let min = Duration::from_millis(MIN_MS);
        if span < min {
            let min = humantime::format_duration(min);
            Err(Wrong::new(shown(text), format_args!("it must be at least {min}")))
        } else if span > SPAN_MAX {
            Err(Wrong::new(shown(text), "ten years are the most"))
        } else {
            Ok(Self(span))
        }
    }

    fn show(&self) -> Option<String> {
        /// Above it, whole days: months and years are no spans that anybody sets.
        const DAY_S: u64 = 24 * 3_600;
        let seconds = self.0.as_secs();
        if self.0.subsec_nanos() == 0 && seconds > DAY_S && seconds.is_multiple_of(DAY_S) {
            return Some(format!("\"{}days\"", seconds / DAY_S));
        }
        Some(format!("\"{}\"", humantime::format_duration(self.0)))
    }
}

/// A number of bytes, such as `64MiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) u64);

/// The units, largest first.
const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Setting for Bytes {
    const WANTED: &'static str = "a size such as \"64MiB\"";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => Some(1),
            "kib" | "k" => Some(1 << 10),
            "mib" | "m" => Some(1 << 20),
            "gib" | "g" => Some(1 << 30),
            "kb" => Some(1_000),
            "mb" => Some(1_000_000),
            "gb" => Some(1_000_000_000),
            _ => None,
        };
        let bytes = number.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
        match bytes.filter(|bytes| (1..=1 << 40).contains(bytes)) {
            Some(bytes) => Ok(Self(bytes)),
            None => Err(Wrong::new(shown(text), "a size is written such as `512KiB`, `64MiB` or `2GiB`")),
        }
    }

    fn from_value(value: &Value) -> Result<Self, Wrong> {
        match value {
            Value::Whole(number) => Self::from_text(&number.to_string()),
            other => Err(Wrong::of_kind(other, Self::WANTED)),
        }
    }

    fn show(&self) -> Option<String> {
        let unit = UNITS.into_iter().find(|(_, unit)| self.0 >= *unit && self.0.is_multiple_of(*unit));
        let (name, unit) = unit.unwrap_or(("B", 1));
        Some(format!("\"{}{name}\"", self.0 / unit))
    }
}

/// A list of texts; as text separated by commas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Texts(pub(crate) Vec<String>);

impl Setting for Texts {
    const WANTED: &'static str = "a list of texts";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        Ok(Self(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()))
    }

    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let Value::List(items) = value else { return Err(Wrong::of_kind(value, Self::WANTED)) };
        let text = |item: &Node| match &item.value {
            Value::Text(text) => Ok(text.clone()),
            other => Err(Wrong::new(format_args!("a list with {}", other.kind()), "it must hold texts only")),
        };
        items.iter().map(text).collect::<Result<_, _>>().map(Self)
    }

    fn show(&self) -> Option<String> {
        let items: Vec<String> = self.0.iter().map(|item| quoted(item)).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

/// Names with a text each, in the order of the file; as text `a=1,b=2`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pairs(pub(crate) Vec<(String, String)>);

impl Setting for Pairs {
    const WANTED: &'static str = "a table of texts such as { team = \"shop\" }";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        let pair = |item: &str| {
            item.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        };
        let pairs: Option<Vec<_>> =
            text.split(',').filter(|item| !item.trim().is_empty()).map(pair).collect();
        pairs.map(Self).ok_or_else(|| Wrong::new(shown(text), "it is written `name=value,name=value`"))
    }

    fn from_value(value: &Value) -> Result<Self, Wrong> {
        let Value::Table(table) = value else { return Err(Wrong::of_kind(value, Self::WANTED)) };
        let pair = |entry: &super::document::Entry| match &entry.node.value {
            Value::Text(text) => Ok((entry.name.clone(), text.clone())),
            other => {
                Err(Wrong::new(format_args!("a table with {}", other.kind()), "it must hold texts only"))
            }
        };
        table.0.iter().map(pair).collect::<Result<_, _>>().map(Self)
    }

    fn show(&self) -> Option<String> {
        let pairs: Vec<String> =
            self.0.iter().map(|(name, value)| format!("{} = {}", quoted(name), quoted(value))).collect();
        Some(if pairs.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", pairs.join(", ")) })
    }
}

/// Refuses a text with what its type says about it.
pub(crate) fn parsed<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, Wrong> {
    text.parse().map_err(|error: T::Err| Wrong { what: format!("cannot be used: {error}"), hint: None })
}

/// A setting with a few named values.
macro_rules! choice {
    ($(#[$about:meta])* $name:ident { $( $(#[$doc:meta])* $variant:ident = $text:literal ),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum $name { $( $(#[$doc])* $variant ),+ }

        impl $crate::settings::value::Setting for $name {
            const WANTED: &'static str = concat!("one of", $( " `", $text, "`" ),+);

            fn from_text(text: &str) -> Result<Self, $crate::settings::value::Wrong> {
                match text {
                    $( $text => Ok(Self::$variant), )+
                    _ => Err($crate::settings::value::no_such_choice(text, &[$( $text ),+])),
                }
            }

            fn show(&self) -> Option<String> {
                Some(match self { $( Self::$variant => concat!("\"", $text, "\"").to_owned() ),+ })
            }
        }
    };
}
pub(crate) use choice;

/// Refuses a text that is none of `known`.
pub(crate) fn no_such_choice(text: &str, known: &[&str]) -> Wrong {
    let list: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    let near = dashscope::request::nearest_name(text, known);
    Wrong {
        what: format!("is {}, but it must be one of {}", shown(text), list.join(", ")),
        hint: near.map(|near| format!("did you mean `{near}`?")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong<T: Setting + fmt::Debug>(text: &str) -> String {
        T::from_text(text).unwrap_err().what
    }

    #[test]
    fn spans_are_written_as_people_do_and_have_bounds() {
        assert_eq!(Span::<0>::from_text("1h 30m").unwrap().0, Duration::from_secs(5_400));
        assert_eq!(Span::<0>(Duration::from_millis(1_500)).show().unwrap(), "\"1s 500ms\"");
        assert_eq!(wrong::<Span<1000>>("200ms"), "is `200ms`, but it must be at least 1s");
        assert!(wrong::<Span<0>>("10").contains("`10s`"));
        assert!(wrong::<Span<0>>("90000days").contains("ten years"));
        let number = Span::<0>::from_value(&Value::Whole(10)).unwrap_err();
        assert!(number.what.contains("in quotes"), "{number:?}");
    }

    #[test]
    fn sizes_have_units_and_are_shown_in_the_largest_that_fits() {
        for (text, bytes, shown) in [
            ("64MiB", 64 << 20, "\"64MiB\""),
            ("1500", 1_500, "\"1500B\""),
            ("2 gb", 2_000_000_000, "\"1953125KiB\""),
        ] {
            let size = Bytes::from_text(text).unwrap();
            assert_eq!((size.0, size.show().unwrap().as_str()), (bytes, shown), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5GiB", "0", "99999999GiB"] {
            assert!(Bytes::from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_outside_of_their_bounds_are_refused() {
        assert_eq!(wrong::<Whole<1, 8>>("9"), "is `9`, but it must be a whole number from 1 to 8");
        assert!(Whole::<1, 8>::from_value(&Value::Number(2.5)).is_err());
        for text in ["0", "-1", "NaN", "inf", "1e7", "x"] {
            assert!(Rate::from_text(text).is_err(), "{text}");
        }
        assert_eq!(Rate::from_value(&Value::Whole(5)).unwrap().show().unwrap(), "5");
    }

    #[test]
    fn lists_and_pairs_are_read_from_text_too() {
        assert_eq!(Texts::from_text("a, b,,").unwrap().show().unwrap(), r#"["a", "b"]"#);
        let pairs = Pairs::from_text("team=shop,a b=c").unwrap();
        assert_eq!(pairs.show().unwrap(), r#"{ "team" = "shop", "a b" = "c" }"#);
        assert!(Pairs::from_text("team").is_err());
    }
}
