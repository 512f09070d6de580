//! Basic types for all layers; depends on no other crate of the workspace but its derive macro.

pub mod backoff;
pub mod clock;
pub mod error;
pub mod ids;
pub mod page;
pub mod random;
pub mod secret;
