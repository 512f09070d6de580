//! The seam between nodes: a bus that may lose, a directory of who owns what, and a cache. Each has
//! an implementation within this process, which is the default, and one that many nodes share.

pub mod amqp;
pub mod bus;
pub mod cache;
pub mod directory;
pub mod lease_store;
pub mod leases;
pub mod local;
pub mod memory_cache;
pub mod redis;

pub use amqp::AmqpBus;
pub use bus::{Bus, BusError, BusState, Listener};
pub use cache::{Cache, CacheError, Fut, Limit, Refused};
pub use directory::{Claim, Directory, DirectoryError, Fence, Holding, LocalDirectory};
pub use lease_store::Registry;
pub use leases::{Leases, Locked, Roster};
pub use local::{LocalBus, LocalHub};
pub use memory_cache::EmbeddedCache;
pub use redis::RedisCache;
