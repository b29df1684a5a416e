//! Jobs from outside: read, judged as a whole, and only then handed on.
//!
//! Nothing in here talks to Redis or S3. [`judge`] is the first pass over an input, [`prepare::Preparer`] what both passes do
//! with a line.

pub(crate) mod fault;
pub(crate) mod images;
mod json;
pub(crate) mod judge;
pub(crate) mod line;
pub(crate) mod prepare;
pub(crate) mod reader;
pub(crate) mod source;
