//! Idempotent replies: each request of another node is handled once, and a repeat gets the same
//! reply.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::ids::NodeId;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::super::cache::BoxFuture;
use super::envelope::BusMessageKind;
use super::outbox::RequestReply;
use crate::limits::{MAX_CACHED_REPLIES, MAX_CACHED_REPLY_BYTES};

/// How long replies are cached: a repeat comes within the requester's time-out, and none is longer.
const REPLY_CACHE_TTL: Duration = Duration::from_secs(30);

/// The requesting node and its request id.
pub(super) type RequestKey = (NodeId, u64);

/// Kind and body of an encoded reply.
pub(super) type EncodedReply = (BusMessageKind, Vec<u8>);

/// Requests being handled, and cached replies.
#[derive(Default)]
pub(super) struct ReplyCache {
    inner: Mutex<ReplyCacheInner>,
    /// Running handlers. They outlive the connection over which the requests came.
    pub(super) in_progress: tokio::sync::Mutex<
        FuturesUnordered<BoxFuture<'static, (RequestKey, String, EncodedReply)>>,
    >,
}

#[derive(Default)]
struct ReplyCacheInner {
    entries: HashMap<RequestKey, RequestState>,
    by_age: VecDeque<(Instant, RequestKey)>,
    bytes: usize,
}

enum RequestState {
    /// Being handled; the reply goes to this queue.
    InProgress(String),
    Done(EncodedReply),
}

/// What to do with a request.
pub(super) enum DedupDecision {
    /// A new request: handle it.
    Handle,
    /// A repeat of a request that is being handled: nothing to do.
    InProgress,
    /// A repeat of an answered request: send the reply again.
    SendAgain(RequestReply),
}

impl ReplyCache {
    fn inner(&self) -> MutexGuard<'_, ReplyCacheInner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a request whose reply goes to the queue `to`.
    pub(super) fn register(&self, key: RequestKey, to: String) -> DedupDecision {
        let mut inner = self.inner();
        match inner.entries.get_mut(&key) {
            Some(RequestState::InProgress(old)) => {
                *old = to; // the old queue went with its connection
                DedupDecision::InProgress
            }
            Some(RequestState::Done((kind, body))) => DedupDecision::SendAgain(RequestReply {
                to,
                id: key.1,
                kind: *kind,
                body: body.clone(),
            }),
            None => {
                inner.insert(key, to);
                DedupDecision::Handle
            }
        }
    }

    /// Stores the result of a request; returns the reply to be sent to the queue of the latest
    /// repeat, or to `to` if the request is no longer cached.
    pub(super) fn complete(
        &self,
        key: RequestKey,
        to: String,
        encoded: EncodedReply,
    ) -> RequestReply {
        let mut inner = self.inner();
        let (kind, body) = encoded.clone();
        let mut reply = RequestReply { to, id: key.1, kind, body };
        if let Some(state) = inner.entries.get_mut(&key) {
            if let RequestState::InProgress(queue) = state {
                reply.to = std::mem::take(queue);
            }
            *state = RequestState::Done(encoded);
            inner.bytes += reply.body.len();
        }
        reply
    }
}

impl ReplyCacheInner {
    fn insert(&mut self, key: RequestKey, to: String) {
        let now = Instant::now();
        while let Some((added_at, old)) = self.by_age.front().copied()
            && (now.duration_since(added_at) > REPLY_CACHE_TTL
                || self.by_age.len() >= MAX_CACHED_REPLIES
                || self.bytes > MAX_CACHED_REPLY_BYTES)
        {
            self.by_age.pop_front();
            if let Some(RequestState::Done((_, body))) = self.entries.remove(&old) {
                self.bytes -= body.len();
            }
        }
        self.by_age.push_back((now, key));
        self.entries.insert(key, RequestState::InProgress(to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl ReplyCache {
        /// Number of cached entries and their size in bytes.
        fn usage(&self) -> (usize, usize) {
            let inner = self.inner();
            (inner.entries.len(), inner.bytes)
        }
    }

    fn text_reply(text: &str) -> EncodedReply {
        (BusMessageKind::Reply, text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn repeated_bus_request_gets_cached_reply() {
        let (cache, key) = (ReplyCache::default(), (NodeId::new(), 7));
        assert!(matches!(cache.register(key, "a".into()), DedupDecision::Handle));
        assert!(matches!(cache.register(key, "b".into()), DedupDecision::InProgress));

        let reply = cache.complete(key, "a".into(), text_reply("yes"));

        assert_eq!((reply.to.as_str(), reply.id), ("b", 7), "the queue of the latest repeat");
        let DedupDecision::SendAgain(again) = cache.register(key, "c".into()) else {
            panic!("handled again")
        };
        assert_eq!((again.to.as_str(), again.body), ("c", b"yes".to_vec()));
        assert!(
            matches!(cache.register((NodeId::new(), 7), "d".into()), DedupDecision::Handle),
            "request of another node"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn cached_replies_are_bounded_by_count_and_age() {
        let (cache, node) = (ReplyCache::default(), NodeId::new());
        for id in 0..2 * MAX_CACHED_REPLIES as u64 {
            cache.register((node, id), "a".into());
            cache.complete((node, id), "a".into(), text_reply("0123456789"));
        }
        assert!(
            cache.usage() <= (MAX_CACHED_REPLIES, 10 * MAX_CACHED_REPLIES),
            "{:?}",
            cache.usage()
        );

        tokio::time::advance(REPLY_CACHE_TTL + Duration::from_secs(1)).await;
        cache.register((node, u64::MAX), "a".into());

        assert_eq!(cache.usage(), (1, 0));
    }
}
