//! Answers of the service, in every shape they were seen in.
//!
//! Pure: bytes in, typed views out. The reading is lenient where nothing depends on it (a field that is missing, null, empty
//! or of another type is `None`; unknown ones are passed over) and strict where a task could be lost or paid twice: an id, a
//! status, the rows of a list. No answer is taken for good by its status alone.

mod answer;
mod created;
mod list;
mod quotas;
mod status;
mod sync;
mod task;
mod time;
mod upload;
mod usage;

pub use answer::ReplyError;
pub use created::CreatedTask;
pub use list::{ListedTask, TaskPage};
pub use quotas::{Quota, QuotaLimit, QuotaPage};
pub use status::TaskStatus;
pub use sync::SyncResult;
pub use task::{Output, ResultImage, ResultText, TaskReport, UnusableItem};
pub use time::parse_service_time;
pub use upload::UploadPolicy;
pub use usage::Usage;

#[cfg(feature = "client")]
pub(crate) use answer::Answer;
#[cfg(feature = "client")]
pub(crate) use time::SERVICE_ZONE;

#[cfg(test)]
mod tests;
