//! A page of thumbnails, as one HTML file that needs nothing else. Pure: text in, text out, everything from users escaped.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::thumbnail::Thumbnail;

/// What a page says of itself.
#[derive(Debug, Clone)]
pub(super) struct Head<'a> {
    /// The batch.
    pub(super) batch: &'a str,
    /// How far it is, in words.
    pub(super) said: &'a str,
    /// Which page it is, from 1.
    pub(super) number: usize,
    /// The file of the page before.
    pub(super) before: Option<&'a str>,
}

/// What stands on a tile.
#[derive(Debug, Clone)]
pub(super) enum Tile {
    /// An image.
    Image {
        /// What it is called.
        name: String,
        /// Where it is stored.
        place: String,
        /// What is seen.
        thumbnail: Thumbnail,
    },
    /// Why there is none.
    Missing {
        /// The job, or image.
        name: String,
        /// The state, or what is the matter.
        word: String,
        /// The reason.
        reason: String,
    },
}

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.4 system-ui,sans-serif;margin:0;padding:1rem;background:Canvas;color:CanvasText}\
header{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:baseline;margin-bottom:1rem}\
h1{font-size:1.25rem;margin:0;overflow-wrap:anywhere}header p{margin:0;opacity:.75}\
main{display:grid;gap:.75rem;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr))}\
figure{margin:0;display:flex;flex-direction:column;border:1px solid color-mix(in srgb,CanvasText 18%,Canvas);border-radius:6px;overflow:hidden}\
figure>div{position:relative;aspect-ratio:1;display:grid;place-items:center;background:color-mix(in srgb,CanvasText 6%,Canvas)}\
img{position:absolute;inset:0;width:100%;height:100%;object-fit:scale-down}\
.missing>div{color:#b3261e;padding:.5rem;text-align:center;font-size:.85rem;overflow:hidden}\
@media(prefers-color-scheme:dark){.missing>div{color:#f2958e}}\
figcaption{padding:.35rem .5rem;font-size:.8rem;overflow-wrap:anywhere}\
nav{margin-top:1rem;display:flex;gap:1rem}";

/// The beginning of a page.
pub(super) fn begin(head: &Head<'_>) -> String {
    let Head { batch, said, number, before } = head;
    let (batch, said) = (escaped(batch), escaped(said));
    let nth = if *number > 1 { format!(", page {number}") } else { String::new() };
    let before = before.map(|file| format!("<nav>{}</nav>", link(file, "← page before"))).unwrap_or_default();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{batch}{nth}</title>\n<style>{STYLE}</style>\n\
         <header><h1>{batch}{nth}</h1><p>{said}</p></header>\n{before}<main>\n"
    )
}

/// A tile.
pub(super) fn tile(tile: &Tile) -> String {
    let mut text = String::new();
    let _ = match tile {
        Tile::Image { name, place, thumbnail: Thumbnail { jpeg, width, height } } => {
            let (name, place, data) = (escaped(name), escaped(place), STANDARD.encode(jpeg));
            writeln!(
                text,
                "<figure><div><img src=\"data:image/jpeg;base64,{data}\" width=\"{width}\" height=\"{height}\" \
                 alt=\"{name}\" title=\"{place}\" loading=\"lazy\"></div><figcaption>{name}</figcaption></figure>"
            )
        }
        Tile::Missing { name, word, reason } => {
            let (name, word, reason) = (escaped(name), escaped(word), escaped(reason));
            writeln!(
                text,
                "<figure class=\"missing\"><div title=\"{reason}\"><span><b>{word}</b><br>{reason}</span></div>\
                 <figcaption>{name}</figcaption></figure>"
            )
        }
    };
    text
}

/// The end of a page.
pub(super) fn end(next: Option<&str>) -> String {
    let next = next.map(|file| format!("<nav>{}</nav>\n", link(file, "next page →"))).unwrap_or_default();
    format!("</main>\n{next}</html>\n")
}

fn link(file: &str, words: &str) -> String {
    let name = percent_encoding::utf8_percent_encode(file, percent_encoding::NON_ALPHANUMERIC);
    format!("<a href=\"{name}\">{words}</a>")
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_wrote_is_text_and_nothing_else() {
        let thumbnail = Thumbnail { jpeg: vec![1, 2, 3], width: 4, height: 2 };
        let image = Tile::Image { name: "<b>\"&'".into(), place: "b/\"onload=\"x".into(), thumbnail };
        insta::assert_snapshot!(tile(&image), @r#"<figure><div><img src="data:image/jpeg;base64,AQID" width="4" height="2" alt="&lt;b&gt;&quot;&amp;&#39;" title="b/&quot;onload=&quot;x" loading="lazy"></div><figcaption>&lt;b&gt;&quot;&amp;&#39;</figcaption></figure>"#);
        let missing = Tile::Missing { name: "x".into(), word: "failed".into(), reason: "<script>".into() };
        insta::assert_snapshot!(tile(&missing), @r#"<figure class="missing"><div title="&lt;script&gt;"><span><b>failed</b><br>&lt;script&gt;</span></div><figcaption>x</figcaption></figure>"#);
    }

    #[test]
    fn pages_lead_to_each_other() {
        let head = Head { batch: "a<b", said: "2 jobs", number: 2, before: Some("a b.html") };
        let text = begin(&head);
        assert!(
            text.contains("<title>a&lt;b, page 2</title>") && text.contains("href=\"a%20b%2Ehtml\""),
            "{text}"
        );
        assert!(end(Some("c.html")).contains("next page") && !end(None).contains("<nav>"));
    }
}
