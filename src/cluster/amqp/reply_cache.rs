//! What this node was asked: each question is answered once, and a repeat hears the same answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::ids::NodeId;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::super::cache::BoxFuture;
use super::envelope::BusMessageKind;
use super::outbox::RequestReply;

/// A repeat comes within the patience of the one who asks, and nobody is more patient.
const REPLY_CACHE_TTL: Duration = Duration::from_secs(30);
/// So many answers are kept, and so many bytes of them.
const MAX_CACHED_REPLIES: usize = 4096;
const MAX_CACHED_REPLY_BYTES: usize = 16 << 20;

/// Who asked, and their number of the question.
pub(super) type RequestKey = (NodeId, u64);

/// What was answered, in words for the wire.
pub(super) type EncodedReply = (BusMessageKind, Vec<u8>);

/// Questions that are being answered, and answers that were given.
#[derive(Default)]
pub(super) struct ReplyCache {
    memory: Mutex<ReplyCacheInner>,
    /// Answers in the making. They outlive the connection over which the questions came.
    pub(super) making: tokio::sync::Mutex<
        FuturesUnordered<BoxFuture<'static, (RequestKey, String, EncodedReply)>>,
    >,
}

#[derive(Default)]
struct ReplyCacheInner {
    known: HashMap<RequestKey, RequestState>,
    order: VecDeque<(Instant, RequestKey)>,
    bytes: usize,
}

enum RequestState {
    /// It is being answered; to where.
    Open(String),
    Done(EncodedReply),
}

/// What to do about a question.
pub(super) enum DedupDecision {
    /// It is new.
    Answer,
    /// It is being answered already.
    Wait,
    /// It was answered.
    Repeat(RequestReply),
}

impl ReplyCache {
    fn memory(&self) -> MutexGuard<'_, ReplyCacheInner> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A question came; its answer goes to the queue `to`.
    pub(super) fn asked(&self, asker: RequestKey, to: String) -> DedupDecision {
        let mut memory = self.memory();
        match memory.known.get_mut(&asker) {
            Some(RequestState::Open(old)) => {
                *old = to; // the old one went with the connection
                DedupDecision::Wait
            }
            Some(RequestState::Done((kind, body))) => DedupDecision::Repeat(RequestReply {
                to,
                id: asker.1,
                kind: *kind,
                body: body.clone(),
            }),
            None => {
                memory.keep(asker, to);
                DedupDecision::Answer
            }
        }
    }

    /// A question was answered; what is to be sent, to where it was asked last, or `to` if that is
    /// forgotten.
    pub(super) fn answered(
        &self,
        asker: RequestKey,
        to: String,
        answer: EncodedReply,
    ) -> RequestReply {
        let mut memory = self.memory();
        let (kind, body) = answer.clone();
        let mut reply = RequestReply { to, id: asker.1, kind, body };
        if let Some(state) = memory.known.get_mut(&asker) {
            if let RequestState::Open(last) = state {
                reply.to = std::mem::take(last);
            }
            *state = RequestState::Done(answer);
            memory.bytes += reply.body.len();
        }
        reply
    }
}

impl ReplyCacheInner {
    fn keep(&mut self, asker: RequestKey, to: String) {
        let now = Instant::now();
        while let Some((since, old)) = self.order.front().copied()
            && (now.duration_since(since) > REPLY_CACHE_TTL
                || self.order.len() >= MAX_CACHED_REPLIES
                || self.bytes > MAX_CACHED_REPLY_BYTES)
        {
            self.order.pop_front();
            if let Some(RequestState::Done((_, body))) = self.known.remove(&old) {
                self.bytes -= body.len();
            }
        }
        self.order.push_back((now, asker));
        self.known.insert(asker, RequestState::Open(to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl ReplyCache {
        /// How many answers are kept, and how many bytes of them.
        fn kept(&self) -> (usize, usize) {
            let memory = self.memory();
            (memory.known.len(), memory.bytes)
        }
    }

    fn answer(text: &str) -> EncodedReply {
        (BusMessageKind::Reply, text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn repeated_bus_request_gets_cached_reply() {
        let (all, asker) = (ReplyCache::default(), (NodeId::new(), 7));
        assert!(matches!(all.asked(asker, "a".into()), DedupDecision::Answer));
        assert!(matches!(all.asked(asker, "b".into()), DedupDecision::Wait));

        let reply = all.answered(asker, "a".into(), answer("yes"));

        assert_eq!((reply.to.as_str(), reply.id), ("b", 7), "to where it was asked last");
        let DedupDecision::Repeat(again) = all.asked(asker, "c".into()) else {
            panic!("answered anew")
        };
        assert_eq!((again.to.as_str(), again.body), ("c", b"yes".to_vec()));
        assert!(
            matches!(all.asked((NodeId::new(), 7), "d".into()), DedupDecision::Answer),
            "of another"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn cached_replies_are_bounded_by_count_and_age() {
        let (all, node) = (ReplyCache::default(), NodeId::new());
        for id in 0..2 * MAX_CACHED_REPLIES as u64 {
            all.asked((node, id), "a".into());
            all.answered((node, id), "a".into(), answer("0123456789"));
        }
        assert!(all.kept() <= (MAX_CACHED_REPLIES, 10 * MAX_CACHED_REPLIES), "{:?}", all.kept());

        tokio::time::advance(REPLY_CACHE_TTL + Duration::from_secs(1)).await;
        all.asked((node, u64::MAX), "a".into());

        assert_eq!(all.kept(), (1, 0));
    }
}
