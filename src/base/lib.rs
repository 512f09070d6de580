//! Words that every layer uses; knows nobody.

pub mod backoff;
pub mod clock;
pub mod error;
pub mod ids;
pub mod page;
pub mod random;
pub mod secret;
