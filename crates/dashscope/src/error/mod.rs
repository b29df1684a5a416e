//! What the service says when it does not do what was asked, and what that means.
//!
//! Pure: a status, a code and a message in, a class out. The classes say what kind of trouble it is; what to do about it is
//! the caller's. Whether an answer proves that no task was created is here as well ([`proves_no_task`]), since it is read
//! from the same table. Driven by the client for direct answers and by [`TaskReport`](crate::response::TaskReport) for
//! failed tasks.

mod api_error;
mod class;
mod table;

pub use api_error::{ApiError, Refusal};
pub use class::{AccountFault, ErrorClass, Throttle, UnknownErrorClass};
pub use table::{classify, proves_no_task};
