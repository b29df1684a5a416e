//! Where the quotes of CSV open and close, byte by byte: the parser takes what is amiss there for text, and a quote that is not closed would
//! have it read the rows below as a part of the field, so that they are no jobs and nobody says so. Pure.

/// Where a reader of RFC 4180 is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    FieldStart,
    Plain,
    Quoted,
    /// Behind a quote in a quoted field: it closes the field, or is the first half of a quote in the text.
    Quote,
}

/// What is amiss with the quotes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amiss {
    /// Text follows a quote that closes its field.
    Stray,
    /// The input ends before a field's quote is closed.
    Open,
}

/// Follows the quotes of an input.
#[derive(Debug, Default)]
pub(super) struct Quotes {
    at: At,
    stray: bool,
}

impl Quotes {
    /// Goes on by some bytes of a record.
    pub(super) fn follow(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.at = match (self.at, byte) {
                (At::FieldStart, b'"') | (At::Quote, b'"') => At::Quoted,
                (At::Quoted, b'"') => At::Quote,
                (At::Quoted, _) => At::Quoted,
                (_, b',' | b'\r' | b'\n') => At::FieldStart,
                (At::Quote, _) => {
                    self.stray = true;
                    At::Plain
                }
                (At::FieldStart | At::Plain, _) => At::Plain,
            };
        }
    }

    /// What is amiss with the record that just ended. The next one begins.
    pub(super) fn end(&mut self) -> Option<Amiss> {
        let ended = std::mem::take(self);
        match ended.at {
            At::Quoted => Some(Amiss::Open),
            _ => ended.stray.then_some(Amiss::Stray),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_that_is_not_closed_or_not_doubled_is_found_and_no_other() {
        let amiss = |record: &str| {
            let mut quotes = Quotes::default();
            // Wherever the bytes are cut.
            record.as_bytes().chunks(2).for_each(|bytes| quotes.follow(bytes));
            quotes.end()
        };
        for good in
            ["a,b\n", "\"a\",b\n", "\"a, \"\"b\"\"\",\"\"\r\n", "5\" nail,b", "\"\"", "\"two\nlines\",b\n"]
        {
            assert_eq!(amiss(good), None, "{good}");
        }
        for stray in ["\"a \"b\" c\",d\n", "\"a\" ,b\n", "\"open\nb,\"next\"\n"] {
            assert_eq!(amiss(stray), Some(Amiss::Stray), "{stray}");
        }
        for open in ["a,\"b\n", "\"a\"\"\nb"] {
            assert_eq!(amiss(open), Some(Amiss::Open), "{open}");
        }
    }
}
