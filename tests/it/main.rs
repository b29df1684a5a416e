//! One binary for all tests that need real servers: a second one would be linked, and wait, again.

mod architecture;
mod queue;
