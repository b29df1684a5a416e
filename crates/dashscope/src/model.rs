//! The two models this crate speaks to.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A Wan2.7 image model.
///
/// ```
/// use dashscope::Model;
///
/// assert_eq!("wan2.7-image-pro".parse(), Ok(Model::Wan27ImagePro));
/// assert_eq!(Model::Wan27Image.to_string(), "wan2.7-image");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Model {
    /// `wan2.7-image-pro`: the only one with 4K output.
    Wan27ImagePro,
    /// `wan2.7-image`: faster and cheaper, up to 2K.
    Wan27Image,
}

impl Model {
    /// Every model, in the order in which they are listed to people.
    pub const ALL: [Self; 2] = [Self::Wan27ImagePro, Self::Wan27Image];

    /// The name the service knows it by.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wan27ImagePro => "wan2.7-image-pro",
            Self::Wan27Image => "wan2.7-image",
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<Model> for &'static str {
    fn from(model: Model) -> Self {
        model.as_str()
    }
}

impl FromStr for Model {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|model| model.as_str() == name).ok_or_else(|| UnknownModel::new(name))
    }
}

impl TryFrom<String> for Model {
    type Error = UnknownModel;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse()
    }
}

/// A model name that is not one of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a Wan2.7 image model: use `wan2.7-image-pro` or `wan2.7-image`")]
pub struct UnknownModel {
    /// The name, cut after 64 characters.
    pub name: String,
}

impl UnknownModel {
    fn new(name: &str) -> Self {
        Self { name: name.chars().take(64).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_model_is_read_back_from_its_name_and_its_json() {
        for model in Model::ALL {
            assert_eq!(model.as_str().parse(), Ok(model));
            let json = serde_json::to_string(&model).unwrap();
            assert_eq!(json, format!("\"{model}\""));
            assert_eq!(serde_json::from_str::<Model>(&json).unwrap(), model);
        }
    }

    #[test]
    fn another_name_is_refused_and_named() {
        for name in ["", "wan2.6-image", "WAN2.7-IMAGE", "wan2.7-image "] {
            assert_eq!(name.parse::<Model>().unwrap_err().name, name);
        }
    }
}
