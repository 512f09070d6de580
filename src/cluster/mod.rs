//! Communication between nodes: a lossy bus, an ownership directory and a cache. Each has an
//! in-process implementation, which is the default, and one that many nodes share.

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
pub use bus::{Bus, BusError, BusHandler, BusState};
pub use cache::{BoxFuture, Cache, CacheError, RateLimit, RateLimitError};
pub use directory::{
    ClaimOutcome, DirectoryError, FencingToken, LocalDirectory, Ownership, OwnershipDirectory,
};
pub use lease_store::LeaseStore;
pub use leases::{LiveNodes, LockCheck, NodeLeases};
pub use local::{InProcessBus, InProcessNodeBus};
pub use memory_cache::InMemoryCache;
pub use redis::RedisCache;
