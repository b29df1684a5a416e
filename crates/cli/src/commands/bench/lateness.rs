//! How late due requests were, from the workers' logs: at debug, `worker::stages` says with each step that begins how long after
//! its due time that is, by Redis's clock.

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde::Deserialize;

/// What the workers have to log for it.
pub(super) const LOG_FILTER: &str = "info,worker::stages=debug";

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    step: Option<&'a str>,
    late_ms: Option<i64>,
}

/// By how many ms each poll of this log was late. Steps without a due time are not among them.
pub(super) fn of_log(log: &Path) -> std::io::Result<Vec<i64>> {
    let mut late = Vec::new();
    for line in BufReader::new(std::fs::File::open(log)?).split(b'\n') {
        late.extend(of_line(&line?));
    }
    Ok(late)
}

/// Most lines are others: they are passed over before anything is parsed. So is a last one that a kill cut short.
fn of_line(line: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(line).ok()?;
    if !text.contains(": poll begins\"") {
        return None;
    }
    let line: Line<'_> = serde_json::from_str(text).ok()?;
    if line.step == Some("poll") { line.late_ms } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_polls_that_begin_count() {
        let begins = r#"{"level":"DEBUG","message":"Job A is claimed: poll begins","job.id":"A","step":"poll","fence":3,"late_ms":7,"target":"worker::stages"}"#;
        assert_eq!(of_line(begins.as_bytes()), Some(7));
        let over =
            r#"{"level":"DEBUG","message":"Job A: poll is over","job.id":"A","step":"poll","fence":3}"#;
        assert_eq!(of_line(over.as_bytes()), None);
        let archive = r#"{"message":"Job A is claimed: archive begins","step":"archive","late_ms":9}"#;
        assert_eq!(of_line(archive.as_bytes()), None);
        assert_eq!(of_line(&begins.as_bytes()[..60]), None);
    }
}
