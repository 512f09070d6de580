//! What lives longer than a request. Each actor here is a struct, its messages and a handle with
//! plain methods; `tree.rs` shows who is supervised by whom.

pub mod admin;
pub mod bus;
pub mod calls;
pub mod chat;
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
