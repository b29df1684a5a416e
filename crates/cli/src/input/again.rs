//! The second pass over an input: what the first found good, once more, to be handed on.

use std::io;

use super::digest::Hashed;
use super::images::Images;
use super::judge::Judged;
use super::prepare::{Prepared, Preparer, Rules};
use super::rows::Rows;
use super::source::Source;

/// Reads an input again, and hands each good line on until `each` wants no more. Returns whether the input, and the images that it
/// names, are still what was judged; where `each` ended it, nobody knows, and it is said to be so.
///
/// # Errors
///
/// The input cannot be read.
pub(crate) fn again(
    source: &Source,
    rules: &Rules,
    images: &mut Images,
    judged: &Judged,
    mut each: impl FnMut(u64, Prepared) -> bool,
) -> io::Result<bool> {
    let input = Hashed::new(source.lines()?);
    let Ok(mut rows) = Rows::begin(input, source.format(), rules.prompts.as_ref())? else { return Ok(false) };
    let mut preparer = Preparer::again(rules, images);
    let mut good = 0;
    while let Some((number, row)) = rows.next()? {
        // Every line is prepared, as in the first pass: names of lines without one depend on those before. What is faulty was
        // said, and written out, by then.
        let prepared = preparer.row(number, &row);
        let Some(prepared) = prepared.ok().filter(|_| judged.good.contains(number)) else { continue };
        good += 1;
        if !each(number, prepared) {
            return Ok(true);
        }
    }
    Ok(good == judged.jobs && rows.into_inner().digest() == judged.digest)
}

#[cfg(test)]
mod tests {
    use super::super::judge::judge;
    use super::super::judge::tests::rules;
    use super::*;

    fn judged_then_read(first: &str, second: &str) -> (Vec<(u64, String)>, bool) {
        let source = |text: &str| Source::Lines { text: text.to_owned() };
        let mut images = Images::new(".".into());
        let judged = judge(&source(first), &rules(), &mut images, None, |_| {}).unwrap();
        let mut seen = Vec::new();
        let same = again(&source(second), &rules(), &mut images, &judged, |line, prepared| {
            seen.push((line, prepared.spec.custom_id.unwrap().to_string()));
            true
        });
        (seen, same.unwrap())
    }

    #[test]
    fn both_passes_see_the_same_jobs_under_the_same_names() {
        let line = "{\"prompt\": \"a\"}\n";
        let named = "{\"custom_id\": \"x\", \"prompt\": \"b\"}\n";
        let text = [line, "no json\n", named, named, line].concat();
        let (seen, same) = judged_then_read(&text, &text);
        assert_eq!(seen.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3, 5]);
        assert_eq!((seen[1].1.as_str(), seen[2].1.clone(), same), ("x", format!("{}-2", seen[0].1), true));
    }

    #[test]
    fn an_input_that_changed_between_the_passes_is_noticed() {
        let line = |prompt: &str| format!("{{\"custom_id\": \"x\", \"prompt\": \"{prompt}\"}}\n");
        assert!(judged_then_read(&line("a"), &line("a")).1);
        assert!(!judged_then_read(&line("a"), &line("b")).1);
        assert!(!judged_then_read(&line("a"), "").1);
    }
}
