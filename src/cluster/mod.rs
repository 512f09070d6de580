//! The seam between nodes. So far its smallest part: counters and short-lived values that nodes
//! will share, kept in this process until there is more than one.

pub mod cache;
pub mod embedded;

pub use cache::{Cache, CacheError, Fut, Limit, Refused};
pub use embedded::EmbeddedCache;
