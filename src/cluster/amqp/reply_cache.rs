//! What this node was asked: each question is answered once, and a repeat hears the same answer.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base::ids::NodeId;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::super::cache::Fut;
use super::envelope::Kind;
use super::outbox::Reply;

/// A repeat comes within the patience of the one who asks, and nobody is more patient.
const KEPT: Duration = Duration::from_secs(30);
/// So many answers are kept, and so many bytes of them.
const MOST: usize = 4096;
const MOST_BYTES: usize = 16 << 20;

/// Who asked, and their number of the question.
pub(super) type Asker = (NodeId, u64);

/// What was answered, in words for the wire.
pub(super) type Answer = (Kind, Vec<u8>);

/// Questions that are being answered, and answers that were given.
#[derive(Default)]
pub(super) struct Answering {
    memory: Mutex<Memory>,
    /// Answers in the making. They outlive the connection over which the questions came.
    pub(super) making: tokio::sync::Mutex<FuturesUnordered<Fut<'static, (Asker, String, Answer)>>>,
}

#[derive(Default)]
struct Memory {
    known: HashMap<Asker, State>,
    order: VecDeque<(Instant, Asker)>,
    bytes: usize,
}

enum State {
    /// It is being answered; to where.
    Open(String),
    Done(Answer),
}

/// What to do about a question.
pub(super) enum Next {
    /// It is new.
    Answer,
    /// It is being answered already.
    Wait,
    /// It was answered.
    Repeat(Reply),
}

impl Answering {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A question came; its answer goes to the queue `to`.
    pub(super) fn asked(&self, asker: Asker, to: String) -> Next {
        let mut memory = self.memory();
        match memory.known.get_mut(&asker) {
            Some(State::Open(old)) => {
                *old = to; // the old one went with the connection
                Next::Wait
            }
            Some(State::Done((kind, body))) => {
                Next::Repeat(Reply { to, id: asker.1, kind: *kind, body: body.clone() })
            }
            None => {
                memory.keep(asker, to);
                Next::Answer
            }
        }
    }

    /// A question was answered; what is to be sent, to where it was asked last, or `to` if that is
    /// forgotten.
    pub(super) fn answered(&self, asker: Asker, to: String, answer: Answer) -> Reply {
        let mut memory = self.memory();
        let (kind, body) = answer.clone();
        let mut reply = Reply { to, id: asker.1, kind, body };
        if let Some(state) = memory.known.get_mut(&asker) {
            if let State::Open(last) = state {
                reply.to = std::mem::take(last);
            }
            *state = State::Done(answer);
            memory.bytes += reply.body.len();
        }
        reply
    }
}

impl Memory {
    fn keep(&mut self, asker: Asker, to: String) {
        let now = Instant::now();
        while let Some((since, old)) = self.order.front().copied()
            && (now.duration_since(since) > KEPT
                || self.order.len() >= MOST
                || self.bytes > MOST_BYTES)
        {
            self.order.pop_front();
            if let Some(State::Done((_, body))) = self.known.remove(&old) {
                self.bytes -= body.len();
            }
        }
        self.order.push_back((now, asker));
        self.known.insert(asker, State::Open(to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Answering {
        /// How many answers are kept, and how many bytes of them.
        fn kept(&self) -> (usize, usize) {
            let memory = self.memory();
            (memory.known.len(), memory.bytes)
        }
    }

    fn answer(text: &str) -> Answer {
        (Kind::Reply, text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn a_question_is_answered_once_and_a_repeat_hears_the_same() {
        let (all, asker) = (Answering::default(), (NodeId::new(), 7));
        assert!(matches!(all.asked(asker, "a".into()), Next::Answer));
        assert!(matches!(all.asked(asker, "b".into()), Next::Wait));

        let reply = all.answered(asker, "a".into(), answer("yes"));

        assert_eq!((reply.to.as_str(), reply.id), ("b", 7), "to where it was asked last");
        let Next::Repeat(again) = all.asked(asker, "c".into()) else { panic!("answered anew") };
        assert_eq!((again.to.as_str(), again.body), ("c", b"yes".to_vec()));
        assert!(matches!(all.asked((NodeId::new(), 7), "d".into()), Next::Answer), "of another");
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_forgotten_when_they_are_old_or_many() {
        let (all, node) = (Answering::default(), NodeId::new());
        for id in 0..2 * MOST as u64 {
            all.asked((node, id), "a".into());
            all.answered((node, id), "a".into(), answer("0123456789"));
        }
        assert!(all.kept() <= (MOST, 10 * MOST), "{:?}", all.kept());

        tokio::time::advance(KEPT + Duration::from_secs(1)).await;
        all.asked((node, u64::MAX), "a".into());

        assert_eq!(all.kept(), (1, 0));
    }
}
