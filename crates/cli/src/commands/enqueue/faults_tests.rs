//! What a person reads on stderr, whole, for each kind of input that cannot be used.

use std::path::Path;
use std::sync::{Arc, Mutex};

use clap::Parser as _;
use dashscope::inspect::{DataUri, ImageFormat};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::app::App;
use crate::args::{Cli, Command};
use crate::input::images::tests::{png, png_of};
use crate::input::unpack::tests::{gzip, zstd};
use crate::output::Output;
use crate::settings::Sources;

/// What `imagemill enqueue <FILE in a folder> --batch b <more>` says about it. `F` stands for the folder.
async fn said_of(folder: &Path, name: &str, bytes: &[u8], more: &[&str]) -> String {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let mut line = vec!["imagemill", "enqueue", &path, "--batch", "b"];
    line.extend(more);
    let text = match Cli::try_parse_from(line) {
        Err(wrong) => wrong.to_string(),
        Ok(Cli { command: Command::Enqueue(args), .. }) => {
            let environment =
                [("DASHSCOPE_API_KEY", "sk-test"), ("IMAGEMILL_REDIS_URL", "redis://127.0.0.1:1")];
            let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let sources = Sources { environment: environment.into(), ..Sources::default() };
            let out = Output { json: false, stdout_is_terminal: false, stderr_is_terminal: false };
            let (clock, rng) = (Arc::new(worker::BootClock), Mutex::new(StdRng::seed_from_u64(1)));
            let app = App { sources, out, clock, rng };
            let failure = super::run(&app, *args).await.unwrap_err();
            format!("{}exit code {}\n", crate::report::render(&failure), failure.exit_code)
        }
        Ok(_) => unreachable!("the line says enqueue"),
    };
    text.replace(&folder.display().to_string(), "F")
}

async fn said(name: &str, bytes: &[u8], more: &[&str]) -> String {
    said_of(tempfile::tempdir().unwrap().path(), name, bytes, more).await
}

#[tokio::test]
async fn faulty_lines_are_said_with_their_line_field_and_reason() {
    let lines = [
        r#"{"custom_id": "a", "prompt": "x", "siez": "2K", "n": 9}"#,
        r#"{"custom_id": "b", "prompt": "x""#,
        r#"{"custom_id": "c", "prompt": "x"}"#,
        r#"{"custom_id": "c", "prompt": "another"}"#,
        r#"{"custom_id": "d", "method": "GET", "url": "/v1/images/generations", "body": {"model": "wan2.7-image", "prompt": "x"}}"#,
        r#"{"custom_id": "e", "prompt": "x", "account": "defualt"}"#,
        r#"{"custom_id": "f", "prompt": "x", "url": "https://h/"}"#,
    ];
    let all = [
        said("jobs.jsonl", lines.join("\n").as_bytes(), &[]).await,
        said("jobs.jsonl", b"\n\n", &[]).await,
        said("jobs.jsonl", b"custom_id,prompt\na,x\n", &[]).await,
        said("jobs.jsonl", b"{\"prompt\": \"\xFF\"}\n", &[]).await,
    ];
    insta::assert_snapshot!(all.join("---\n"), @r#"
    error: 6 of 7 lines in F/jobs.jsonl cannot be used; nothing was enqueued
      line 1 (a): `siez` is a text of 2 characters, but there is no such field; known are custom_id, prompt, model, images, size, n, enable_sequential, thinking_mode, bbox_list, color_palette, watermark, seed, priority, account, region, not_before, body (did you mean `size`?)
      line 1 (a): `n` is 9, but it must be 1 to 4 (up to 12 images are possible as a set, with `enable_sequential`)
      line 2: not JSON: EOF while parsing an object at column 32 (each line must be one JSON object)
      line 4 (c): `custom_id` is `c`, but line 3 has it already, and it names one job of a batch
      line 5 (d): `method` is `GET`, but it must be `POST`, if it is there
      line 5 (d): `url` is `/v1/images/generations`, but it must be the address of DashScope's image generation, if it is there (the body of another service is none for this one: write its prompt, model, size and n as fields of the line)
      line 5 (d): `body.prompt` is a text of 1 character, but there is no such field; known are model, input, parameters
      line 5 (d): `body.input` is missing, but it is required
      line 6 (e): `account` is `defualt`, but the settings know default (did you mean `default`?)
      line 7 (f): `url` is a text of 10 characters, but there is no such field; known are custom_id, prompt, model, images, size, n, enable_sequential, thinking_mode, bbox_list, color_palette, watermark, seed, priority, account, region, not_before, body

    hint: mend them, or enqueue the others with --skip-invalid --errors faulty.jsonl
    exit code 65
    ---
    error: there are no jobs in F/jobs.jsonl

    hint: each line is one job, such as {"prompt": "a lighthouse"}
    exit code 65
    ---
    error: 2 of 2 lines in F/jobs.jsonl cannot be used; nothing was enqueued
      line 1: not JSON: expected value at column 1 (if this is CSV, say --format csv)
      line 2: not JSON: expected value at column 1 (each line must be one JSON object)
    exit code 65
    ---
    error: 1 of 1 line in F/jobs.jsonl cannot be used; nothing was enqueued
      line 1: it is not UTF-8 text (save the file as UTF-8)
    exit code 65
    "#);
}

#[tokio::test]
async fn faulty_csv_is_said_with_its_line_and_column() {
    let rows = "custom_id,name,colour,n,watermark\n1,shoe,red,1,\n2,hat,,2,\n3,\"two\nlines\",blue,two,yes\n4,a,b\n1,sock,red,,\n5,\"open,red,1,\n6,x,y,1,\n";
    let template = ["--template", "studio photo of {name}, {colour}"];
    let all = [
        said("shoes.csv", rows.as_bytes(), &template).await,
        said("shoes.csv", b"custom_id;name\n1;shoe\n", &template).await,
        said("shoes.csv", b"custom_id,nmae,colour,colour\n1,a,b,c\n", &template).await,
        said("shoes.csv", b"", &template).await,
        said("shoes.csv", b"custom_id,name,colour\n", &template).await,
    ];
    insta::assert_snapshot!(all.join("---\n"), @r#"
    error: 5 of 6 lines in F/shoes.csv cannot be used; nothing was enqueued
      line 3 (2): `colour` is empty, but --template puts it into the prompt
      line 4 (3): `n` is a text of 3 characters, but it must be a whole number
      line 4 (3): `watermark` is a text of 3 characters, but it must be `true` or `false`
      line 6: it has 3 fields, and the header has 5 (put a text with a comma into double quotes)
      line 7 (1): `custom_id` is `1`, but line 2 has it already, and it names one job of a batch
      line 8: a quote is not closed before the file ends (what stands below was taken for its text)

    hint: mend them, or enqueue the others with --skip-invalid --errors faulty.jsonl
    exit code 65
    ---
    error: the header of F/shoes.csv cannot be used; nothing was enqueued
      line 1: `custom_id;name` is a column, but there is no such field; known are custom_id, priority, account, region, not_before, prompt, model, images, size, n, enable_sequential, thinking_mode, bbox_list, color_palette, watermark, seed, name, colour (columns are separated by commas)
      line 1: `name` is missing, but --template takes it, so that it must be a column
      line 1: `colour` is missing, but --template takes it, so that it must be a column
    exit code 65
    ---
    error: the header of F/shoes.csv cannot be used; nothing was enqueued
      line 1: `nmae` is a column, but there is no such field; known are custom_id, priority, account, region, not_before, prompt, model, images, size, n, enable_sequential, thinking_mode, bbox_list, color_palette, watermark, seed, name, colour (did you mean `name`?)
      line 1: `colour` is there twice, but every column must have a name of its own
      line 1: `name` is missing, but --template takes it, so that it must be a column (did you mean `{nmae}`?)
    exit code 65
    ---
    error: there are no jobs in F/shoes.csv

    hint: a header names the columns, and each line below it is one job
    exit code 65
    ---
    error: there are no jobs in F/shoes.csv

    hint: a header names the columns, and each line below it is one job
    exit code 65
    "#);
}

#[tokio::test]
async fn faulty_templates_are_said_before_anything_is_read() {
    let lines = r#"{"custom_id": "a", "name": "shoe", "colour": "red"}
{"custom_id": "b", "nmae": "shoe"}
{"custom_id": "c", "name": ["shoe"]}
{"custom_id": "d", "name": "shoe", "prompt": "x"}
{"custom_id": "e", "body": {}}"#;
    let all = [
        said("a.csv", b"", &["--template", "photo of {name"]).await,
        said("a.csv", b"", &["--template", "photo of a shoe"]).await,
        said("a.jsonl", lines.as_bytes(), &["--template", "photo of {name}"]).await,
    ];
    insta::assert_snapshot!(all.join("---\n"), @r"
    error: invalid value 'photo of {name' for '--template <TEXT>': `{` at character 10 is not closed; write `{{` for a brace of the prompt

    For more information, try '--help'.
    ---
    error: invalid value 'photo of a shoe' for '--template <TEXT>': it has no field such as `{name}`, so that every job would get the same prompt

    For more information, try '--help'.
    ---
    error: 5 of 5 lines in F/a.jsonl cannot be used; nothing was enqueued
      line 1 (a): `colour` is a text of 3 characters, but there is no such field; known are custom_id, prompt, model, images, size, n, enable_sequential, thinking_mode, bbox_list, color_palette, watermark, seed, priority, account, region, not_before, body, name
      line 2 (b): `nmae` is a text of 4 characters, but there is no such field; known are custom_id, prompt, model, images, size, n, enable_sequential, thinking_mode, bbox_list, color_palette, watermark, seed, priority, account, region, not_before, body, name (did you mean `name`?)
      line 2 (b): `name` is missing, but --template puts it into the prompt (did you mean `{nmae}`?)
      line 3 (c): `name` is a list of 1, but it must be a text or a number for --template
      line 4 (d): `prompt` is beside --template, but the template makes the prompts (put `{prompt}` into the template, or leave one of the two away)
      line 5 (e): `body` is beside --template, but a body has its own prompt, and --template would make another
      line 5 (e): `body.model` is missing, but it is required
      line 5 (e): `body.input` is missing, but it is required
    exit code 65
    ");
}

#[tokio::test]
async fn damaged_archives_are_said_and_never_taken_for_short_ones() {
    let text = "{\"prompt\": \"x\"}\n".repeat(20_000);
    let (gzip, zstd) = (gzip(text.as_bytes()), zstd(text.as_bytes()));
    let all = [
        said("jobs.jsonl", &gzip[..gzip.len() - 3], &[]).await,
        said("jobs.jsonl.zst", &zstd[..zstd.len() / 2], &[]).await,
    ];
    insta::assert_snapshot!(all.join("---\n"), @r"
    error: failed to read F/jobs.jsonl; nothing was enqueued
      caused by: the gzip data are damaged or cut off (pack or fetch the file again)
    exit code 65
    ---
    error: failed to read F/jobs.jsonl.zst; nothing was enqueued
      caused by: the zstd data are damaged or cut off (pack or fetch the file again)
    exit code 65
    ");
}

#[tokio::test]
async fn faulty_input_images_are_said_with_what_is_wrong_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("small.png", &png(239, 300));
    write("wide.png", &png(8_001, 4_000));
    write("strip.png", &png(2_161, 270));
    write("alpha.png", &png_of(300, 300, 6));
    write("page.png", b"<html>");
    write("empty.png", b"");
    std::fs::File::create(folder.path().join("heavy.png")).unwrap().set_len(20 * 1024 * 1024 + 1).unwrap();
    let tiny = DataUri::encode(ImageFormat::Png, &png(10, 10)).expose().to_owned();
    let alpha = DataUri::encode(ImageFormat::Png, &png_of(300, 300, 6)).expose().to_owned();
    let images = [
        "small.png",
        "wide.png",
        "strip.png",
        "alpha.png",
        "page.png",
        "empty.png",
        "heavy.png",
        "missing.png",
        ".",
        "",
        &tiny,
        &alpha,
        "data:image/png;base64,@@",
        "data:text/plain;base64,aGk=",
        "data:image/png,plain",
        "s3://bucket",
        "s3://buc ket/a.png",
        "s3://bucket//a.png",
        "http://",
        "https://user:secret@h/a.png",
        "ftp://h/a.png",
        "file://a.png",
        "/no/such.png",
    ];
    let line = |(at, image): (usize, &&str)| {
        serde_json::json!({"custom_id": at.to_string(), "prompt": "x", "images": [image]}).to_string() + "\n"
    };
    let text: String = images.iter().enumerate().map(line).collect();
    let mut said = said_of(folder.path(), "jobs.jsonl", text.as_bytes(), &[]).await;
    said = said.replace(&tiny, "TINY");
    insta::assert_snapshot!(said, @r"
    error: 23 of 23 lines in F/jobs.jsonl cannot be used; nothing was enqueued
      line 1 (0): `images[0]` is `small.png`, but the image has 239×300 pixels, and each side must have 240 to 8000 (scale it)
      line 2 (1): `images[0]` is `wide.png`, but the image has 8001×4000 pixels, and each side must have 240 to 8000 (scale it)
      line 3 (2): `images[0]` is `strip.png`, but the image has 2161×270 pixels, and its ratio must be within 1:8 and 8:1
      line 4 (3): `images[0]` is `alpha.png`, but the PNG has transparency, which the service does not support (save it without an alpha channel, or as JPEG)
      line 5 (4): `images[0]` is `page.png`, but the image is none of JPEG, PNG, BMP and WEBP (convert it to JPEG or PNG)
      line 6 (5): `images[0]` is `empty.png`, but the image is empty
      line 7 (6): `images[0]` is `heavy.png`, but the image has 20971521 bytes, and 20971520 (20 MiB) are the most (scale it)
      line 8 (7): `images[0]` is `missing.png`, but there is no such file (paths are relative to F)
      line 9 (8): `images[0]` is `.`, but it is a folder (paths are relative to F)
      line 10 (9): `images[0]` is empty, but it must be a link, a path, an s3:// object or a data URI
      line 11 (10): `images[0]` is data:image/png;base64,[57 bytes], but the image has 10×10 pixels, and each side must have 240 to 8000 (scale it)
      line 12 (11): `images[0]` is data:image/png;base64,[57 bytes], but the PNG has transparency, which the service does not support (save it without an alpha channel, or as JPEG)
      line 13 (12): `images[0]` is a data URI, but the data of the data URI are not Base64 (standard alphabet, with padding, without line breaks)
      line 14 (13): `images[0]` is a data URI, but the MIME type of the data URI is none of image/jpeg, image/png, image/bmp and image/webp
      line 15 (14): `images[0]` is a data URI, but a data URI has the form `data:<MIME type>;base64,<data>`
      line 16 (15): `images[0]` is an s3:// object, but it must have the form `s3://bucket/key`
      line 17 (16): `images[0]` is an s3:// object, but its bucket must be a bucket's name: letters, digits, `.`, `-` and `_`
      line 18 (17): `images[0]` is an s3:// object, but an object key is not empty and neither begins nor ends with `/`
      line 19 (18): `images[0]` is a link, but the link is not an absolute URL
      line 20 (19): `images[0]` is a link, but the link carries a user name or password
      line 21 (20): `images[0]` is a link of another kind, but only `https`, `http`, `s3`, `oss`, `file` and `data` are possible
      line 22 (21): `images[0]` is a file:// link, but it must be `file:///` and an absolute path
      line 23 (22): `images[0]` is `/no/such.png`, but there is no such file
    exit code 65
    ");
}
