//! The seam between nodes: a bus that may lose, a directory of who owns what, and a cache. Each has
//! an implementation within this process, which is the default, and one that many nodes share.

pub mod amqp;
pub mod bus;
pub mod cache;
pub mod directory;
pub mod embedded;
pub mod leases;
pub mod local;
pub mod redis;
pub mod registry;

pub use amqp::AmqpBus;
pub use bus::{Bus, BusError, BusState, Listener};
pub use cache::{Cache, CacheError, Fut, Limit, Refused};
pub use directory::{Claim, Directory, DirectoryError, Fence, Holding, LocalDirectory};
pub use embedded::EmbeddedCache;
pub use leases::{Leases, Locked, Roster};
pub use local::{LocalBus, LocalHub};
pub use redis::RedisCache;
pub use registry::Registry;
