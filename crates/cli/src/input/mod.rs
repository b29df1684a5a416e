//! Jobs from outside: read, judged as a whole, and only then handed on.
//!
//! Nothing in here talks to Redis or S3. [`judge`] is the first pass over an input, [`again`] the second, [`prepare::Preparer`]
//! what both do with a line. Driven by `enqueue`, and by everything else that reads jobs from a file.

pub(crate) mod again;
mod body;
mod columns;
mod csv;
pub(crate) mod digest;
pub(crate) mod fault;
pub(crate) mod images;
mod json;
pub(crate) mod judge;
pub(crate) mod line;
pub(crate) mod marks;
pub(crate) mod names;
pub(crate) mod prepare;
mod quotes;
pub(crate) mod reader;
pub(crate) mod rows;
pub(crate) mod source;
pub(crate) mod template;
pub(crate) mod unpack;
pub(crate) mod work;
