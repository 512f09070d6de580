//! Where SecureVOX keeps things: one API, SQLite or PostgreSQL beneath it.
//!
//! One method is one transaction. What it may answer is in its type: an enum of outcomes, or an
//! `Option`; an [`StoreError`] is a failure of the machinery. Time is an argument everywhere.

#![expect(clippy::duplicate_mod, reason = "the areas are compiled once for each database")]

mod config;
mod error;
mod executor;
mod lock;
mod methods;
mod postgres;
pub mod rows;
mod schema;
mod sqlite;
mod store;
pub mod tokenizer;
mod types;

pub use config::{SqliteSynchronous, StoreConfig};
pub use error::{Result, StoreError};
pub use lock::NodeLock;
pub use rows::*;
pub use store::Store;
