//! Input images in a form that the provider knows, made when the task is created: a job may wait for days, a signature lives
//! for hours.

use bytes::Bytes;
use dashscope::inspect::{DataUri, ImageFormat};
use dashscope::limits::INPUT_BYTES_MAX;
use dashscope::{ImageInput, Model};
use job::{AccountName, InputImage, ObjectKey};

use crate::config::InputTransport;
use crate::env::Env;
use crate::ports::{CallFault, StoreFault};

/// Why the inputs are not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InputFault {
    /// It may pass, by itself or when a person has acted; it says nothing about the job.
    Passing {
        /// A short stable code.
        code: String,
        /// Why, for people.
        message: String,
    },
    /// This job can never be sent.
    Final {
        /// A short stable code.
        code: &'static str,
        /// Why, for people.
        message: String,
    },
}

impl From<StoreFault> for InputFault {
    fn from(fault: StoreFault) -> Self {
        match fault.later {
            true => Self::Passing { code: fault.code.to_owned(), message: fault.reason },
            false => Self::Final { code: fault.code, message: fault.reason },
        }
    }
}

impl From<CallFault> for InputFault {
    fn from(fault: CallFault) -> Self {
        let code = match &fault {
            CallFault::Refused(answer) if answer.class == dashscope::error::ErrorClass::InvalidRequest => {
                return Self::Final { code: "InputUploadRefused", message: fault.to_string() };
            }
            CallFault::Refused(answer) => answer.code.clone(),
            CallFault::Unanswered { .. } | CallFault::UnknownAccount => "InputUploadFailed".to_owned(),
        };
        Self::Passing { code, message: fault.to_string() }
    }
}

/// The job's inputs, in their order.
pub(crate) async fn prepare(
    env: &Env,
    account: &AccountName,
    model: Model,
    images: &[InputImage],
) -> Result<Vec<ImageInput>, InputFault> {
    // Nine at most; together, because each is a round trip and the attempt's time is short.
    futures::future::try_join_all(images.iter().map(|image| prepare_one(env, account, model, image))).await
}

async fn prepare_one(
    env: &Env,
    account: &AccountName,
    model: Model,
    image: &InputImage,
) -> Result<ImageInput, InputFault> {
    let (bucket, key) = match image {
        InputImage::Direct(input) => return Ok(input.clone()),
        InputImage::Object { bucket, key } => (Some(bucket.as_str()), key),
        InputImage::Stored { key, .. } => (None, key),
    };
    match env.config.inputs {
        InputTransport::Presign => {
            let link = env.archive.presign(bucket, key, env.config.presign_for, env.jobs.now()).await?;
            Ok(ImageInput::Link(link))
        }
        InputTransport::Inline => {
            let body = read(env, bucket, key).await?;
            let format = format_of(key, &body)?;
            Ok(ImageInput::Data(DataUri::encode(format, &body)))
        }
        InputTransport::Upload => {
            let body = read(env, bucket, key).await?;
            let format = format_of(key, &body)?;
            let ending = format.mime().trim_start_matches("image/");
            Ok(ImageInput::Temporary(env.api.upload(account, model, body, ending).await?))
        }
    }
}

async fn read(env: &Env, bucket: Option<&str>, key: &ObjectKey) -> Result<Bytes, InputFault> {
    env.archive.read(bucket, key, INPUT_BYTES_MAX).await?.ok_or_else(|| InputFault::Final {
        code: "InputGone",
        message: format!("the input `{key}` is no longer in the bucket"),
    })
}

fn format_of(key: &ObjectKey, body: &[u8]) -> Result<ImageFormat, InputFault> {
    ImageFormat::of(body).ok_or_else(|| InputFault::Final {
        code: "InputNotAnImage",
        message: format!("`{key}` is none of the image formats that the provider takes"),
    })
}
