//! Queries by area, compiled once for each database: `super::Conn` is its connection type. A query
//! without a description of its own is documented at the method of [`crate::Store`] that runs it.

pub(crate) use super::Conn;

pub(crate) mod accounts;
pub(crate) mod api_tokens;
pub(crate) mod audit;
pub(crate) mod blobs;
pub(crate) mod calls;
pub(crate) mod chat;
pub(crate) mod cluster;
pub(crate) mod contacts;
mod devices;
pub(crate) mod erasure;
pub(crate) mod exports;
pub(crate) mod files;
pub(crate) mod group_members;
pub(crate) mod housekeeping;
pub(crate) mod invites;
pub(crate) mod jobs;
pub(crate) mod keys;
mod message_index;
pub(crate) mod messages;
pub(crate) mod passwords;
pub(crate) mod presence;
pub(crate) mod quota;
pub(crate) mod reencryption;
pub(crate) mod search;
pub(crate) mod second_factor;
pub(crate) mod sign_in;
pub(crate) mod uploads;
pub(crate) mod user_admin;
mod visible;
