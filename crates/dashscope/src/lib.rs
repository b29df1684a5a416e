//! DashScope's Wan2.7 image API as a typed SDK.

pub mod image_url;

pub use image_url::{ImageUrl, ImageUrlError};
