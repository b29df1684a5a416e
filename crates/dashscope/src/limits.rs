//! Every documented limit of the API, each with its source and what it applies to.
//!
//! "The API page" is Alibaba Cloud Model Studio's "Wan2.7 - image generation and editing API reference" of 2026-04-01.
//! Bounds are inclusive on both sides.

use std::ops::RangeInclusive;
use std::time::Duration;

/// Characters of the prompt. A character is a Unicode scalar value: the page counts a Chinese character, a letter, a
/// number and a symbol as one each.
///
/// Source: the API page, `text`. The service cuts what is longer without a word, so that a longer text is refused here.
/// Applies to: [`Prompt`](crate::Prompt), both models.
pub const PROMPT_CHARS_MAX: usize = 5_000;

/// Input images of one request.
///
/// Source: the API page, "Image quantity limits".
/// Applies to: [`ImageRequest::images`](crate::ImageRequest::images).
pub const INPUT_IMAGES_MAX: usize = 9;

/// Pixels along one side of an input image.
///
/// Source: the API page, "Image limits".
/// Applies to: width and height, each.
pub const INPUT_SIDE_PIXELS: RangeInclusive<u32> = 240..=8_000;

/// How many times as long as the short side the long side may be: 8 stands for 1:8 to 8:1.
///
/// Source: the API page, "Image limits" for inputs, `size` for outputs.
/// Applies to: input images, and `size` given as `W*H`.
pub const ASPECT_RATIO_MAX: u32 = 8;

/// Bytes of one input image, after any Base64 is decoded.
///
/// Source: the API page, "No more than 20 MB", read as MiB, as the service's other size limits are.
/// Applies to: every kind of input image.
pub const INPUT_BYTES_MAX: u64 = 20 * 1024 * 1024;

/// Boxes on one input image.
///
/// Source: the API page, `bbox_list`.
/// Applies to: each inner list of `bbox_list`.
pub const BOXES_PER_IMAGE_MAX: usize = 2;

/// The least total of pixels a size given as `W*H` may have: 768 × 768.
///
/// Source: the API page, `size`, "Method 2".
/// Applies to: both models, every scenario.
pub const OUTPUT_PIXELS_MIN: u64 = 768 * 768;

/// The greatest total of pixels a size given as `W*H` may have outside of [`OUTPUT_PIXELS_MAX_PRO_TEXT`]: 2048 × 2048.
///
/// Source: the API page, `size`, "Method 2".
/// Applies to: `wan2.7-image` always; `wan2.7-image-pro` with input images or as an image set.
pub const OUTPUT_PIXELS_MAX: u64 = 2048 * 2048;

/// The greatest total of pixels of the pro model's text-to-image without sets: 4096 × 4096. The specification `4K`
/// belongs to the same scenario.
///
/// Source: the API page, `size`.
/// Applies to: `wan2.7-image-pro`, no input image, `enable_sequential` false.
pub const OUTPUT_PIXELS_MAX_PRO_TEXT: u64 = 4096 * 4096;

/// Images of one request that is not a set.
///
/// Source: the API page, `n`.
/// Applies to: `enable_sequential` false. Left out, the service takes [`SERVICE_DEFAULT_N`].
pub const IMAGES: RangeInclusive<u8> = 1..=4;

/// The most images of one set; the model decides how many it makes of them.
///
/// Source: the API page, `n`.
/// Applies to: `enable_sequential` true. Left out, the service takes [`SERVICE_DEFAULT_N_SET`].
pub const IMAGES_SET: RangeInclusive<u8> = 1..=12;

/// What the service takes for `n` when it is left out and no set is asked for. It costs four images, which is why this
/// crate always sends `n`.
///
/// Source: the API page, `n`.
/// Applies to: nothing this crate sends; it is here for whoever reads a body from elsewhere.
pub const SERVICE_DEFAULT_N: u8 = 4;

/// What the service takes for `n` when it is left out of a request for a set.
///
/// Source: the API page, `n`.
/// Applies to: nothing this crate sends.
pub const SERVICE_DEFAULT_N_SET: u8 = 12;

/// Colours of a palette. Eight are recommended.
///
/// Source: the API page, `color_palette`.
/// Applies to: requests that are not a set; with a set no palette is allowed.
pub const PALETTE_COLORS: RangeInclusive<usize> = 3..=10;

/// What the shares of a palette add up to, in hundredths of a percent: 100.00 %.
///
/// Source: the API page, `color_palette`, `ratio`.
/// Applies to: the sum over all colours, exactly.
pub const PALETTE_TOTAL_HUNDREDTHS: u32 = 10_000;

/// The greatest seed; the least is 0.
///
/// Source: the API page, `seed`.
/// Applies to: both models.
pub const SEED_MAX: u32 = 2_147_483_647;

/// How long the service keeps a task and its result links after it was submitted.
///
/// Source: the API page, "Task data … is retained for only 24 hours".
/// Applies to: queries, and the links in their answers.
pub const TASK_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Tasks created per second.
///
/// Source: Model Studio's rate limits, Wan series (Beijing and Singapore alike).
/// Applies to: each model on its own, summed over all keys, workspaces and users of one main account in one region.
pub const CREATE_PER_SECOND: u32 = 5;

/// Tasks being processed at once; what is created beyond them waits as PENDING.
///
/// Source: Model Studio's rate limits, Wan series.
/// Applies to: each model on its own, per main account and region.
pub const TASKS_IN_PROCESS_MAX: u32 = 5;

/// Queries, lists and cancels per second, counted together.
///
/// Source: Model Studio, "Manage asynchronous tasks" (20 each); a second guide says that the three share it, and sharing
/// is the safe reading.
/// Applies to: one main account in one region, summed over every process that uses it.
pub const QUERY_PER_SECOND: u32 = 20;

/// The longest span of time one listing may cover.
///
/// Source: Model Studio, "Manage asynchronous tasks".
/// Applies to: `ListQuery`, when both ends are given.
pub const LIST_WINDOW_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// When the service gives up on a task by itself (`InternalError.Timeout`).
///
/// Source: Model Studio's error codes.
/// Applies to: tasks that are PENDING or RUNNING. Whoever gives up earlier may abandon an image that is made and billed.
pub const SERVICE_STOP: Duration = Duration::from_secs(3 * 60 * 60);

/// How long a file in the provider's temporary store can be used.
///
/// Source: Model Studio, "Upload local files to obtain temporary URLs".
/// Applies to: `oss://` inputs from `Client::upload_file`.
pub const UPLOAD_LIFE: Duration = Duration::from_secs(48 * 60 * 60);
