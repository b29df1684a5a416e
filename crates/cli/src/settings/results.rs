//! `[results]` and `[inputs]`: where images come from, under which keys they go, how inputs reach the provider.

use archive::{DownloadSettings, ResultHosts};
use job::KeyTemplate;

use super::layers::section;
use super::value::{Bytes, Setting, Span, Texts, Wrong, choice, quoted};

section! {
    /// Results: which links are followed, and where their images go.
    ResultsSection {
        /// Hosts beside Alibaba's own from which results are fetched: `host`, `host:port` or `http://host:port`.
        /// A base URL on loopback allows results from its host by itself.
        allow: Texts = Texts::default();
        /// Whether Alibaba's hosts may resolve to private addresses (a VPC endpoint, a transparent proxy).
        private_addresses: bool = false;
        /// The key of an image. It must have {index} and an id; {batch}, {custom_id}, {job_id}.
        template: Template = Template(KeyTemplate::default());
        /// Whether a batch's results are written into the bucket when it ends, as `manifest.jsonl` in the batch's folder: the lines of
        /// `imagemill batch results`.
        batch_manifest: bool = true;
        /// The most bytes that an image may have.
        image_bytes_max: Bytes = Bytes(archive::BODY_BYTES_MAX);
        /// The most bytes of images in memory at once, all copies of a process together.
        memory: Bytes = Bytes(MEMORY_BYTES);
    }
}

/// The default of `results.memory`: two images of the greatest size, or some forty of 4K.
const MEMORY_BYTES: u64 = 256 * 1024 * 1024;

section! {
    /// Input images from local files, data URIs and s3:// objects.
    InputsSection {
        /// How they reach the provider: `presign` (by a link into the bucket), `inline` (inside the request, for stores
        /// that cannot be reached from outside), `upload` (through the provider's temporary store).
        /// Not set: `inline` where the store's endpoint is a private address, else `presign`.
        transport: Option<Transport> = None, example "presign";
        /// How long such a link lives.
        presign_for: Span<60_000> = Span(worker::WorkerConfig::new(Vec::new()).presign_for);
    }
}

choice! {
    /// `inputs.transport`.
    Transport {
        /// By a link.
        Presign = "presign",
        /// Inside the request.
        Inline = "inline",
        /// Through the provider's temporary store.
        Upload = "upload",
    }
}

impl ResultsSection {
    /// For the downloader. `more` are hosts that other settings allow.
    ///
    /// # Errors
    ///
    /// An entry that is no host.
    pub(crate) fn download(&self, more: &[String]) -> Result<DownloadSettings, archive::HostRuleError> {
        let mut hosts = ResultHosts::alibaba().with_private_addresses(self.private_addresses.value);
        for entry in self.allow.value.0.iter().chain(more) {
            hosts = hosts.allow(entry)?;
        }
        Ok(DownloadSettings {
            hosts,
            body_bytes_max: self.image_bytes_max.value.0,
            ..DownloadSettings::default()
        })
    }
}

/// A template for object keys.
#[derive(Debug, Clone)]
pub(crate) struct Template(pub(crate) KeyTemplate);

impl Setting for Template {
    const WANTED: &'static str = "a template such as \"{batch}/{custom_id}/{index}.png\"";

    fn from_text(text: &str) -> Result<Self, Wrong> {
        KeyTemplate::parse(text)
            .map(Self)
            .map_err(|error| Wrong { what: format!("cannot be used: {error}"), hint: None })
    }

    fn show(&self) -> Option<String> {
        Some(quoted(self.0.as_str()))
    }
}
