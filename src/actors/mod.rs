//! Everything that lives longer than a request. Each actor is a struct with its messages and a
//! handle with async methods; `tree.rs` shows the supervision tree.

pub mod admin;
pub mod bus;
pub mod calls;
pub mod chat;
pub mod delivery;
pub mod expiry;
pub mod housekeeping;
pub mod jobs;
pub mod media;
pub mod membership;
pub mod peer_nodes;
pub mod presence;
pub mod scheduler;
pub mod sessions;
pub mod store_health;
pub mod supervision;
pub mod tree;
pub mod turn;
pub mod uploads;
