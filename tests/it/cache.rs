//! The cache: the same stories within a process and in Redis, of every kind.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base::clock::Clock;
use base::secret::Secret;
use futures_util::future::join_all;
use securevox::cluster::redis::RedisConfig;
use securevox::cluster::{Cache, CacheError, InMemoryCache, RateLimit, RateLimitError, RedisCache};

use crate::support::broker::free_port;
use crate::support::certificates::Certificates;
use crate::support::redis::{Cluster, Redis, Watched};
use crate::support::soon;

type Any = Arc<dyn Cache>;

fn embedded() -> Any {
    Arc::new(InMemoryCache::new(Clock::wall(), 1000))
}

fn at(url: String) -> Any {
    let prefix = "story:".to_owned();
    let settings = RedisConfig { url: Secret::new(url), ca_pem: None, key_prefix: prefix };
    Arc::new(RedisCache::new(&settings).expect("an address"))
}

macro_rules! on_every_kind {
    ($($story:ident),+ $(,)?) => {
        #[tokio::test]
        async fn cache_contract_holds_in_process() {
            $($story(embedded()).await;)+
        }

        #[tokio::test]
        async fn cache_contract_holds_on_standalone_redis() {
            let Some(redis) = Redis::start(&[]) else { return };
            $($story(at(redis.url())).await;)+
        }

        #[tokio::test]
        async fn cache_contract_holds_on_redis_sentinel() {
            let Some(watched) = Watched::start() else { return };
            $($story(at(watched.url())).await;)+
        }

        #[tokio::test]
        async fn cache_contract_holds_on_redis_cluster() {
            let Some(cluster) = Cluster::start() else { return };
            $($story(at(cluster.url())).await;)+
        }
    };
}

on_every_kind! {
    cached_value_is_kept_until_ttl_or_removal,
    rate_limit_allows_burst_then_one_per_interval,
    concurrent_takes_do_not_exceed_rate_limit,
}

async fn cached_value_is_kept_until_ttl_or_removal(cache: Any) {
    assert_eq!(cache.ping().await, Ok(()));
    assert_eq!(cache.get("k").await, Ok(None));

    cache.put("k", vec![0, 255, 1], Duration::from_secs(60)).await.unwrap();
    cache.put("gone", vec![1], Duration::from_secs(60)).await.unwrap();
    cache.remove("gone").await.unwrap();
    assert_eq!(cache.get("k").await, Ok(Some(vec![0, 255, 1])));
    assert_eq!(cache.get("gone").await, Ok(None));

    cache.put("k", vec![2], Duration::from_millis(50)).await.unwrap();
    soon("it ends", async {
        while cache.get("k").await != Ok(None) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn rate_limit_allows_burst_then_one_per_interval(cache: Any) {
    let every = Duration::from_secs(2);
    let limit = RateLimit { name: "burst", interval: every, burst: 3 };
    for _ in 0..3 {
        assert_eq!(cache.take(limit, "alice").await, Ok(()));
    }
    let refused = cache.take(limit, "alice").await;
    let Err(RateLimitError::RateLimited(wait)) = refused else { panic!("{refused:?}") };
    assert!(wait > Duration::ZERO && wait <= every, "{wait:?}");
    assert_eq!(cache.take(limit, "bob").await, Ok(()), "another key");
    assert_eq!(
        cache.take(RateLimit { name: "other", ..limit }, "alice").await,
        Ok(()),
        "another name"
    );

    tokio::time::sleep(wait).await; // what the cache itself said

    assert_eq!(cache.take(limit, "alice").await, Ok(()));
    assert!(cache.take(limit, "alice").await.is_err());
}

async fn concurrent_takes_do_not_exceed_rate_limit(cache: Any) {
    let limit = RateLimit::per_minute("at-once", 5);
    let taken = join_all((0..50).map(|_| cache.take(limit, "alice"))).await;
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 5, "{taken:?}");
}

/// Half a second, and what a busy machine adds.
const AT_ONCE: Duration = Duration::from_millis(900);

async fn fails_at_once(cache: &Any) {
    let began = Instant::now();
    assert_eq!(
        cache.take(RateLimit::per_minute("t", 5), "k").await,
        Err(RateLimitError::Cache(CacheError))
    );
    assert_eq!(cache.get("k").await, Err(CacheError));
    assert!(began.elapsed() < 2 * AT_ONCE, "{:?}", began.elapsed());
}

async fn works_again(cache: &Any) {
    soon("the cache answers", async {
        while cache.put("k", vec![7], Duration::from_secs(60)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(cache.get("k").await, Ok(Some(vec![7])));
}

#[tokio::test]
async fn cache_fails_fast_without_redis_and_recovers() {
    let Some(mut redis) = Redis::start(&[]) else { return };
    let cache = at(redis.url());
    works_again(&cache).await;

    redis.kill();
    fails_at_once(&cache).await;
    redis.begin();
    works_again(&cache).await;

    redis.signal("STOP");
    fails_at_once(&cache).await;
    redis.signal("CONT");
    works_again(&cache).await;
}

#[tokio::test]
async fn redis_password_is_verified() {
    let Some(redis) = Redis::start(&["--requirepass", "right"]) else { return };
    let port = redis.port();

    fails_at_once(&at(format!("redis://:wrong@127.0.0.1:{port}"))).await;
    fails_at_once(&at(redis.url())).await;
    works_again(&at(format!("redis://:right@127.0.0.1:{port}"))).await;
}

#[tokio::test]
async fn untrusted_redis_certificate_is_rejected() {
    let (files, port) = (Certificates::make(), free_port());
    let (tls, root) = (port.to_string(), files.path("ca.pem"));
    let (certificate, key) = (files.path("server.crt"), files.path("server.key"));
    let Some(_redis) = Redis::start(&[
        "--tls-port",
        &tls,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &root,
        "--tls-auth-clients",
        "no",
    ]) else {
        return;
    };
    let at = |authorities| -> Any {
        let url = Secret::new(format!("rediss://localhost:{port}"));
        let settings = RedisConfig { url, ca_pem: authorities, key_prefix: "story:".to_owned() };
        Arc::new(RedisCache::new(&settings).expect("an address"))
    };

    works_again(&at(Some(files.root()))).await;
    fails_at_once(&at(None)).await;
}

#[tokio::test]
async fn cache_fails_over_to_promoted_redis_replica() {
    let Some(mut watched) = Watched::start() else { return };
    let cache = at(watched.url());
    works_again(&cache).await;

    watched.primary.kill();
    fails_at_once(&cache).await;

    works_again(&cache).await;
}

#[tokio::test]
async fn cache_follows_moved_redis_cluster_slots() {
    let Some(cluster) = Cluster::start() else { return };
    let cache = at(cluster.url());
    assert_eq!(cache.get("moved").await, Ok(None));

    cluster.moves("story:moved");

    cache.put("moved", vec![1], Duration::from_secs(60)).await.unwrap();
    assert_eq!(cache.get("moved").await, Ok(Some(vec![1])));
}
