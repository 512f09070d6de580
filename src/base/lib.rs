//! Words that every layer uses; knows nobody.

pub mod backoff;
pub mod clock;
pub mod entropy;
pub mod fault;
pub mod ids;
pub mod page;
pub mod secret;
