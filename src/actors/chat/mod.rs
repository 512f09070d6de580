//! Chat shards: the actors that order messages.
//!
//! Each conversation belongs to one shard. While one of its batches commits, new messages wait and
//! become the next batch: one transaction and one fsync for many senders (group commit), and
//! committed messages are published in the order of `seq`. On a restart a shard drops what waited
//! (senders are told to retry, with the same `client_id`) and makes every session resync.
//!
//! A published event may be lost or duplicated; it only tells sessions how far a conversation is.

mod handle;
mod shard;
mod work;

pub use handle::ChatShards;
pub use shard::ChatShard;
