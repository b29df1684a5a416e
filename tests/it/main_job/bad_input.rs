use tests::World;

/// Twelve kinds of faulty lines, and one good one.
const LINES: &[(&str, &str)] = &[
    ("JSON", r#"{"custom_id": "a", "prompt": "#),
    ("prompt", r#"{"custom_id": "b"}"#),
    ("model", r#"{"custom_id": "c", "prompt": "x", "model": "wan9"}"#),
    ("size", r#"{"custom_id": "d", "prompt": "x", "model": "wan2.7-image", "size": "4K"}"#),
    ("n", r#"{"custom_id": "e", "prompt": "x", "n": 5}"#),
    ("promt", r#"{"custom_id": "f", "promt": "x"}"#),
    ("seed", r#"{"custom_id": "g", "prompt": "x", "seed": 2147483648}"#),
    (
        "color_palette",
        r##"{"custom_id": "h", "prompt": "x", "color_palette": [{"hex": "#FFFFFF", "ratio": "50.00%"}, {"hex": "#000000", "ratio": "50.00%"}]}"##,
    ),
    (
        "bbox_list",
        r#"{"custom_id": "i", "prompt": "x", "images": ["https://example.com/a.png"], "bbox_list": [[[5, 5, 1, 9]]]}"#,
    ),
    ("images", r#"{"custom_id": "j", "prompt": "x", "images": ["missing.png"]}"#),
    ("custom_id", r#"{"custom_id": "good", "prompt": "a second line of this name"}"#),
    ("priority", r#"{"custom_id": "l", "prompt": "x", "priority": 11}"#),
];

fn file() -> String {
    let mut text = String::from("{\"custom_id\": \"good\", \"prompt\": \"a good line\"}\n");
    for (_, line) in LINES {
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_kinds_of_faulty_lines_give_twelve_errors_and_enqueue_nothing() {
    let world = World::quick().await.unwrap();
    world.write("bad.jsonl", &file()).unwrap();
    let output =
        world.imagemill.run(&["enqueue", "bad.jsonl", "--batch", "b"]).await.unwrap().expect_code(65);
    for (at, (field, _)) in LINES.iter().enumerate() {
        let line = format!("line {}", at + 2);
        assert!(
            output.stderr.lines().any(|said| said.contains(&line) && said.contains(field)),
            "nothing says `{line}` and `{field}`:\n{}",
            output.stderr
        );
    }
    let queue = world.redis.queue(1).await.unwrap();
    assert!(queue.counts().await.unwrap().values().all(|&count| count == 0));
    let shown = world.imagemill.run(&["batch", "show", "b"]).await.unwrap();
    assert_ne!(shown.code, 0, "the batch does not exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rest_can_be_enqueued_and_the_faulty_lines_are_written_out() {
    let world = World::quick().await.unwrap();
    world.write("bad.jsonl", &file()).unwrap();
    let arguments =
        ["enqueue", "bad.jsonl", "--batch", "b", "--skip-invalid", "--errors", "errors.jsonl", "--json"];
    let output = world.imagemill.run(&arguments).await.unwrap();
    let report = output.json();
    assert_eq!(
        (&report["enqueued"], &report["invalid"]),
        (&1.into(), &12.into()),
        "{report}\n{}",
        output.stderr
    );
    let errors = std::fs::read_to_string(world.folder().join("errors.jsonl")).unwrap();
    assert_eq!(errors.lines().count(), 12, "{errors}");
    for (at, line) in errors.lines().enumerate() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["line"], at + 2, "{line}");
    }
    world.imagemill.run(&["worker", "--until-idle"]).await.unwrap().expect_code(0);
    assert_eq!(world.check_all_succeeded().await.unwrap().images, 1);
}
