//! Thumbnails of a batch, through the built binary.

use dashscope_sim::{Act, Fault, On};
use job::ObjectKey;
use tests::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_sheet_shows_every_image_and_says_why_others_are_missing() {
    let world = World::quick().await.unwrap();
    let refused = Act::Failed { code: "DataInspectionFailed".into(), message: "no".into(), flat: false };
    world.simulator.faults().add(Fault::new(On::Task, refused).prompt_contains("bad")).unwrap();
    let lines = "{\"custom_id\": \"two<b>\", \"prompt\": \"a\", \"n\": 2, \"size\": \"1K\"}\n\
                 {\"custom_id\": \"bad\", \"prompt\": \"bad\"}\n\
                 {\"custom_id\": \"one\", \"prompt\": \"b\", \"size\": \"768*1024\"}\n";
    world.write("three.jsonl", lines).unwrap();
    let imagemill = &world.imagemill;
    imagemill.run(&["enqueue", "three.jsonl", "--batch", "b"]).await.unwrap().expect_code(0);
    imagemill.run(&["worker", "--until-idle"]).await.unwrap();

    let said = imagemill.run(&["batch", "sheet", "b"]).await.unwrap().expect_code(0);
    assert_eq!(said.stdout, "3 images on b.html\n");
    let page = std::fs::read_to_string(world.folder().join("b.html")).unwrap();
    assert_eq!(page.matches("data:image/jpeg;base64,/9j/").count(), 3, "{page}");
    let order: Vec<_> = ["two&lt;b&gt; · 0", "two&lt;b&gt; · 1", "DataInspectionFailed", ">one<"]
        .map(|text| page.find(text).unwrap_or_else(|| panic!("{text} is not on the page")))
        .into();
    assert!(order.is_sorted(), "in the order of the input");
    assert!(page.contains("width=\"192\" height=\"256\""), "the sides keep their ratio");
    assert!(page.contains("s3://") && !page.contains("<b>0"), "{page}");

    let said = imagemill.run(&["batch", "sheet", "b", "--out", "p.html", "--per-page", "3", "--json"]).await;
    assert_eq!(said.unwrap().expect_code(0).json()["files"], serde_json::json!(["p.html", "p~2.html"]));

    // An image that somebody has replaced is not shown for what it was.
    let store = world.store.store().await.unwrap();
    store.delete(&ObjectKey::parse("b/one/0.png").unwrap()).await.unwrap();
    let said = imagemill.run(&["batch", "sheet", "b"]).await.unwrap().expect_code(1);
    assert!(said.stderr.contains("1 image could not be read"), "{}", said.stderr);
    let page = std::fs::read_to_string(world.folder().join("b.html")).unwrap();
    assert!(page.contains("not readable") && page.contains("is not there any more"), "{page}");
}
