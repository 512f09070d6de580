//! Storage of SecureVOX: one API over SQLite or PostgreSQL.
//!
//! One method is one transaction. Its return type lists the possible outcomes (an enum or an
//! `Option`); a [`StoreError`] reports a failure of the store itself. The current time is always an
//! argument.

#![expect(clippy::duplicate_mod, reason = "the query modules are compiled once for each database")]

mod config;
mod error;
mod executor;
mod limits;
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
