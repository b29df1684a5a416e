//! One line of JSON, read strictly: a name that stands twice in an object is refused, since only one of the two would count.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a line is not JSON. Nothing of the line is repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotJson {
    /// What is wrong, such as "expected `:`".
    pub(crate) what: String,
    /// Where, in bytes from 1; 0 where the line as a whole is meant.
    pub(crate) column: usize,
}

/// Reads one JSON value and nothing behind it.
pub(crate) fn parse(line: &str) -> Result<Value, NotJson> {
    let mut reader = serde_json::Deserializer::from_str(line);
    let read = Strict.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| {
        let place = format!(" at line {} column {}", error.line(), error.column());
        // The parser's word for a text that begins like none of JSON's values.
        let text = error.to_string().replace("expected ident", "expected a value");
        NotJson { what: text.strip_suffix(&place).unwrap_or(&text).to_owned(), column: error.column() }
    })
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Self)?;
            if map.contains_key(&name) {
                let shown: String = name.chars().take(40).collect();
                return Err(de::Error::custom(format_args!("`{shown}` stands twice in one object")));
            }
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_written() {
        let line = r#"{"a":[1,-2,0.5,true,null,"é\n"],"b":{}}"#;
        assert_eq!(parse(line).unwrap(), serde_json::from_str::<Value>(line).unwrap());
    }

    #[test]
    fn a_name_that_stands_twice_is_refused_wherever_it_is() {
        for line in [r#"{"n":1,"n":4}"#, r#"[{"a":{"n":1,"n":1}}]"#] {
            assert_eq!(parse(line).unwrap_err().what, "`n` stands twice in one object", "{line}");
        }
    }

    #[test]
    fn a_fault_has_its_column_and_nothing_of_the_text() {
        let fault = parse(r#"{"prompt": "secret" "n": 1}"#).unwrap_err();
        assert_eq!((fault.what.as_str(), fault.column), ("expected `,` or `}`", 21));
        assert!(parse(r#"{"a":1} {"b":2}"#).unwrap_err().what.contains("trailing"));
        assert!(parse("").is_err());
    }
}
