//! The request of `generate`: judged as a line of a file is, with every image inside of it or behind a link.

use archive::Store;
use dashscope::inspect::{DataUri, inspect};
use dashscope::limits::INPUT_BYTES_MAX;
use dashscope::request::image_violation;
use dashscope::{ImageInput, ImageRequest};
use job::InputImage;
use serde_json::{Map, Value};

use crate::app::App;
use crate::args::GenerateArgs;
use crate::exit_code;
use crate::failure::{Failure, OrFail as _};
use crate::input::images::{Images, Upload};
use crate::input::line::Defaults;
use crate::input::prepare::{Prepared, Preparer, Rules};
use crate::input::rows::Row;
use crate::settings::Settings;

/// Makes the request.
///
/// # Errors
///
/// Everything that is wrong with it, or an image that cannot be read.
pub(super) async fn make(
    app: &App,
    settings: &Settings,
    args: &GenerateArgs,
) -> Result<ImageRequest, Failure> {
    let Prepared { spec, uploads, warnings } = judge(settings, args)?;
    for warning in warnings {
        app.out.note(&format!("warning: {warning}"));
    }
    let mut images = Vec::with_capacity(spec.images.len());
    for (index, image) in spec.images.iter().enumerate() {
        images.push(match image {
            InputImage::Direct(input) => input.clone(),
            InputImage::Stored { key, .. } => inline(&uploads, key)?,
            InputImage::Object { bucket, key } => fetch(settings, index, bucket, key).await?,
        });
    }
    Ok(spec.request_with(images))
}

fn judge(settings: &Settings, args: &GenerateArgs) -> Result<Prepared, Failure> {
    let mut line = Map::new();
    line.insert("prompt".to_owned(), args.prompt.as_str().into());
    if !args.image.is_empty() {
        line.insert("images".to_owned(), args.image.clone().into());
    }
    if args.set_of_images {
        line.insert("enable_sequential".to_owned(), true.into());
    }
    let mut defaults = Defaults {
        size: args.request.size,
        n: args.request.n,
        seed: args.request.seed,
        ..Defaults::default()
    };
    defaults.model = args.request.model.unwrap_or(defaults.model);
    let rules = Rules {
        batch: None,
        collection: None,
        namespace: settings.redis().namespace,
        defaults,
        accounts: Vec::new(),
        regions: Vec::new(),
        template: settings.template().clone(),
        prompts: None,
    };
    let mut images = Images::new(".".into());
    let text = Value::Object(line).to_string();
    Preparer::new(&rules, &mut images).row(1, &Row::Json(&text)).map_err(|faults| {
        let details = faults.iter().map(crate::input::fault::Fault::without_place).collect();
        Failure::message("the request cannot be sent").details(details).exit(exit_code::BAD_INPUT)
    })
}

/// A local image, inside of the request.
fn inline(uploads: &[Upload], key: &job::ObjectKey) -> Result<ImageInput, Failure> {
    let upload = uploads.iter().find(|upload| archive::input_key(upload.digest) == *key);
    let changed = || Failure::message("an input image changed while it was read").exit(exit_code::BAD_INPUT);
    let bytes = upload.and_then(Upload::read).ok_or_else(changed)?;
    let facts = inspect(&bytes).or_fail("an input image cannot be used")?;
    Ok(ImageInput::Data(DataUri::encode(facts.format, &bytes)))
}

/// An image of a bucket, inside of the request.
async fn fetch(
    settings: &Settings,
    index: usize,
    bucket: &str,
    key: &job::ObjectKey,
) -> Result<ImageInput, Failure> {
    let shown = format!("s3://{bucket}/{key}");
    let context = format!("failed to read {shown}");
    let mut store = settings.store().unwrap_or_else(|_| archive::StoreSettings::new(bucket));
    store.bucket = bucket.to_owned();
    store.prefix.clear();
    let store = Store::connect(&store)
        .await
        .or_fail(context.clone())
        .map_err(|failure| failure.exit(exit_code::SETTINGS))?;
    let body = store.get(key, INPUT_BYTES_MAX).await.or_fail(context.clone())?;
    let missing = || Failure::message(format!("there is no object {shown}")).exit(exit_code::BAD_INPUT);
    let body = body.ok_or_else(missing)?;
    let facts = inspect(&body).map_err(|fault| {
        let violation = image_violation(index, &shown, &fault);
        Failure::message(violation.to_string()).exit(exit_code::BAD_INPUT)
    })?;
    Ok(ImageInput::Data(DataUri::encode(facts.format, &body)))
}
