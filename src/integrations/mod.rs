//! Clients of external services, and their local substitutes.

pub mod blob_store;
