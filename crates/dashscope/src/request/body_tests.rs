//! Bodies: what is written is read back, what is foreign is refused by its path, and nothing panics.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn size() -> impl Strategy<Value = Size> {
    let pixels = (0u32..9000, 0u32..9000).prop_map(|(width, height)| Size::Pixels { width, height });
    prop_oneof![Just(Size::K1), Just(Size::K2), Just(Size::K4), pixels]
}

fn image() -> impl Strategy<Value = ImageInput> {
    prop_oneof![
        "https://[a-z]{1,9}\\.example/[a-z0-9]{1,9}\\.png(\\?Expires=[0-9]{10}&Signature=[a-zA-Z0-9%]{4})?",
        "oss://[a-z0-9/]{0,9}[a-z]\\.png",
        Just("data:image/png;base64,AAAA".to_owned()),
    ]
    .prop_filter_map("accepted", |text| ImageInput::parse(text).ok())
}

fn color() -> impl Strategy<Value = PaletteColor> {
    (any::<[u8; 3]>(), 0u16..=10_000).prop_map(|([red, green, blue], hundredths)| PaletteColor {
        hex: HexColor::new(red, green, blue),
        ratio: Ratio::from_hundredths(hundredths).unwrap(),
    })
}

fn bbox() -> impl Strategy<Value = BoundingBox> {
    any::<[u32; 4]>().prop_map(BoundingBox::from)
}

/// Any request that can be built, allowed or not.
fn any_request() -> impl Strategy<Value = ImageRequest> {
    (
        prop::sample::select(&Model::ALL[..]),
        ".{0,40}",
        prop::collection::vec(image(), 0..11),
        size(),
        any::<(u8, bool, Option<bool>, Option<bool>, Option<u32>)>(),
        prop::option::of(prop::collection::vec(prop::collection::vec(bbox(), 0..4), 0..4)),
        prop::option::of(prop::collection::vec(color(), 0..12)),
    )
        .prop_map(|(model, prompt, images, size, flags, bbox_list, color_palette)| {
            let (n, enable_sequential, thinking_mode, watermark, seed) = flags;
            ImageRequest {
                images,
                size,
                n,
                enable_sequential,
                thinking_mode,
                watermark,
                seed,
                bbox_list,
                color_palette,
                ..ImageRequest::new(model, prompt)
            }
        })
}

/// A request that is allowed: few of the above are.
fn allowed_request() -> impl Strategy<Value = ImageRequest> {
    let sides = (800u32..2000, 800u32..2000).prop_map(|(width, height)| Size::Pixels { width, height });
    let palette = prop::option::of(Just(
        ["50.00%", "49.99%", "0.01%"]
            .map(|ratio| PaletteColor { hex: HexColor::new(1, 2, 3), ratio: ratio.parse().unwrap() }),
    ));
    (
        prop::sample::select(&Model::ALL[..]),
        "[^\\p{White_Space}].{0,60}",
        prop::collection::vec("https://[a-z]{1,9}\\.example/1\\.png", 0..=9),
        prop_oneof![Just(Size::K1), Just(Size::K2), sides],
        (1u8..=4, any::<(bool, Option<bool>, Option<bool>)>(), prop::option::of(0..=i32::MAX as u32)),
        (any::<bool>(), palette),
    )
        .prop_map(|(model, prompt, links, size, (n, flags, seed), (boxes, palette))| {
            let (enable_sequential, thinking_mode, watermark) = flags;
            let images: Vec<_> = links.into_iter().map(|link| ImageInput::parse(link).unwrap()).collect();
            let bbox_list = boxes.then(|| images.iter().map(|_| vec![[0, 0, 10, 20].into()]).collect());
            ImageRequest {
                images,
                size,
                n,
                enable_sequential,
                thinking_mode,
                watermark,
                seed,
                bbox_list,
                color_palette: palette.filter(|_| !enable_sequential).map(Vec::from),
                ..ImageRequest::new(model, prompt)
            }
        })
}

proptest! {
    #[test]
    fn an_allowed_request_is_accepted_and_read_back_from_its_own_body(request in allowed_request()) {
        prop_assert!(request.check().is_ok(), "{:?}", request.check());
        let parsed = ImageRequest::from_body(&request.to_body()).unwrap();
        prop_assert_eq!(parsed.n, Some(request.n));
        prop_assert_eq!(parsed.request, request);
    }

    #[test]
    fn any_request_is_judged_without_a_panic_and_read_back_from_its_own_body(request in any_request()) {
        let _ = request.check();
        let bytes = request.to_body_bytes();
        prop_assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), request.to_body());
        let back: ImageRequest = serde_json::from_slice(&bytes).unwrap();
        prop_assert_eq!(back, request);
    }

    #[test]
    fn neither_prompts_nor_links_are_seen_in_what_is_printed(request in any_request()) {
        let mut request = request;
        request.prompt = "SECRET WORDS".into();
        request.images.push(ImageInput::parse("https://h/1.png?Signature=SECRET".to_owned()).unwrap());
        let printed = format!("{request:?} {:?}", request.check());
        prop_assert!(!printed.contains("SECRET"));
    }

    #[test]
    fn no_body_makes_the_reader_panic(body in json_value()) {
        let _ = ImageRequest::from_body(&body);
        let mut wrapped = page_body();
        wrapped["parameters"] = body.clone();
        let _ = ImageRequest::from_body(&wrapped);
        for name in Parameters::NAMES {
            wrapped["parameters"] = json!({ name: body });
            let _ = ImageRequest::from_body(&wrapped);
        }
        wrapped["input"]["messages"][0]["content"] = body;
        let _ = ImageRequest::from_body(&wrapped);
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let name =
            prop_oneof!["text", "image", "hex", "ratio", "model", "input", "messages", "n", "[a-z]{1,5}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(name, inner, 0..5)
                .prop_map(|fields| Value::from(serde_json::Map::from_iter(fields))),
        ]
    })
}

/// The interactive edit of the API page, with every parameter.
fn page_body() -> Value {
    json!({
        "model": "wan2.7-image-pro",
        "input": {"messages": [{"role": "user", "content": [
            {"image": "https://img.example/1.png"},
            {"text": "Place the clock from image 1 in the selected area of image 2"},
            {"image": "https://img.example/2.png"},
        ]}]},
        "parameters": {
            "bbox_list": [[], [[989, 515, 1138, 681]]],
            "size": "2K",
            "n": 1,
            "watermark": false,
            "thinking_mode": true,
            "seed": 7,
            "enable_sequential": false,
            "color_palette": [
                {"hex": "#C2D1E6", "ratio": "50.00%"},
                {"hex": "#CDD8E9", "ratio": "30.00%"},
                {"hex": "#B5C8DB", "ratio": "20.00%"},
            ],
        },
    })
}

#[test]
fn the_body_has_the_images_first_in_their_order_and_then_the_text() {
    let request = ImageRequest::from_body(&page_body()).unwrap().request;
    let body = request.to_body();
    let content = body["input"]["messages"][0]["content"].as_array().unwrap();
    assert_eq!(content[0], json!({"image": "https://img.example/1.png"}));
    assert_eq!(content[1], json!({"image": "https://img.example/2.png"}));
    assert!(content[2]["text"].as_str().unwrap().starts_with("Place the clock"));
    let mut expected = page_body()["parameters"].clone();
    expected.as_object_mut().unwrap().remove("enable_sequential"); // false is the service's own default
    assert_eq!(body["parameters"], expected);
    assert_eq!(request.scenario(), Scenario::InteractiveEdit);
}

#[test]
fn every_kind_of_request_of_the_api_page_is_read_and_accepted() {
    let text = || json!({"text": "a flower shop"});
    let image = |n: u8| json!({"image": format!("https://img.example/{n}.webp")});
    let flags = || json!({"size": "2K", "n": 1, "watermark": false, "thinking_mode": true});
    let set = json!({"enable_sequential": true, "n": 4, "size": "2K"});
    let cases = [
        (vec![text()], flags(), Scenario::TextToImage, 0),
        (vec![image(1), image(2), text()], flags(), Scenario::Edit, 1),
        (vec![text(), image(1), image(2)], flags(), Scenario::Edit, 1),
        (vec![text()], set.clone(), Scenario::ImageSetFromText, 0),
        (vec![image(1), text()], set, Scenario::ImageSetFromImages, 0),
    ];
    for (content, parameters, scenario, warnings) in cases {
        let body = json!({
            "model": "wan2.7-image-pro",
            "input": {"messages": [{"role": "user", "content": content}]},
            "parameters": parameters,
        });
        let request = ImageRequest::from_body(&body).unwrap().request;
        assert_eq!(request.scenario(), scenario);
        assert_eq!(
            request.check().unwrap().len(),
            warnings,
            "the page itself sets thinking_mode where it has no effect"
        );
    }
}

#[test]
fn size_and_n_are_sent_even_when_nothing_was_asked_for() {
    let body = ImageRequest::new(Model::Wan27Image, "x").to_body();
    assert_eq!(body["parameters"], json!({"size": "2K", "n": 1}));
}

#[test]
fn a_body_without_n_says_so_and_gets_one_image() {
    for parameters in [json!({}), json!({"n": null}), Value::Null] {
        let mut body = page_body();
        body["parameters"] = parameters;
        let parsed = ImageRequest::from_body(&body).unwrap();
        assert_eq!((parsed.n, parsed.request.n), (None, 1));
    }
}

/// Replaces one value in the page's body and expects exactly one violation.
#[track_caller]
fn refused_at(pointer: &str, value: Value, field: &str) -> Violation {
    let mut body = page_body();
    match body.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            body.pointer_mut(parent).unwrap()[name] = value;
        }
    }
    let violations = ImageRequest::from_body(&body).unwrap_err().into_vec();
    assert_eq!(violations.iter().map(|v| v.field.as_str()).collect::<Vec<_>>(), [field]);
    violations.into_iter().next().unwrap()
}

#[test]
fn what_a_body_must_not_have_is_refused_with_its_path() {
    const MESSAGE: &str = "/input/messages/0";
    let message = |rest: &str| format!("{MESSAGE}{rest}");
    let cases = [
        ("/model", json!("wan2.7-image-por"), "model"),
        ("/model", json!(7), "model"),
        ("/model", json!(null), "model"),
        ("/stream", json!(true), "stream"),
        ("/input", json!("x"), "input"),
        ("/input/prompt", json!("x"), "input.prompt"),
        ("/input/messages", json!([]), "input.messages"),
        ("/input/messages", json!([{}, {}]), "input.messages"),
        ("/input/messages/0", json!("hi"), "input.messages[0]"),
        (&message("/role"), json!("system"), "input.messages[0].role"),
        (&message("/name"), json!("x"), "input.messages[0].name"),
        (&message("/content"), json!("hi"), "input.messages[0].content"),
        (&message("/content/1"), json!({"image": "https://h/1"}), "input.messages[0].content"),
        (&message("/content/0"), json!({"text": "second"}), "input.messages[0].content"),
        (&message("/content/0"), json!({"video": "x"}), "input.messages[0].content[0].video"),
        (&message("/content/0"), json!({"image": null}), "input.messages[0].content[0]"),
        (&message("/content/0"), json!({"type": "image"}), "input.messages[0].content[0]"),
        (&message("/content/0"), json!(5), "input.messages[0].content[0]"),
        (&message("/content/0/image"), json!("s3://b/k"), "input.messages[0].content[0].image"),
        (&message("/content/0/image"), json!(5), "input.messages[0].content[0].image"),
        (&message("/content/1/text"), json!(["x"]), "input.messages[0].content[1].text"),
        ("/parameters", json!([]), "parameters"),
        ("/parameters/negative_prompt", json!("x"), "parameters.negative_prompt"),
        ("/parameters/size", json!("1024x768"), "parameters.size"),
        ("/parameters/size", json!(1024), "parameters.size"),
        ("/parameters/n", json!("2"), "parameters.n"),
        ("/parameters/n", json!(-1), "parameters.n"),
        ("/parameters/n", json!(256), "parameters.n"),
        ("/parameters/n", json!(1.5), "parameters.n"),
        ("/parameters/seed", json!(-1), "parameters.seed"),
        ("/parameters/seed", json!(4_294_967_296_u64), "parameters.seed"),
        ("/parameters/watermark", json!("false"), "parameters.watermark"),
        ("/parameters/thinking_mode", json!(1), "parameters.thinking_mode"),
        ("/parameters/enable_sequential", json!(0), "parameters.enable_sequential"),
        ("/parameters/bbox_list", json!({}), "parameters.bbox_list"),
        ("/parameters/bbox_list/0", json!(1), "parameters.bbox_list[0]"),
        ("/parameters/bbox_list/1/0", json!([1, 2, 3]), "parameters.bbox_list[1][0]"),
        ("/parameters/bbox_list/1/0", json!([1, 2, 3, 4, 5]), "parameters.bbox_list[1][0]"),
        ("/parameters/bbox_list/1/0/2", json!(1.5), "parameters.bbox_list[1][0]"),
        ("/parameters/bbox_list/1/0/2", json!(-1), "parameters.bbox_list[1][0]"),
        ("/parameters/color_palette", json!({}), "parameters.color_palette"),
        ("/parameters/color_palette/2", json!("#fff"), "parameters.color_palette[2]"),
        ("/parameters/color_palette/2/hex", json!("#FFF"), "parameters.color_palette[2].hex"),
        ("/parameters/color_palette/2/ratio", json!("20%"), "parameters.color_palette[2].ratio"),
        ("/parameters/color_palette/2/ratio", json!(20.0), "parameters.color_palette[2].ratio"),
        ("/parameters/color_palette/2/weight", json!(1), "parameters.color_palette[2].weight"),
    ];
    for (pointer, value, field) in cases {
        refused_at(pointer, value, field);
    }
}

#[test]
fn a_slip_in_a_name_or_a_size_is_answered_with_the_one_that_was_meant() {
    let hint = |pointer, value, field| refused_at(pointer, value, field).hint.unwrap();
    assert_eq!(hint("/model", json!("wan2.7-imgae"), "model"), "did you mean `wan2.7-image`?");
    assert_eq!(hint("/parameters/sede", json!(1), "parameters.sede"), "did you mean `seed`?");
    assert_eq!(hint("/parameters/size", json!("2k"), "parameters.size"), "did you mean `2K`?");
}

#[test]
fn everything_that_cannot_be_read_is_named_at_once_and_nothing_private_is_repeated() {
    let body = json!({
        "model": "gpt", "promt": "SECRET", "input": {"messages": [{"content": [{"image": "SECRET"}]}]},
        "parameters": {"n": "SECRET", "size": "https://SECRET"},
    });
    let violations = ImageRequest::from_body(&body).unwrap_err();
    let fields: Vec<_> = violations.into_iter().map(|v| v.field.as_str()).collect();
    let expected = [
        "promt",
        "model",
        "input.messages[0].role",
        "input.messages[0].content",
        "parameters.size",
        "parameters.n",
    ];
    assert_eq!(fields, expected);
    assert!(!violations.to_string().contains("SECRET"), "{violations}");
}
