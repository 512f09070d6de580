//! The media core as values: bytes go in, decisions come out. No clock, no socket, no task, no lock,
//! so that a whole conference can be replayed in a unit test.

pub mod allocation;
pub mod bandwidth;
pub mod codec;
pub mod missing;
pub mod path;
pub mod reception;
pub mod rewrite;
pub mod rtp;
pub mod signal;
pub mod speaker;
pub mod twcc;
#[cfg(test)]
mod virtual_time;
