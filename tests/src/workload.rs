//! Mixed work: every scenario of the API page, with its parameters drawn from a seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// How heavy the pictures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sizes {
    /// Mostly 1K: many jobs.
    Small,
    /// 2K and 4K.
    Large,
}

/// `count` lines of JSONL, each with a prompt of its own, so that a ledger can tell them apart.
///
/// Without sets the number of images is certain: `n`.
pub fn mixed(seed: u64, count: usize, sizes: Sizes) -> String {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut text = String::new();
    for number in 0..count {
        text.push_str(&line(&mut rng, number, sizes).to_string());
        text.push('\n');
    }
    text
}

fn line(rng: &mut StdRng, number: usize, sizes: Sizes) -> Value {
    let prompt = format!(
        "Picture {number} of a seeded workload, {}",
        ["at dawn", "by night", "雨后", "in fog"][number % 4]
    );
    let custom_id = format!("job-{number:06}");
    let link = "https://example.com/input.png";
    if sizes == Sizes::Large {
        let four = number.is_multiple_of(5);
        let model = if four { "wan2.7-image-pro" } else { "wan2.7-image" };
        return json!({"custom_id": custom_id, "prompt": prompt, "model": model, "size": if four { "4K" } else { "2K" }});
    }
    let model = ["wan2.7-image", "wan2.7-image-pro"][rng.random_range(0..2)];
    let mut line = json!({"custom_id": custom_id, "prompt": prompt, "model": model, "size": "1K"});
    match rng.random_range(0..10) {
        0 => line["n"] = json!(rng.random_range(2..=4)),
        1 => line["size"] = json!(["768*768", "2048*512", "1280*720"][rng.random_range(0..3)]),
        2 => line["images"] = json!([link]),
        3 => line["images"] = json!([link, link]),
        4 => {
            line["images"] = json!([link, link]);
            line["bbox_list"] = json!([[], [[10, 10, 200, 200]]]);
        }
        5 => {
            line["enable_sequential"] = json!(true);
            line["n"] = json!(rng.random_range(2..=4));
        }
        6 => {
            line["enable_sequential"] = json!(true);
            line["n"] = json!(3);
            line["images"] = json!([link]);
        }
        7 => {
            line["color_palette"] = json!([
                {"hex": "#C2D1E6", "ratio": "50.00%"}, {"hex": "#636574", "ratio": "30.00%"}, {"hex": "#CBD4E4", "ratio": "20.00%"}
            ]);
        }
        8 => line["seed"] = json!(rng.random_range(0..=2_147_483_647_u32)),
        _ => {
            line["thinking_mode"] = json!(false);
            line["watermark"] = json!(true);
        }
    }
    line
}
