//! The cache within this process: sharded maps of bounded size.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::clock::{Clock, Timestamp};

use super::cache::{BoxFuture, Cache, CacheError, RateLimit, RateLimitError};

const SHARDS: usize = 16;

/// A cache that ends with the process and that no other node sees.
pub struct InMemoryCache {
    clock: Clock,
    shards: Vec<Mutex<HashMap<String, CacheEntry>>>,
    hasher: RandomState,
    max_entries_per_shard: usize,
}

struct CacheEntry {
    value: Vec<u8>,
    expires_at: Timestamp,
}

impl InMemoryCache {
    /// A cache of at most about `max_entries` entries.
    pub fn new(clock: Clock, max_entries: usize) -> Self {
        Self {
            clock,
            shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
            hasher: RandomState::new(),
            max_entries_per_shard: (max_entries / SHARDS).max(1),
        }
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, HashMap<String, CacheEntry>> {
        #[expect(clippy::cast_possible_truncation, reason = "any bits of the hash will do")]
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn insert(&self, shard: &mut HashMap<String, CacheEntry>, key: &str, entry: CacheEntry) {
        if shard.len() >= self.max_entries_per_shard && !shard.contains_key(key) {
            make_room(shard, self.clock.now());
        }
        shard.insert(key.to_owned(), entry);
    }
}

/// Removes expired entries; if there are none, of a few entries the one that expires first, so that
/// a flood of keys costs neither memory nor the counters that last longest.
fn make_room(shard: &mut HashMap<String, CacheEntry>, now: Timestamp) {
    let before = shard.len();
    shard.retain(|_, entry| entry.expires_at > now);
    if shard.len() == before {
        let next_to_expire = shard.iter().take(16).min_by_key(|(_, entry)| entry.expires_at);
        if let Some(key) = next_to_expire.map(|(key, _)| key.clone()) {
            shard.remove(&key);
        }
    }
}

impl Cache for InMemoryCache {
    fn take<'a>(
        &'a self,
        limit: RateLimit,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), RateLimitError>> {
        let now = self.clock.now();
        let key = format!("limit:{}:{key}", limit.name);
        let mut shard = self.shard(&key);
        let taken = limit.take(shard.get(&key).map(|entry| entry.expires_at), now);
        if let Ok(due) = taken {
            self.insert(&mut shard, &key, CacheEntry { value: Vec::new(), expires_at: due });
        }
        drop(shard);
        Box::pin(std::future::ready(taken.map(drop).map_err(RateLimitError::RateLimited)))
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        value: Vec<u8>,
        ttl: Duration,
    ) -> BoxFuture<'a, Result<(), CacheError>> {
        let expires_at = self.clock.now() + ttl;
        self.insert(&mut self.shard(key), key, CacheEntry { value, expires_at });
        Box::pin(std::future::ready(Ok(())))
    }

    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Vec<u8>>, CacheError>> {
        let now = self.clock.now();
        let shard = self.shard(key);
        let value = shard.get(key).filter(|entry| entry.expires_at > now).map(|e| e.value.clone());
        drop(shard);
        Box::pin(std::future::ready(Ok(value)))
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), CacheError>> {
        self.shard(key).remove(key);
        Box::pin(std::future::ready(Ok(())))
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), CacheError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn cached_value_expires_after_ttl() {
        let clock = Clock::fixed_at(Timestamp::from_micros(0));
        let cache = InMemoryCache::new(clock.clone(), 100);
        cache.put("k", vec![1], Duration::from_secs(5)).await.unwrap();
        assert_eq!(cache.get("k").await.unwrap(), Some(vec![1]));

        clock.advance(Duration::from_secs(5));

        assert_eq!(cache.get("k").await.unwrap(), None);
    }

    #[tokio::test]
    async fn embedded_cache_size_is_bounded() {
        let cache = InMemoryCache::new(Clock::wall(), 160);
        let limit = RateLimit::per_minute("t", 5);
        for n in 0..10_000 {
            cache.take(limit, &n.to_string()).await.unwrap();
        }
        let count: usize = cache.shards.iter().map(|s| s.lock().unwrap().len()).sum();
        assert!(count <= 160, "{count} entries");
    }
}
