#![doc = include_str!("../README.md")]

pub mod api_key;
pub mod base_url;
#[cfg(feature = "client")]
pub mod client;
pub mod error;
pub mod id;
pub mod image_url;
pub mod inspect;
pub mod limits;
pub mod model;
pub mod request;
pub mod response;

pub use api_key::{ApiKey, ApiKeyError};
pub use base_url::{BaseUrl, BaseUrlError};
pub use error::{ApiError, ErrorClass};
pub use id::{TaskId, WorkspaceId};
pub use image_url::{ImageUrl, ImageUrlError};
pub use model::{Model, UnknownModel};
pub use request::{ImageInput, ImageRequest, Prompt, Scenario, Size, Violation, Violations, Warning};
pub use response::TaskStatus;
