//! Input images: what the text of one names, and what is known of it before anything is sent.
//!
//! Local files are read whole and looked at once per run, however many lines name them; their bytes are read again when they
//! are uploaded. Links are judged by their syntax only.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use archive::{Sha256Digest, input_key};
use dashscope::inspect::{DataUri, DataUriError, ImageFacts, inspect, parse_data_uri};
use dashscope::limits::INPUT_BYTES_MAX;
use dashscope::request::{OssUri, image_violation};
use dashscope::{ImageInput, ImageUrl, Violation};
use job::{InputImage, ObjectKey};

/// An image that was found acceptable.
#[derive(Debug, Clone)]
pub(crate) struct Looked {
    /// Where the worker will find it.
    pub(crate) image: InputImage,
    /// What is known of it, where it is at hand.
    pub(crate) facts: Option<ImageFacts>,
    /// What has to be uploaded first.
    pub(crate) upload: Option<Upload>,
}

/// An image that has to be in the bucket before the job is enqueued.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    /// Its sum, which names it.
    pub(crate) digest: Sha256Digest,
    /// Such as `image/png`.
    pub(crate) mime: &'static str,
    /// Its size in bytes.
    pub(crate) bytes: u64,
    /// Where its bytes are.
    pub(crate) from: Bytes,
}

/// Where an image's bytes are.
#[derive(Debug, Clone)]
pub(crate) enum Bytes {
    /// In a file.
    File(PathBuf),
    /// In the line.
    Inline(DataUri),
}

/// Looks at images, each file once.
#[derive(Debug)]
pub(crate) struct Images {
    folder: PathBuf,
    files: HashMap<PathBuf, Result<(ImageFacts, Sha256Digest), FileFault>>,
}

/// Why a file is no input image.
#[derive(Debug, Clone)]
enum FileFault {
    /// It cannot be read.
    Unreadable(&'static str),
    /// The service would not take it.
    Image(dashscope::inspect::ImageFault),
}

impl Images {
    /// Paths are relative to `folder`.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, files: HashMap::new() }
    }

    /// What the text of image `index` names, or why it cannot be used. `field` is its path in the line.
    pub(crate) fn look(&mut self, index: usize, field: &str, text: &str) -> Result<Looked, Violation> {
        let refuse = |shown: &str, rule: String| Violation::new(field, shown, rule);
        let scheme = text.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
        let linked = |image| Looked { image, facts: None, upload: None };
        let direct = |image| linked(InputImage::Direct(image));
        match scheme.as_deref() {
            Some("http" | "https") => ImageUrl::new(text.to_owned())
                .map(|link| direct(ImageInput::Link(link)))
                .map_err(|error| refuse("a link", error.to_string())),
            Some("oss") => OssUri::new(text.to_owned())
                .map(|uri| direct(ImageInput::Temporary(uri)))
                .map_err(|error| refuse("a temporary file", error.to_string())),
            Some("s3") => object(text).map(linked).map_err(|rule| refuse("an s3:// object", rule)),
            Some("data") => Self::look_at_data(index, field, text),
            Some("file") => match text
                .get(5..)
                .and_then(|rest| rest.strip_prefix("//"))
                .filter(|path| path.starts_with('/'))
            {
                Some(path) => self.look_at_file(index, field, path),
                None => {
                    Err(refuse("a file:// link", "it must be `file:///` and an absolute path".to_owned()))
                }
            },
            Some(_) if text.contains("://") => Err(refuse(
                "a link of another kind",
                "only `https`, `http`, `s3`, `oss`, `file` and `data` are possible".to_owned(),
            )),
            _ => self.look_at_file(index, field, text),
        }
    }

    fn look_at_data(index: usize, field: &str, text: &str) -> Result<Looked, Violation> {
        let whole = |error: &dyn std::error::Error| {
            error.source().map_or_else(|| error.to_string(), |cause| cause.to_string())
        };
        let uri = parse_data_uri(text).map_err(|error| Violation::new(field, "a data URI", whole(&error)))?;
        let facts = uri.inspect().map_err(|error| match &error {
            DataUriError::Image { source } => {
                let mut violation = image_violation(index, &uri.to_string(), source);
                field.clone_into(&mut violation.field);
                violation
            }
            other => Violation::new(field, &uri, whole(other)),
        })?;
        let digest = Sha256Digest::of(&uri.decode());
        Ok(stored(facts, digest, Bytes::Inline(uri)))
    }

    fn look_at_file(&mut self, index: usize, field: &str, text: &str) -> Result<Looked, Violation> {
        let shown = format!("`{text}`");
        if text.trim().is_empty() || text.contains('\0') {
            let rule = "it must be a link, a path, an s3:// object or a data URI";
            return Err(Violation::new(field, if text.contains('\0') { "unusable" } else { "empty" }, rule));
        }
        let path = self.folder.join(text);
        let known = self.files.entry(path.clone()).or_insert_with_key(|path| look_at_bytes(path));
        match known {
            Ok((facts, digest)) => Ok(stored(*facts, *digest, Bytes::File(path))),
            Err(FileFault::Unreadable(rule)) => {
                let here = self.folder == Path::new(".");
                let folder =
                    if here { "the current folder".to_owned() } else { self.folder.display().to_string() };
                let hint = format!("paths are relative to {folder}");
                let violation = Violation::new(field, shown, *rule);
                Err(if Path::new(text).is_absolute() { violation } else { violation.with_hint(hint) })
            }
            Err(FileFault::Image(fault)) => {
                let mut violation = image_violation(index, &shown, fault);
                field.clone_into(&mut violation.field);
                Err(violation)
            }
        }
    }
}

fn stored(facts: ImageFacts, digest: Sha256Digest, from: Bytes) -> Looked {
    let mime = facts.format.mime();
    let image = InputImage::Stored { key: input_key(digest), mime: mime.to_owned(), bytes: facts.bytes };
    Looked { image, facts: Some(facts), upload: Some(Upload { digest, mime, bytes: facts.bytes, from }) }
}

fn look_at_bytes(path: &Path) -> Result<(ImageFacts, Sha256Digest), FileFault> {
    let bytes = read_file(path)?;
    let facts = inspect(&bytes).map_err(FileFault::Image)?;
    Ok((facts, Sha256Digest::of(&bytes)))
}

/// A whole file, of which no more is read than an image may have.
fn read_file(path: &Path) -> Result<Vec<u8>, FileFault> {
    use std::io::ErrorKind;
    let refuse = |error: std::io::Error| {
        FileFault::Unreadable(match error.kind() {
            ErrorKind::NotFound => "there is no such file",
            ErrorKind::PermissionDenied => "it may not be read",
            ErrorKind::IsADirectory => "it is a folder",
            _ => "it cannot be read",
        })
    };
    let file = std::fs::File::open(path).map_err(refuse)?;
    let metadata = file.metadata().map_err(refuse)?;
    if !metadata.is_file() {
        return Err(FileFault::Unreadable(if metadata.is_dir() {
            "it is a folder"
        } else {
            "it is not a plain file"
        }));
    }
    if metadata.len() > INPUT_BYTES_MAX {
        return Err(FileFault::Image(dashscope::inspect::ImageFault::TooLarge { bytes: metadata.len() }));
    }
    let mut bytes = Vec::new();
    // One byte more than is allowed shows that the file grew.
    file.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(refuse)?;
    Ok(bytes)
}

impl Upload {
    /// The image's bytes, if they are still those that were looked at.
    pub(crate) fn read(&self) -> Option<Vec<u8>> {
        let bytes = match &self.from {
            Bytes::File(path) => read_file(path).ok()?,
            Bytes::Inline(uri) => uri.decode(),
        };
        (Sha256Digest::of(&bytes) == self.digest).then_some(bytes)
    }
}

/// `s3://bucket/key`.
fn object(text: &str) -> Result<InputImage, String> {
    let rest = text.get(3..).and_then(|rest| rest.strip_prefix("//"));
    let (bucket, key) =
        rest.and_then(|rest| rest.split_once('/')).ok_or("it must have the form `s3://bucket/key`")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !(1..=255).contains(&bucket.len()) || !bucket.chars().all(plain) {
        return Err("its bucket must be a bucket's name: letters, digits, `.`, `-` and `_`".to_owned());
    }
    let key = ObjectKey::parse(key).map_err(|error| error.to_string())?;
    Ok(InputImage::Object { bucket: bucket.to_owned(), key })
}

/// What stands for an image while the rest of a request is checked: the checks of links and temporary files are the weakest,
/// and what is known of the image is checked apart.
pub(crate) fn stand_in() -> ImageInput {
    ImageInput::Temporary(
        OssUri::new("oss://checked/apart".to_owned()).expect("the text is a constant of the right form"),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A PNG header of this size, which is all that is looked at.
    pub(crate) fn png(width: u32, height: u32) -> Vec<u8> {
        png_of(width, height, 2)
    }

    /// The same of another colour type; 6 has an alpha channel.
    pub(crate) fn png_of(width: u32, height: u32, colour_type: u8) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
        bytes.extend(width.to_be_bytes());
        bytes.extend(height.to_be_bytes());
        bytes.extend([8, colour_type, 0, 0, 0]);
        bytes.extend([0; 4]);
        bytes.extend(b"\0\0\0\0IDAT\0\0\0\0\0\0\0\0IEND\0\0\0\0");
        bytes
    }

    fn look(folder: &Path, text: &str) -> Result<Looked, Violation> {
        Images::new(folder.to_owned()).look(0, "images[0]", text)
    }

    #[test]
    fn each_kind_of_image_is_told_by_its_text() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("shoe.png"), png(300, 300)).unwrap();
        let data = DataUri::encode(dashscope::inspect::ImageFormat::Png, &png(300, 300)).expose().to_owned();
        let kind = |text: &str| match look(folder.path(), text).map(|looked| looked.image) {
            Ok(InputImage::Direct(ImageInput::Link(_))) => "link",
            Ok(InputImage::Direct(_)) => "temporary",
            Ok(InputImage::Object { .. }) => "object",
            Ok(InputImage::Stored { .. }) => "stored",
            Err(_) => "refused",
        };
        assert_eq!(kind("https://h/1.png"), "link");
        assert_eq!(kind("oss://a/b"), "temporary");
        assert_eq!(kind("s3://bucket/a/b.png"), "object");
        assert_eq!(kind("shoe.png"), "stored");
        assert_eq!(kind(&format!("file://{}/shoe.png", folder.path().display())), "stored");
        assert_eq!(kind(&data), "stored");
        for text in [
            "",
            "hat.png",
            "s3://bucket",
            "s3://b b/k",
            "s3://b//k",
            "file://shoe.png",
            "data:,x",
            ".",
            "https://",
        ] {
            assert_eq!(kind(text), "refused", "{text:?}");
        }
    }

    #[test]
    fn a_file_and_the_same_bytes_in_a_data_uri_are_one_object() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("shoe.png"), png(300, 300)).unwrap();
        let data = DataUri::encode(dashscope::inspect::ImageFormat::Png, &png(300, 300)).expose().to_owned();
        let (file, data) = (look(folder.path(), "shoe.png").unwrap(), look(folder.path(), &data).unwrap());
        assert_eq!(file.image, data.image);
        assert_eq!(file.upload.unwrap().read(), data.upload.unwrap().read());
    }

    #[test]
    fn a_file_that_changed_after_it_was_looked_at_is_not_uploaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shoe.png");
        std::fs::write(&path, png(300, 300)).unwrap();
        let upload = look(folder.path(), "shoe.png").unwrap().upload.unwrap();
        assert!(upload.read().is_some());
        std::fs::write(&path, png(301, 300)).unwrap();
        assert!(upload.read().is_none());
    }

    #[test]
    fn what_is_wrong_with_an_image_is_said() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tiny.png"), png(100, 300)).unwrap();
        std::fs::write(folder.path().join("page.png"), "<html>").unwrap();
        let said = |text: &str| {
            look(folder.path(), text)
                .unwrap_err()
                .to_string()
                .replace(&folder.path().display().to_string(), "F")
        };
        insta::assert_snapshot!(
            ["hat.png", ".", "tiny.png", "page.png", "s3://bucket", "data:image/png;base64,!"].map(said).join("\n"), @r"
        `images[0]` is `hat.png`, but there is no such file (paths are relative to F)
        `images[0]` is `.`, but it is a folder (paths are relative to F)
        `images[0]` is `tiny.png`, but the image has 100×300 pixels, and each side must have 240 to 8000 (scale it)
        `images[0]` is `page.png`, but the image is none of JPEG, PNG, BMP and WEBP (convert it to JPEG or PNG)
        `images[0]` is an s3:// object, but it must have the form `s3://bucket/key`
        `images[0]` is a data URI, but the data of the data URI are not Base64 (standard alphabet, with padding, without line breaks)
        ");
    }
}
