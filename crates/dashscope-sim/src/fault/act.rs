//! What a fault does.

use serde::{Deserialize, Serialize};

use super::On;

/// The effect of a fault.
///
/// In a script, an act without fields is a word (`do = "hang"`), one with fields a table (`do = { delay = { ms = 200 } }`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    // Any request.
    /// Answers this status with a flat error body (the result host: with an XML one). Nothing is created.
    Status {
        /// The HTTP status, 200 to 599.
        http: u16,
        /// The error code. Default `InternalError`.
        #[serde(default = "internal_error")]
        code: String,
        /// The text. Default: a sentence that says the fault was scripted.
        #[serde(default = "scripted")]
        message: String,
        /// A `Retry-After` in seconds.
        #[serde(default)]
        retry_after_s: Option<u64>,
    },
    /// Answers 502 with a page of HTML, as a proxy in front of the service would. Nothing is created.
    #[serde(rename = "html_502")]
    Html502,
    /// Answers 200 with a flat error body and no `output`. Nothing is created.
    #[serde(rename = "flat_200")]
    Flat200 {
        /// The error code. Default `BailianGateway.Workspace.NotAuthorised`.
        #[serde(default = "not_authorised")]
        code: String,
        /// The text.
        #[serde(default = "scripted")]
        message: String,
    },
    /// Closes the connection before anything is done.
    RefuseCut,
    /// Never answers; nothing is done. The connection stays open until the client leaves.
    Hang,
    /// Waits, then goes on as usual. Several delays add up, and go well with another fault.
    Delay {
        /// Milliseconds of real time.
        ms: u64,
    },

    // Create calls that were accepted. Candidates are accepted calls.
    /// The task is created; the connection is closed without an answer.
    AcceptThenCut,
    /// The task is created; the answer never comes.
    AcceptThenHang,
    /// The task is created; the answer is this status with a page of HTML.
    AcceptThenStatus {
        /// The HTTP status. Default 504.
        #[serde(default = "gateway_timeout")]
        http: u16,
    },

    // Queries of one task.
    /// The task's first query answers UNKNOWN; later ones tell the truth. At most once per task.
    UnknownOnce,
    /// All queries of the task answer UNKNOWN. Decided at its first query.
    UnknownForever,
    /// The answer has a state that no page names.
    UnrecognisedState {
        /// The state. Default `WARMING_UP`.
        #[serde(default = "warming_up")]
        state: String,
    },

    // The making of a task.
    /// The task ends FAILED, free of charge.
    Failed {
        /// The error code. Default `InternalError`.
        #[serde(default = "internal_error")]
        code: String,
        /// The text.
        #[serde(default = "scripted")]
        message: String,
        /// Put code and message at the top level and leave `output` out, instead of putting them into `output`.
        #[serde(default)]
        flat: bool,
    },
    /// The task succeeds with one image fewer than asked for, at least one; sets as well.
    FewerImages,
    /// The task succeeds without any image, free of charge.
    NoImages,
    /// A `text` item stands before the images.
    TextItem,
    /// All images of the task have the same link. They are billed all the same.
    EqualUrls,
    /// All images in one choice, although no set was asked for.
    OneChoiceManyItems,
    /// A successful answer has `"code": null, "message": null`.
    CodeNull,
    /// A successful answer has `"code": "", "message": ""`.
    CodeEmpty,
    /// A successful answer has neither field: the usual form, named for tables of tests.
    CodeMissing,
    /// Answers have fields that no page names, on every level.
    ExtraFields,
    /// Times without milliseconds.
    TimesWithoutMillis,
    /// The task runs for so long.
    Takes {
        /// Milliseconds of the simulator's time.
        ms: u64,
    },
    /// The task's links die so long after its end, whatever `retention.link_s` says.
    LinkLives {
        /// Milliseconds of the simulator's time. A link names a whole second: the one in which this time ends.
        ms: u64,
    },

    // Downloads.
    /// 200, but only the first part of the file.
    Truncated {
        /// How many bytes come. Default: half of the file.
        #[serde(default)]
        keep_bytes: Option<u64>,
        /// What the header claims.
        #[serde(default)]
        content_length: ContentLength,
    },
    /// The file, at this pace.
    Slow {
        /// Bytes a second of real time.
        bytes_per_s: u64,
    },
    /// 200 with a page of HTML.
    WrongType,
    /// 200 with no bytes.
    Empty,
    /// 302 to another address.
    Redirect {
        /// The address.
        to: String,
    },
    /// The file with one bit of its picture data turned over.
    Corrupt,
    /// 503 with the object store's XML, code `SlowDown`.
    SlowDown,
    /// 404 with the object store's XML, code `NoSuchKey`.
    NotFound,
}

/// What a truncated download says of its length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentLength {
    /// The length of what is sent: nothing on the connection looks wrong.
    #[default]
    Short,
    /// The length of the whole file; the connection closes early.
    Full,
    /// No length: the transfer is chunked and ends cleanly.
    Absent,
}

impl Act {
    /// The places where it may happen.
    pub(super) fn places(&self) -> &'static [On] {
        const REQUESTS: &[On] =
            &[On::Create, On::Query, On::List, On::Cancel, On::Result, On::Quotas, On::Upload];
        match self {
            Self::Status { .. } | Self::Html502 | Self::RefuseCut | Self::Hang | Self::Delay { .. } => {
                REQUESTS
            }
            Self::Flat200 { .. } => &[On::Create, On::Query, On::List, On::Cancel, On::Quotas, On::Upload],
            Self::AcceptThenCut | Self::AcceptThenHang | Self::AcceptThenStatus { .. } => &[On::Create],
            Self::UnknownOnce | Self::UnknownForever | Self::UnrecognisedState { .. } => &[On::Query],
            Self::Failed { .. }
            | Self::FewerImages
            | Self::NoImages
            | Self::TextItem
            | Self::EqualUrls
            | Self::OneChoiceManyItems
            | Self::CodeNull
            | Self::CodeEmpty
            | Self::CodeMissing
            | Self::ExtraFields
            | Self::TimesWithoutMillis
            | Self::Takes { .. }
            | Self::LinkLives { .. } => &[On::Task],
            Self::Truncated { .. }
            | Self::Slow { .. }
            | Self::WrongType
            | Self::Empty
            | Self::Redirect { .. }
            | Self::Corrupt
            | Self::SlowDown
            | Self::NotFound => &[On::Result],
        }
    }

    /// The name in scripts.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Html502 => "html_502",
            Self::Flat200 { .. } => "flat_200",
            Self::RefuseCut => "refuse_cut",
            Self::Hang => "hang",
            Self::Delay { .. } => "delay",
            Self::AcceptThenCut => "accept_then_cut",
            Self::AcceptThenHang => "accept_then_hang",
            Self::AcceptThenStatus { .. } => "accept_then_status",
            Self::UnknownOnce => "unknown_once",
            Self::UnknownForever => "unknown_forever",
            Self::UnrecognisedState { .. } => "unrecognised_state",
            Self::Failed { .. } => "failed",
            Self::FewerImages => "fewer_images",
            Self::NoImages => "no_images",
            Self::TextItem => "text_item",
            Self::EqualUrls => "equal_urls",
            Self::OneChoiceManyItems => "one_choice_many_items",
            Self::CodeNull => "code_null",
            Self::CodeEmpty => "code_empty",
            Self::CodeMissing => "code_missing",
            Self::ExtraFields => "extra_fields",
            Self::TimesWithoutMillis => "times_without_millis",
            Self::Takes { .. } => "takes",
            Self::LinkLives { .. } => "link_lives",
            Self::Truncated { .. } => "truncated",
            Self::Slow { .. } => "slow",
            Self::WrongType => "wrong_type",
            Self::Empty => "empty",
            Self::Redirect { .. } => "redirect",
            Self::Corrupt => "corrupt",
            Self::SlowDown => "slow_down",
            Self::NotFound => "not_found",
        }
    }

    /// Whether it strikes accepted create calls rather than arriving requests.
    pub(super) fn is_after_acceptance(&self) -> bool {
        matches!(self, Self::AcceptThenCut | Self::AcceptThenHang | Self::AcceptThenStatus { .. })
    }

    pub(super) fn http(&self) -> Option<u16> {
        match self {
            Self::Status { http, .. } | Self::AcceptThenStatus { http } => Some(*http),
            _ => None,
        }
    }
}

fn internal_error() -> String {
    "InternalError".to_owned()
}

fn not_authorised() -> String {
    "BailianGateway.Workspace.NotAuthorised".to_owned()
}

fn scripted() -> String {
    "This fault was scripted.".to_owned()
}

fn warming_up() -> String {
    "WARMING_UP".to_owned()
}

fn gateway_timeout() -> u16 {
    504
}
