use super::*;
use crate::input::images::tests::png;

fn rules(batch: Option<&str>) -> Rules {
    Rules {
        batch: batch.map(|name| BatchName::parse(name).unwrap()),
        collection: None,
        namespace: "imagemill".to_owned(),
        defaults: Defaults::default(),
        regions: ["ap-southeast-1", "cn-beijing"].map(|name| RegionName::parse(name).unwrap()).to_vec(),
        accounts: ["singapore", "beijing"].map(|name| AccountName::parse(name).unwrap()).to_vec(),
        template: KeyTemplate::default(),
        prompts: None,
    }
}

fn prepare(lines: &[&str]) -> Vec<Result<Prepared, Vec<Fault>>> {
    let folder = tempfile::tempdir().unwrap();
    prepare_in(folder.path(), lines)
}

fn prepare_in(folder: &std::path::Path, lines: &[&str]) -> Vec<Result<Prepared, Vec<Fault>>> {
    std::fs::write(folder.join("shoe.png"), png(300, 400)).unwrap();
    let (rules, mut images) = (rules(Some("b")), Images::new(folder.to_owned()));
    let mut preparer = Preparer::new(&rules, &mut images);
    let numbered = lines.iter().zip(1..);
    numbered.map(|(line, number)| preparer.row(number, &Row::Json(line))).collect()
}

fn one(line: &str) -> Prepared {
    prepare(&[line]).pop().unwrap().unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn faults(lines: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let all = prepare_in(folder.path(), lines).into_iter().filter_map(Result::err).flatten();
    let text = all.map(|fault| fault.to_string()).collect::<Vec<_>>().join("\n");
    text.replace(&folder.path().display().to_string(), "F")
}

#[test]
fn a_line_has_every_parameter_of_the_api_and_one_image_unless_asked_otherwise() {
    let spec = one(r#"{"custom_id": "sku-1", "prompt": "a shoe"}"#).spec;
    assert_eq!((spec.request.n, spec.request.model), (1, dashscope::Model::Wan27Image));
    let line = r##"{"custom_id": "sku-1", "prompt": "a shoe", "model": "wan2.7-image-pro", "size": "1K", "n": 2,
        "images": ["https://h/1.png", "s3://bucket/2.png", "shoe.png"], "bbox_list": [[], [], [[0, 0, 300, 400]]],
        "color_palette": [{"hex": "#000000", "ratio": "50.00%"}, {"hex": "#FFFFFF", "ratio": "25.00%"},
        {"hex": "#FF0000", "ratio": "25.00%"}], "watermark": true, "seed": 7, "priority": 0, "account": "beijing",
        "not_before": "2026-12-24T08:00:00+08:00", "enable_sequential": false}"##;
    let Prepared { spec, uploads, .. } = one(&line.replace('\n', " "));
    assert_eq!((spec.request.n, spec.request.seed, spec.request.watermark), (2, Some(7), Some(true)));
    assert_eq!((spec.images.len(), stored(&spec), uploads.len()), (3, 1, 1));
    assert_eq!(u8::from(spec.priority), 0);
    assert_eq!(spec.not_before.unwrap().to_string(), "2026-12-24T00:00:00Z");
    assert!(spec.request.images.is_empty());
}

#[test]
fn a_line_may_hold_dashscopes_own_body_with_every_kind_of_image() {
    let line = r#"{"custom_id": "a", "priority": 1, "body": {"model": "wan2.7-image", "input": {"messages": [{"role": "user",
        "content": [{"image": "shoe.png"}, {"text": "make it red"}]}]}, "parameters": {"size": "2K", "bbox_list": [[[1, 1, 9, 9]]]}}}"#;
    let spec = one(&line.replace('\n', " ")).spec;
    assert_eq!((spec.request.n, stored(&spec), u8::from(spec.priority)), (1, 1, 1));
}

#[test]
fn twelve_kinds_of_faulty_lines_give_twelve_clear_errors() {
    let long = format!(r#"{{"custom_id": "l", "prompt": "{}"}}"#, "é".repeat(5_001));
    insta::assert_snapshot!(faults(&[
        r#"{"custom_id": "a" "prompt": "x"}"#,
        r#"["a"]"#,
        r#"{"custom_id": "b"}"#,
        &long,
        r#"{"custom_id": "c", "prompt": "x", "siez": "2K"}"#,
        r#"{"custom_id": "d", "prompt": "x", "size": "2k"}"#,
        r#"{"custom_id": "e", "prompt": "x", "n": 5}"#,
        r#"{"custom_id": "f", "prompt": "x", "model": "wan2.7-imge"}"#,
        r#"{"custom_id": "g", "prompt": "x", "size": "4K"}"#,
        r##"{"custom_id": "h", "prompt": "x", "color_palette": [{"hex": "#000", "ratio": "100%"}]}"##,
        r#"{"custom_id": "i", "prompt": "x", "images": ["hat.png"]}"#,
        r#"{"custom_id": "j", "prompt": "x", "images": ["shoe.png"], "bbox_list": [[[0, 0, 301, 10]]]}"#,
        r#"{"custom_id": "ok", "prompt": "x"}"#,
        r#"{"custom_id": "ok", "prompt": "y"}"#,
        r#"{"custom_id": 17, "prompt": "x", "seed": 2147483648, "priority": 10}"#,
        r#"{"custom_id": "k", "prompt": "x", "account": "singapur", "not_before": "tomorrow"}"#,
        r#"{"custom_id": "m", "prompt": "x", "n": 1, "n": 4}"#,
    ]), @r"
    line 1: not JSON: expected `,` or `}` at column 19 (each line must be one JSON object)
    line 2: it is JSON, but no object (each line must be one JSON object)
    line 3 (b): `prompt` is missing, but it is required
    line 4 (l): `prompt` is 5001 characters long, but 5000 characters are the most (the service would cut the rest without a word)
    line 5 (c): `siez` is a text of 2 characters, but there is no such field; known are custom_id, prompt, model, images, size, n, enable_sequential, thinking_mode, bbox_list, color_palette, watermark, seed, priority, account, region, not_before, body (did you mean `size`?)
    line 6 (d): `size` is `2k`, but a size is `1K`, `2K`, `4K`, or width and height in pixels as in `1024*768` (did you mean `2K`?)
    line 7 (e): `n` is 5, but it must be 1 to 4 (up to 12 images are possible as a set, with `enable_sequential`)
    line 8 (f): `model` is `wan2.7-imge`, but it must be `wan2.7-image-pro` or `wan2.7-image` (did you mean `wan2.7-image`?)
    line 9 (g): `size` is `4K`, but `1K` and `2K` are possible with `wan2.7-image` here (`wan2.7-image-pro` makes more, from text and not as a set)
    line 10 (h): `color_palette[0].hex` is `#000`, but a colour is written `#RRGGBB`, as in `#C2D1E6`
    line 10 (h): `color_palette[0].ratio` is `100%`, but a share is written with two decimals and `%`, as in `23.51%`, and is at most `100.00%`
    line 11 (i): `images[0]` is `hat.png`, but there is no such file (paths are relative to F)
    line 12 (j): `bbox_list[0][0]` is [0, 0, 301, 10], but it must lie within the image, which has 300×400 pixels
    line 14 (ok): `custom_id` is `ok`, but line 13 has it already, and it names one job of a batch
    line 15: `custom_id` is 17, but it must be a text (put it into quotes)
    line 15: `priority` is 10, but it must be a whole number from 0 (first) to 9 (last)
    line 15: `seed` is 2147483648, but it must be 0 to 2147483647
    line 16 (k): `not_before` is `tomorrow`, but it must be a time with its zone, such as `2026-12-24T08:00:00Z`
    line 16 (k): `account` is `singapur`, but the settings know singapore, beijing (did you mean `singapore`?)
    line 17: not JSON: `n` stands twice in one object at column 49 (each line must be one JSON object)
    ");
}

#[test]
fn faults_inside_of_a_body_have_their_path_in_the_line() {
    insta::assert_snapshot!(faults(&[
        r#"{"custom_id": "a", "size": "2K", "body": {"model": "wan2.7-image", "input": {"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "parameters": {"n": 9, "sede": 1}}}"#,
        r#"{"custom_id": "b", "body": {"model": "wan2.7-image", "input": {"messages": [{"role": "user", "content": [{"text": " "}, {"image": "hat.png"}]}]}, "parameters": {"n": 9}}}"#,
        r#"{"custom_id": "c", "body": 5}"#,
        r#"{"custom_id": "d", "body": {}, "prompt": "x"}"#,
    ]), @r"
    line 1 (a): `size` is beside `body`, but it must stand inside of `body`, where there is one
    line 1 (a): `body.parameters.sede` is 1, but there is no such field; known are size, n, enable_sequential, thinking_mode, bbox_list, color_palette, watermark, seed (did you mean `seed`?)
    line 2 (b): `body.input.messages[0].content[1].image` is `hat.png`, but there is no such file (paths are relative to F)
    line 2 (b): `body.input.messages[0].content` is empty, but it must say what the image is to show
    line 2 (b): `body.parameters.n` is 9, but it must be 1 to 4 (up to 12 images are possible as a set, with `enable_sequential`)
    line 3 (c): `body` is 5, but it must be an object
    line 4 (d): `prompt` is beside `body`, but it must stand inside of `body`, where there is one
    line 4 (d): `body.model` is missing, but it is required
    line 4 (d): `body.input` is missing, but it is required
    ");
}

#[test]
fn what_follows_from_a_fault_is_not_said_as_well() {
    let count = |line: &str| prepare(&[line]).pop().unwrap().unwrap_err().len();
    assert_eq!(count(r#"{"prompt": "x", "model": "wan2.7-pro", "size": "4K"}"#), 1);
    assert_eq!(count(r#"{"prompt": 5}"#), 1);
    assert_eq!(count(r#"{"prompt": "x", "images": ["https://h/1.png"], "bbox_list": ["all"]}"#), 1);
    assert_eq!(count(r#"{"prompt": "x", "images": [5], "bbox_list": [[]]}"#), 1);
    assert_eq!(count(r#"{"prompt": "x", "n": 5, "seed": -1}"#), 2);
}

#[test]
fn no_fault_repeats_a_prompt_or_a_link() {
    let said = faults(&[
        r#"{"custom_id": "a", "prompt": ["a secret prompt"], "size": "a secret prompt; or so"}"#,
        r#"{"custom_id": "a", "prompt": "a secret prompt", "n": 9, "images": ["https://h:x/?Signature=secret"]}"#,
        r#"{"custom_id": "a", "prompt": "x", "model": "https://h/?Signature=secret and so on and so on and so on"}"#,
    ]);
    assert_eq!(said.lines().count(), 5, "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn lines_without_a_custom_id_get_one_from_what_they_ask_for() {
    let line = r#"{"prompt": "a shoe"}"#;
    let names = |lines: &[&str]| -> Vec<String> {
        prepare(lines).into_iter().map(|line| line.unwrap().spec.custom_id.unwrap().to_string()).collect()
    };
    let first = names(&[line, line, r#"{"prompt": "a hat"}"#]);
    assert!(first[0].starts_with("auto-") && first[1] == format!("{}-2", first[0]));
    assert_eq!(first[2], names(&[r#"{"prompt": "a hat"}"#])[0]);
}

#[test]
fn a_job_without_a_batch_and_a_custom_id_stays_without_one() {
    let (rules, mut images) = (rules(None), Images::new(".".into()));
    let line = Row::Json(r#"{"prompt": "a shoe"}"#);
    let prepared = Preparer::new(&rules, &mut images).row(1, &line).unwrap();
    assert_eq!(prepared.spec.custom_id, None);
}

#[test]
fn flags_stand_in_for_what_a_line_does_not_say() {
    let mut rules = rules(Some("b"));
    rules.defaults =
        Defaults { n: Some(3), size: Some(dashscope::Size::K1), seed: Some(5), ..Defaults::default() };
    let mut images = Images::new(".".into());
    let mut preparer = Preparer::new(&rules, &mut images);
    let mut request = |line: &str| preparer.row(1, &Row::Json(line)).unwrap().spec.request;
    assert_eq!(request(r#"{"prompt": "a"}"#).n, 3);
    let own = request(r#"{"prompt": "a", "n": 2, "size": "2K", "seed": 6}"#);
    assert_eq!((own.n, own.size, own.seed), (2, dashscope::Size::K2, Some(6)));
}

#[test]
fn a_custom_id_whose_keys_would_be_too_long_is_refused() {
    let line = format!(r#"{{"custom_id": "{}", "prompt": "x"}}"#, "鞋".repeat(85));
    assert!(prepare(&[&line])[0].is_ok());
    let mut rules = rules(Some("b"));
    rules.template = KeyTemplate::parse(&format!("{}/{{batch}}/{{id}}/{{index}}", "x".repeat(300))).unwrap();
    let mut images = Images::new(".".into());
    let faults = Preparer::new(&rules, &mut images).row(1, &Row::Json(&line)).unwrap_err();
    assert!(faults[0].rule.contains("1024"), "{faults:?}");
}

#[test]
fn a_parameter_without_effect_is_warned_of() {
    let prepared = one(r#"{"prompt": "x", "images": ["https://h/1.png"], "thinking_mode": true}"#);
    assert_eq!(prepared.warnings.len(), 1);
}

#[test]
fn a_line_names_an_account_or_a_region_and_not_both() {
    let mut rules = rules(Some("b"));
    let faults = |rules: &Rules, line: &str| -> Vec<String> {
        let mut images = Images::new(".".into());
        let faults = Preparer::new(rules, &mut images).row(1, &Row::Json(line)).unwrap_err();
        faults.iter().map(Fault::without_place).collect()
    };
    let both = r#"{"prompt": "x", "account": "beijing", "region": "cn-beijing"}"#;
    assert_eq!(
        faults(&rules, both),
        ["`region` is beside `account`, but it must name one of the two, `account` or `region`"]
    );
    assert_eq!(
        faults(&rules, r#"{"prompt": "x", "region": "cn-bejing"}"#),
        [
            "`region` is `cn-bejing`, but the settings know ap-southeast-1, cn-beijing (did you mean `cn-beijing`?)"
        ]
    );
    // What a line says stands before the flag, whichever of the two either names.
    rules.defaults.pinned_to = Some(PinnedTo::Account("singapore".parse().unwrap()));
    let mut images = Images::new(".".into());
    let mut prepare = |line: &str| Preparer::new(&rules, &mut images).row(1, &Row::Json(line)).unwrap().spec;
    let spec = prepare(r#"{"prompt": "x", "region": "cn-beijing"}"#);
    assert_eq!((spec.account, spec.region), (None, Some("cn-beijing".parse().unwrap())));
    assert_eq!(prepare(r#"{"prompt": "x"}"#).account, Some("singapore".parse().unwrap()));
}
