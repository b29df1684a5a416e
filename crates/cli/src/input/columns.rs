//! The columns of a CSV file as the fields of a line. Pure.

use dashscope::Violation;
use dashscope::request::{Parameters, nearest_name};
use serde_json::{Map, Value};

use super::fault::{Fault, wrong_type};
use super::json;
use super::line::{COMMON, OWN};
use super::template::{Template, missing};

/// Columns whose cells are whole numbers.
const NUMBERS: [&str; 3] = ["n", "seed", "priority"];

/// Columns whose cells are `true` or `false`.
const FLAGS: [&str; 3] = ["enable_sequential", "thinking_mode", "watermark"];

/// Columns whose cells are JSON.
const JSON: [&str; 2] = ["bbox_list", "color_palette"];

/// What stands between the images of a cell: no link has one, and hardly a path.
const BETWEEN_IMAGES: char = '|';

/// Checks the header, which stands in `line`: every column must be a field, or be taken by the template, and the other way round.
pub(super) fn check(line: u64, columns: &[String], template: Option<&Template>) -> Vec<Fault> {
    let mut found = Vec::new();
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let fields: Vec<&str> = COMMON.iter().chain(&OWN).chain(&Parameters::NAMES).copied().collect();
    let taken: Vec<&str> = template.iter().flat_map(|template| template.fields()).collect();
    for (at, name) in names.iter().enumerate() {
        if name.is_empty() {
            found.push(Violation::new(
                format!("column {}", at + 1),
                "empty",
                "every column must have a name",
            ));
        } else if names[..at].contains(name) {
            found.push(Violation::new(*name, "there twice", "every column must have a name of its own"));
        } else if !fields.contains(name) && !taken.contains(name) {
            let known = [&fields[..], &taken[..]].concat();
            let rule = format!("there is no such field; known are {}", known.join(", "));
            let mut violation = Violation::new(short(name), "a column", rule);
            violation.hint = Some(match (nearest_name(name, &known), columns) {
                (_, [_]) if name.contains([';', '\t']) => "columns are separated by commas".to_owned(),
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, _) => format!("--template \"… {{{}}} …\" puts it into the prompt", short(name)),
            });
            found.push(violation);
        }
    }
    if template.is_none() && !names.contains(&"prompt") {
        let violation = Violation::new("prompt", "missing", "it must be a column");
        found.push(violation.with_hint("or make prompts of other columns with --template"));
    }
    for name in taken.iter().filter(|name| !names.contains(name)) {
        found.push(Violation {
            rule: "--template takes it, so that it must be a column".to_owned(),
            ..missing(name, &names)
        });
    }
    found.into_iter().map(|violation| Fault::of_field(line, None, violation)).collect()
}

/// A record as the line that says the same. An empty cell says nothing, unless the template takes it. Cells that cannot be read are added
/// to `found`, and left out.
pub(super) fn object<'a>(
    columns: &[String],
    cells: impl Iterator<Item = &'a str>,
    template: Option<&Template>,
    found: &mut Vec<Violation>,
) -> Map<String, Value> {
    let mut line = Map::new();
    for (name, cell) in columns.iter().zip(cells) {
        let (name, trimmed) = (name.as_str(), cell.trim());
        let is_taken = || template.is_some_and(|template| template.takes(name));
        if trimmed.is_empty() && !is_taken() {
            continue;
        }
        let value = if NUMBERS.contains(&name) {
            match trimmed.parse::<i64>() {
                Ok(number) => Ok(Value::from(number)),
                Err(_) => Err(wrong_type(name, &Value::from(cell), "a whole number")),
            }
        } else if FLAGS.contains(&name) {
            match trimmed {
                "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
                "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
                _ => Err(wrong_type(name, &Value::from(cell), "`true` or `false`")),
            }
        } else if JSON.contains(&name) {
            json::parse(trimmed).map_err(|fault| {
                let rule =
                    format!("it must be JSON: {} at character {} of the cell", fault.what, fault.column);
                Violation::new(name, "unreadable", rule)
            })
        } else if name == "images" {
            let images = trimmed.split(BETWEEN_IMAGES).map(str::trim).filter(|image| !image.is_empty());
            Ok(images.map(Value::from).collect())
        } else {
            Ok(Value::from(cell))
        };
        match value {
            Ok(value) => {
                line.insert(name.to_owned(), value);
            }
            Err(violation) => found.push(violation),
        }
    }
    line
}

fn short(name: &str) -> String {
    name.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(header: &str) -> Vec<String> {
        header.split(',').map(str::to_owned).collect()
    }

    fn faults(header: &str, template: Option<&str>) -> String {
        let template = template.map(|text| text.parse().unwrap());
        let faults = check(1, &columns(header), template.as_ref());
        faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn each_kind_of_wrong_header_gives_a_clear_error() {
        insta::assert_snapshot!([
            faults("custom_id,colour,prompt,,n,n", None),
            faults("custom_id,name", Some("photo of {name}, {colour}")),
            faults("custom_id,nmae,pirce", Some("photo of {name}")),
            faults("custom_id;prompt", None),
            faults("prompt,body", None),
        ].join("\n--\n"), @r#"
        line 1: `colour` is a column, but there is no such field; known are custom_id, priority, account, region, not_before, prompt, model, images, size, n, enable_sequential, thinking_mode, bbox_list, color_palette, watermark, seed (--template "… {colour} …" puts it into the prompt)
        line 1: `column 4` is empty, but every column must have a name
        line 1: `n` is there twice, but every column must have a name of its own
        --
        line 1: `colour` is missing, but --template takes it, so that it must be a column
        --
        line 1: `nmae` is a column, but there is no such field; known are custom_id, priority, account, region, not_before, prompt, model, images, size, n, enable_sequential, thinking_mode, bbox_list, color_palette, watermark, seed, name (did you mean `name`?)
        line 1: `pirce` is a column, but there is no such field; known are custom_id, priority, account, region, not_before, prompt, model, images, size, n, enable_sequential, thinking_mode, bbox_list, color_palette, watermark, seed, name (--template "… {pirce} …" puts it into the prompt)
        line 1: `name` is missing, but --template takes it, so that it must be a column (did you mean `{nmae}`?)
        --
        line 1: `custom_id;prompt` is a column, but there is no such field; known are custom_id, priority, account, region, not_before, prompt, model, images, size, n, enable_sequential, thinking_mode, bbox_list, color_palette, watermark, seed (columns are separated by commas)
        line 1: `prompt` is missing, but it must be a column (or make prompts of other columns with --template)
        --
        line 1: `body` is a column, but there is no such field; known are custom_id, priority, account, region, not_before, prompt, model, images, size, n, enable_sequential, thinking_mode, bbox_list, color_palette, watermark, seed (--template "… {body} …" puts it into the prompt)
        "#);
        assert_eq!(faults("custom_id,prompt,images,not_before,region", None), "");
        assert_eq!(faults("custom_id,name,colour", Some("{name} in {colour}")), "");
    }

    #[test]
    fn cells_are_read_by_their_column() {
        let names = columns("custom_id,prompt,n,watermark,images,bbox_list,size,colour");
        let cells = [" a 1", "x, y", " 3 ", "TRUE", "a.png | https://h/b.png|", "[[[1,1,9,9]],[]]", "", ""];
        let mut found = Vec::new();
        let template = "{colour}".parse().unwrap();
        let line = object(&names, cells.into_iter(), Some(&template), &mut found);
        let wanted = serde_json::json!({
            "custom_id": " a 1", "prompt": "x, y", "n": 3, "watermark": true, "images": ["a.png", "https://h/b.png"],
            "bbox_list": [[[1, 1, 9, 9]], []], "colour": "",
        });
        assert_eq!((Value::Object(line), found), (wanted, vec![]));
        let mut found = Vec::new();
        let cells = ["a", "a secret", "two", "yes", "", "[[1,"].into_iter();
        object(&names, cells, None, &mut found);
        insta::assert_snapshot!(found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"), @r"
        `n` is a text of 3 characters, but it must be a whole number
        `watermark` is a text of 3 characters, but it must be `true` or `false`
        `bbox_list` is unreadable, but it must be JSON: EOF while parsing a value at character 4 of the cell
        ");
    }
}
