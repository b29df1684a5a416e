#![doc = include_str!("../README.md")]

mod archiver;
mod budget;
mod cause;
mod digest;
mod download;
mod guard;
mod hosts;
mod inputs;
mod manifest;
mod plain;
pub mod png;
mod store;
mod tls;

pub use self::{
    archiver::{Archiver, CopyError, CopyOptions, IMAGE_CONTENT_TYPE, StoredImage},
    budget::{ByteBudget, Reservation},
    cause::Cause,
    digest::{NotASha256, Sha256Digest},
    download::{
        BODY_BYTES_MAX, DownloadSettings, Downloader, DownloaderError, FetchError, FetchedImage, Waiting,
    },
    hosts::{HostRuleError, LinkRefusal, ResultHosts},
    inputs::{INPUT_LINK_LIFE, input_key},
    plain::{FileError, fetch_file},
    store::{
        ChecksumMode, ConditionalPut, ConnectError, Credentials, Existing, METADATA_BYTES_MAX,
        MULTIPART_ABOVE_BYTES, ObjectFacts, ObjectSummary, Operation, PRESIGN_MAX, PieceUpload, PutOptions,
        PutOutcome, SHA256_METADATA, SecretText, Sse, Store, StoreError, StoreErrorKind, StoreSettings,
        StoreTimeouts, Verify,
    },
    tls::CaFileError,
};
