//! Reading JSON objects strictly: every field by its name, every unknown name refused with the one that was meant.

use serde_json::{Map, Value};

use super::Violation;
use super::violation::{kind_of, wrong_type};

/// The longest name for which a near one is looked for, in characters. Applies to names from outside, whose length is not ours.
const NAME_CHARS_MAX: usize = 64;

/// Refuses every field of `object` that is not in `known`. `at` is the path of the object, empty at the top.
pub fn unknown_fields(object: &Map<String, Value>, at: &str, known: &[&str], found: &mut Vec<Violation>) {
    for (name, value) in object {
        if !known.contains(&name.as_str()) {
            let hint = nearest_name(name, known).map(|near| format!("did you mean `{near}`?"));
            let shown: String = name.chars().take(NAME_CHARS_MAX).collect();
            let rule = format!("there is no such field; known are {}", known.join(", "));
            found.push(Violation::new(join(at, &shown), kind_of(value), rule).with_hint_if(hint));
        }
    }
}

/// The known name closest to `name`, if it is close enough to be a slip: at most a third of it has to change.
#[must_use]
pub fn nearest_name<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let chars = name.chars().count();
    if chars > NAME_CHARS_MAX {
        return None;
    }
    let plain = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    let (distance, near) = known
        .iter()
        .map(|near| (edits(&plain(name), &plain(near)), *near))
        .min_by_key(|(distance, _)| *distance)?;
    (distance <= chars.div_ceil(3)).then_some(near)
}

/// How many slips make one text of the other: a character put in, taken out, exchanged, or swapped with its neighbour.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // `cost[i][j]` is for the first `i` characters of one and the first `j` of the other.
    let mut cost = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            cost[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let exchanged = cost[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let swapped = if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    cost[i - 2][j - 2] + 1
                } else {
                    usize::MAX
                };
                exchanged.min(swapped).min(cost[i - 1][j] + 1).min(cost[i][j - 1] + 1)
            };
        }
    }
    cost[a.len()][b.len()]
}

/// The path of a field of the object at `at`.
pub(super) fn join(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// A field that is there; null counts as absent.
pub(super) fn present<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// A field that must be there as an object.
pub(super) fn object<'a>(
    parent: &'a Map<String, Value>,
    at: &str,
    name: &str,
    found: &mut Vec<Violation>,
) -> Option<&'a Map<String, Value>> {
    let field = join(at, name);
    match present(parent, name) {
        Some(Value::Object(object)) => return Some(object),
        Some(other) => found.push(wrong_type(field, other, "an object")),
        None => found.push(missing(field)),
    }
    None
}

/// A field that must be there as a list.
pub(super) fn list<'a>(
    parent: &'a Map<String, Value>,
    at: &str,
    name: &str,
    found: &mut Vec<Violation>,
) -> Option<&'a [Value]> {
    let field = join(at, name);
    match present(parent, name) {
        Some(Value::Array(items)) => return Some(items),
        Some(other) => found.push(wrong_type(field, other, "a list")),
        None => found.push(missing(field)),
    }
    None
}

/// Says that a required field is not there.
pub(super) fn missing(field: String) -> Violation {
    Violation::new(field, "missing", "it is required")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_name_that_was_meant_and_a_strange_name_finds_none() {
        let known = ["size", "n", "enable_sequential", "thinking_mode", "seed", "watermark"];
        let cases = [
            ("siez", Some("size")),
            ("sede", Some("seed")),
            ("enableSequential", Some("enable_sequential")),
            ("thinking-mode", Some("thinking_mode")),
            ("Seed", Some("seed")),
            ("water_mark", Some("watermark")),
            ("negative_prompt", None),
            ("", None),
        ];
        for (name, near) in cases {
            assert_eq!(nearest_name(name, &known), near, "{name:?}");
        }
        assert_eq!(nearest_name(&"s".repeat(65), &known), None);
    }
}
