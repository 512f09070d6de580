//! Other people's servers, and what stands in for them on this machine.

pub mod blob_store;
