//! Every row of the API page's limits: accepted at the boundary, refused one past it.
//!
//! One test for each row, named by it, so that a table of limits can point at its test.

use super::*;
use crate::inspect::{DataUri, ImageFormat};
use crate::limits::*;

fn text_request(model: Model) -> ImageRequest {
    ImageRequest::new(model, "a lighthouse at dusk")
}

fn link(index: usize) -> ImageInput {
    ImageInput::parse(format!("https://example.com/{index}.png")).unwrap()
}

fn edit_request(model: Model, images: usize) -> ImageRequest {
    let mut request = text_request(model);
    request.images = (0..images).map(link).collect();
    request
}

fn set_request(model: Model, images: usize) -> ImageRequest {
    let mut request = edit_request(model, images);
    request.enable_sequential = true;
    request
}

fn png_input(width: u32, height: u32) -> ImageInput {
    DataUri::encode(ImageFormat::Png, &crate::inspect::tests::png(width, height, 2, &[])).into()
}

#[track_caller]
fn accepted(request: &ImageRequest) -> Vec<Warning> {
    request.check().unwrap_or_else(|violations| panic!("{violations}"))
}

/// The request is refused for exactly these fields, and every refusal says the value and the rule.
#[track_caller]
fn refused(request: &ImageRequest, fields: &[&str]) {
    let violations = request.check().expect_err("one past the boundary");
    let named: Vec<_> = violations.into_iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(named, fields, "{violations}");
    for violation in &violations {
        assert!(!violation.value.is_empty() && !violation.rule.is_empty(), "{violation:?}");
    }
}

#[track_caller]
fn size(request: &ImageRequest, size: Size) -> ImageRequest {
    ImageRequest { size, ..request.clone() }
}

fn pixels(width: u32, height: u32) -> Size {
    Size::Pixels { width, height }
}

#[test]
fn prompt_of_1_to_5000_characters_and_not_5001() {
    for chars in [1, PROMPT_CHARS_MAX] {
        accepted(&ImageRequest::new(Model::Wan27Image, "灯".repeat(chars)));
    }
    refused(&ImageRequest::new(Model::Wan27Image, "灯".repeat(PROMPT_CHARS_MAX + 1)), &["prompt"]);
    refused(&ImageRequest::new(Model::Wan27Image, "x".repeat(PROMPT_CHARS_MAX + 1)), &["prompt"]);
}

#[test]
fn prompt_counts_unicode_scalar_values_not_bytes_or_glyphs() {
    // One glyph of two scalar values: 2,500 of them are 5,000 characters.
    accepted(&ImageRequest::new(Model::Wan27Image, "e\u{301}".repeat(PROMPT_CHARS_MAX / 2)));
    refused(
        &ImageRequest::new(Model::Wan27Image, "e\u{301}".repeat(PROMPT_CHARS_MAX / 2) + "x"),
        &["prompt"],
    );
}

#[test]
fn prompt_must_not_be_blank() {
    for text in ["", " ", "\n\t\u{3000}"] {
        refused(&ImageRequest::new(Model::Wan27Image, text), &["prompt"]);
    }
}

#[test]
fn a_refused_prompt_is_named_by_its_length_only() {
    let violations = ImageRequest::new(Model::Wan27Image, "secret".repeat(1000)).check().unwrap_err();
    assert!(violations.to_string().contains("6000 characters"));
    assert!(!violations.to_string().contains("secret"));
}

#[test]
fn input_images_0_to_9_and_not_10() {
    for images in [0, 1, INPUT_IMAGES_MAX] {
        accepted(&edit_request(Model::Wan27ImagePro, images));
        accepted(&set_request(Model::Wan27ImagePro, images));
    }
    refused(&edit_request(Model::Wan27ImagePro, INPUT_IMAGES_MAX + 1), &["images"]);
}

#[test]
fn input_image_sides_240_to_8000_pixels() {
    for (width, height, fields) in
        [(240, 240, &[][..]), (8000, 8000, &[]), (239, 240, &["images[0]"]), (8000, 8001, &["images[0]"])]
    {
        let mut request = text_request(Model::Wan27Image);
        request.images = vec![png_input(width, height)];
        if fields.is_empty() {
            accepted(&request);
        } else {
            refused(&request, fields);
        }
    }
}

#[test]
fn input_image_ratio_1_to_8_and_not_beyond() {
    let mut request = text_request(Model::Wan27Image);
    request.images = vec![png_input(250, 2000), png_input(2000, 250)];
    accepted(&request);
    request.images.push(png_input(250, 2001));
    refused(&request, &["images[2]"]);
}

#[test]
fn input_image_png_without_alpha() {
    let mut request = text_request(Model::Wan27Image);
    let with_alpha = crate::inspect::tests::png(500, 500, 6, &[]);
    request.images = vec![png_input(500, 500), DataUri::encode(ImageFormat::Png, &with_alpha).into()];
    refused(&request, &["images[1]"]);
}

#[test]
fn input_image_type_must_match_its_bytes() {
    let mut request = text_request(Model::Wan27Image);
    let png = crate::inspect::tests::png(500, 500, 2, &[]);
    request.images = vec![DataUri::encode(ImageFormat::Webp, &png).into()];
    refused(&request, &["images[0]"]);
}

#[test]
fn size_specifications_of_pro_text_to_image_1k_2k_4k() {
    for spec in [Size::K1, Size::K2, Size::K4] {
        accepted(&size(&text_request(Model::Wan27ImagePro), spec));
    }
}

#[test]
fn size_4k_only_for_pro_text_to_image_without_sets() {
    for request in [
        edit_request(Model::Wan27ImagePro, 1),
        set_request(Model::Wan27ImagePro, 0),
        set_request(Model::Wan27ImagePro, 1),
        text_request(Model::Wan27Image),
        edit_request(Model::Wan27Image, 1),
        set_request(Model::Wan27Image, 0),
    ] {
        accepted(&size(&request, Size::K1));
        accepted(&size(&request, Size::K2));
        refused(&size(&request, Size::K4), &["size"]);
    }
}

#[test]
fn size_pixels_from_768_squared_and_not_one_less() {
    for request in [
        text_request(Model::Wan27ImagePro),
        edit_request(Model::Wan27ImagePro, 1),
        text_request(Model::Wan27Image),
        set_request(Model::Wan27Image, 0),
    ] {
        accepted(&size(&request, pixels(768, 768)));
        accepted(&size(&request, pixels(512, 1152)));
        refused(&size(&request, pixels(768, 767)), &["size"]);
        // 589,823 = 768² - 1 has no factors of a fair ratio; 641 × 920 = 589,720 and 641 × 921 = 590,361 are its neighbours.
        refused(&size(&request, pixels(641, 920)), &["size"]);
        accepted(&size(&request, pixels(641, 921)));
    }
}

#[test]
fn size_pixels_of_pro_text_to_image_up_to_4096_squared_and_not_one_more() {
    let request = text_request(Model::Wan27ImagePro);
    accepted(&size(&request, pixels(4096, 4096)));
    accepted(&size(&request, pixels(8192, 2048)));
    refused(&size(&request, pixels(4096, 4097)), &["size"]);
    refused(&size(&request, pixels(4097, 4096)), &["size"]);
}

#[test]
fn size_pixels_of_all_other_requests_up_to_2048_squared_and_not_one_more() {
    for request in [
        edit_request(Model::Wan27ImagePro, 1),
        set_request(Model::Wan27ImagePro, 0),
        set_request(Model::Wan27ImagePro, 9),
        text_request(Model::Wan27Image),
        edit_request(Model::Wan27Image, 9),
        set_request(Model::Wan27Image, 0),
    ] {
        accepted(&size(&request, pixels(2048, 2048)));
        refused(&size(&request, pixels(2048, 2049)), &["size"]);
        refused(&size(&request, pixels(2049, 2048)), &["size"]);
    }
}

#[test]
fn size_ratio_1_to_8_and_not_beyond() {
    let request = text_request(Model::Wan27ImagePro);
    for (width, height) in [(300, 2400), (2400, 300)] {
        accepted(&size(&request, pixels(width, height)));
    }
    for (width, height) in [(300, 2401), (2401, 300)] {
        refused(&size(&request, pixels(width, height)), &["size"]);
    }
    refused(&size(&request, pixels(0, 0)), &["size"]);
    refused(&size(&request, pixels(0, 2000)), &["size", "size"]);
}

#[test]
fn n_1_to_4_without_sets_and_not_0_or_5() {
    for model in Model::ALL {
        for n in [1, 4] {
            accepted(&ImageRequest { n, ..text_request(model) });
            accepted(&ImageRequest { n, ..edit_request(model, 2) });
        }
        for n in [0, 5, 12, 255] {
            refused(&ImageRequest { n, ..text_request(model) }, &["n"]);
        }
    }
}

#[test]
fn n_1_to_12_with_sets_and_not_0_or_13() {
    for model in Model::ALL {
        for n in [1, 5, 12] {
            accepted(&ImageRequest { n, ..set_request(model, 0) });
            accepted(&ImageRequest { n, ..set_request(model, 2) });
        }
        for n in [0, 13] {
            refused(&ImageRequest { n, ..set_request(model, 0) }, &["n"]);
        }
    }
}

#[test]
fn thinking_mode_warns_where_it_has_no_effect() {
    for thinking in [true, false] {
        let with = |request: ImageRequest| ImageRequest { thinking_mode: Some(thinking), ..request };
        assert_eq!(accepted(&with(text_request(Model::Wan27Image))), []);
        for request in [edit_request(Model::Wan27Image, 1), set_request(Model::Wan27Image, 0)] {
            assert_eq!(accepted(&request), []);
            let warnings = accepted(&with(request));
            assert_eq!(warnings.len(), 1);
            assert_eq!(warnings[0].field, "thinking_mode");
        }
    }
}

fn with_boxes(images: usize, lists: &[&[[u32; 4]]]) -> ImageRequest {
    let list = |boxes: &&[[u32; 4]]| boxes.iter().copied().map(BoundingBox::from).collect();
    ImageRequest {
        bbox_list: Some(lists.iter().map(list).collect()),
        ..edit_request(Model::Wan27ImagePro, images)
    }
}

const BOX: [u32; 4] = [0, 0, 12, 12];

#[test]
fn bbox_list_as_long_as_the_input_images_and_neither_shorter_nor_longer() {
    accepted(&with_boxes(2, &[&[], &[BOX]]));
    accepted(&with_boxes(0, &[]));
    refused(&with_boxes(2, &[&[BOX]]), &["bbox_list"]);
    refused(&with_boxes(2, &[]), &["bbox_list"]);
    refused(&with_boxes(2, &[&[], &[BOX], &[]]), &["bbox_list"]);
    refused(&with_boxes(0, &[&[]]), &["bbox_list"]);
}

#[test]
fn bbox_list_0_to_2_boxes_an_image_and_not_3() {
    accepted(&with_boxes(3, &[&[BOX, [25, 25, 100, 100]], &[], &[[10, 10, 50, 50]]]));
    refused(&with_boxes(2, &[&[], &[BOX, BOX, BOX]]), &["bbox_list[1]"]);
}

#[test]
fn bbox_list_boxes_have_x1_below_x2_and_y1_below_y2() {
    accepted(&with_boxes(1, &[&[[11, 11, 12, 12]]]));
    for bad in [[12, 0, 12, 12], [0, 12, 12, 12], [13, 0, 12, 12], [0, 13, 12, 12]] {
        refused(&with_boxes(1, &[&[BOX, bad]]), &["bbox_list[0][1]"]);
    }
}

#[test]
fn bbox_list_boxes_lie_within_their_image() {
    let mut request = with_boxes(0, &[&[[0, 0, 500, 400]], &[]]);
    request.images = vec![png_input(500, 400), png_input(500, 400)];
    accepted(&request);
    for bad in [[0, 0, 501, 400], [0, 0, 500, 401]] {
        request.bbox_list = Some(vec![vec![], vec![bad.into()]]);
        refused(&request, &["bbox_list[1][0]"]);
    }
    // Of a link nothing is known but that no input may be larger.
    accepted(&with_boxes(1, &[&[[0, 0, 8000, 8000]]]));
    refused(&with_boxes(1, &[&[[0, 0, 8001, 8000]]]), &["bbox_list[0][0]"]);
}

/// A palette of equal shares, the last of which takes the rest.
fn palette(colors: u16) -> Vec<PaletteColor> {
    let share = 10_000 / colors.max(1);
    let ratio = |index| if index + 1 == colors { 10_000 - share * (colors - 1) } else { share };
    (0..colors)
        .map(|index| PaletteColor {
            hex: HexColor::new(index as u8, 0, 0),
            ratio: Ratio::from_hundredths(ratio(index)).unwrap(),
        })
        .collect()
}

fn with_palette(colors: Vec<PaletteColor>) -> ImageRequest {
    ImageRequest { color_palette: Some(colors), ..text_request(Model::Wan27Image) }
}

#[test]
fn color_palette_3_to_10_colours_and_not_2_or_11() {
    for colors in [3, 8, 10] {
        accepted(&with_palette(palette(colors)));
        accepted(&ImageRequest { images: vec![link(0)], ..with_palette(palette(colors)) });
    }
    for colors in [1, 2, 11] {
        refused(&with_palette(palette(colors)), &["color_palette"]);
    }
    refused(&with_palette(vec![]), &["color_palette", "color_palette"]);
}

#[test]
fn color_palette_ratios_add_up_to_100_percent_exactly() {
    let mut colors = palette(3);
    accepted(&with_palette(colors.clone()));
    for hundredths in [3333, 3335] {
        colors[2].ratio = Ratio::from_hundredths(hundredths).unwrap();
        refused(&with_palette(colors.clone()), &["color_palette"]);
    }
}

#[test]
fn color_palette_only_without_sets() {
    refused(&ImageRequest { enable_sequential: true, ..with_palette(palette(3)) }, &["color_palette"]);
}

#[test]
fn color_palette_of_the_api_page_is_accepted() {
    let ratios = ["23.51%", "20.13%", "15.88%", "13.27%", "10.11%", "8.93%", "5.55%", "2.62%"];
    let color = |ratio: &str| PaletteColor { hex: "#C2D1E6".parse().unwrap(), ratio: ratio.parse().unwrap() };
    accepted(&with_palette(ratios.map(color).to_vec()));
}

#[test]
fn seed_0_to_2147483647_and_not_one_more() {
    for seed in [0, SEED_MAX] {
        accepted(&ImageRequest { seed: Some(seed), ..text_request(Model::Wan27Image) });
    }
    refused(&ImageRequest { seed: Some(SEED_MAX + 1), ..text_request(Model::Wan27Image) }, &["seed"]);
}

#[test]
fn watermark_may_be_either() {
    for watermark in [None, Some(true), Some(false)] {
        accepted(&ImageRequest { watermark, ..text_request(Model::Wan27Image) });
    }
}

#[test]
fn every_broken_rule_is_named_at_once() {
    let request = ImageRequest {
        prompt: "".into(),
        images: (0..10).map(link).collect(),
        size: Size::K4,
        n: 13,
        enable_sequential: true,
        bbox_list: Some(vec![vec![[5, 0, 5, 5].into()]]),
        color_palette: Some(palette(2)),
        seed: Some(u32::MAX),
        ..text_request(Model::Wan27Image)
    };
    let fields = [
        "prompt",
        "images",
        "size",
        "n",
        "bbox_list",
        "bbox_list[0][0]",
        "color_palette",
        "color_palette",
        "seed",
    ];
    refused(&request, &fields);
}

#[test]
fn the_scenario_follows_from_inputs_boxes_and_sets() {
    assert_eq!(text_request(Model::Wan27Image).scenario(), Scenario::TextToImage);
    assert_eq!(edit_request(Model::Wan27Image, 1).scenario(), Scenario::Edit);
    assert_eq!(with_boxes(1, &[&[]]).scenario(), Scenario::Edit);
    assert_eq!(with_boxes(1, &[&[BOX]]).scenario(), Scenario::InteractiveEdit);
    assert_eq!(set_request(Model::Wan27Image, 0).scenario(), Scenario::ImageSetFromText);
    assert_eq!(set_request(Model::Wan27Image, 1).scenario(), Scenario::ImageSetFromImages);
    assert_eq!(ImageRequest { n: 7, ..set_request(Model::Wan27Image, 0) }.expected_images_max(), 7);
}
