//! What a socket has been sent of each conversation, in one of its orders (what is said, or what
//! became of it): pure, so that order can be tested by itself.

use std::collections::{HashMap, VecDeque};

use base::ids::ConversationId;

/// How far one conversation has come on one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ConversationCursor {
    /// Sent up to here.
    sent: i64,
    /// Where sending began on this socket; below it the device asks with `sync`.
    from: i64,
    /// The newest `seq` known to exist.
    known: i64,
}

/// A piece of history that must be read from the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SequenceGap {
    pub(super) conversation: ConversationId,
    /// Read what follows this.
    pub(super) after: i64,
    /// Stop here; `None` reads to the end and goes on with what is live.
    until: Option<i64>,
    /// What was known to exist when the reading began: only of that an empty page says something.
    seen: i64,
}

/// What is to be done with what was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryDecision {
    /// It is the very next one: sent now, as is taken for granted.
    Next,
    /// Some before it are missing, and nobody reads them yet: it may wait for them. If it does not,
    /// they are to be read ([`DeliveryCursors::seek_gap`]).
    Early,
    /// It was sent, or will be read.
    Known,
}

/// All conversations of one session.
#[derive(Debug, Default)]
pub(super) struct DeliveryCursors {
    all: HashMap<ConversationId, ConversationCursor>,
    gaps: VecDeque<SequenceGap>,
    /// Until the device's first `sync` (or a short while) nothing is sent, only noted.
    holding: bool,
}

impl DeliveryCursors {
    /// A new socket: what was sent to the one before may be lost, so only a `sync` goes below it.
    pub(super) fn attach(&mut self) {
        self.holding = true;
        self.gaps.clear();
        for cursor in self.all.values_mut() {
            cursor.from = cursor.sent;
        }
    }

    /// The newest `seq` of each conversation. A fresh session begins there, since what was said
    /// before is asked for with `sync`; in one that lived before, a conversation not seen yet
    /// begins where the person joined it.
    pub(super) fn load(&mut self, positions: &[(ConversationId, i64, i64)], fresh: bool) {
        for &(conversation, last, joined) in positions {
            let begin = if fresh { last } else { joined };
            let new = ConversationCursor { sent: begin, from: begin, known: last };
            let cursor = self.all.entry(conversation).or_insert(new);
            if fresh {
                (cursor.sent, cursor.from) = (begin, begin);
            }
            cursor.known = cursor.known.max(last);
        }
    }

    /// Notes how far a conversation is. In one not seen before everything is read from the
    /// database, which knows what the person may see.
    pub(super) fn note(&mut self, conversation: ConversationId, seq: i64) {
        let fresh = ConversationCursor { sent: 0, from: 0, known: 0 };
        let cursor = self.all.entry(conversation).or_insert(fresh);
        cursor.known = cursor.known.max(seq);
        self.seek_gap(conversation);
    }

    /// Notes that a message exists, in a conversation that was seen before: if it was not heard yet
    /// it is read, and what it follows.
    pub(super) fn observe_head(&mut self, conversation: ConversationId, seq: i64) {
        if self.all.contains_key(&conversation) {
            self.note(conversation, seq);
        }
    }

    /// Notes a message.
    pub(super) fn on_event(&mut self, conversation: ConversationId, seq: i64) -> DeliveryDecision {
        let Some(cursor) = self.all.get_mut(&conversation) else {
            self.note(conversation, seq);
            return DeliveryDecision::Known;
        };
        cursor.known = cursor.known.max(seq);
        if self.holding || seq <= cursor.sent {
            return DeliveryDecision::Known;
        }
        let catching_up =
            self.gaps.iter().any(|gap| gap.conversation == conversation && gap.until.is_none());
        if catching_up {
            return DeliveryDecision::Known;
        }
        if seq == cursor.sent + 1 {
            cursor.sent = seq;
            return DeliveryDecision::Next;
        }
        DeliveryDecision::Early
    }

    /// The device told what it has.
    pub(super) fn sync(&mut self, conversation: ConversationId, has: i64, last: i64, joined: i64) {
        let has = has.clamp(joined.min(last), last.max(joined));
        let begin = ConversationCursor { sent: has, from: has, known: last };
        let cursor = self.all.entry(conversation).or_insert(begin);
        cursor.known = cursor.known.max(last);
        if self.holding {
            cursor.sent = has;
            cursor.from = has;
        } else if has < cursor.from {
            let until = Some(cursor.from);
            cursor.from = has;
            // A second `sync` that goes further back makes one longer gap, not another one.
            let mut later = self.gaps.iter_mut().skip(1);
            let same = later.find(|gap| gap.conversation == conversation && gap.until.is_some());
            match same {
                Some(gap) => gap.after = has,
                None => {
                    self.gaps.push_back(SequenceGap { conversation, after: has, until, seen: 0 })
                }
            }
        }
    }

    /// From now on messages flow; what was noted meanwhile is read from the database.
    pub(super) fn release(&mut self) {
        self.holding = false;
        self.seek_gaps();
    }

    /// Looks for conversations that are behind what is known, once messages flow.
    pub(super) fn seek_gaps(&mut self) {
        let all: Vec<_> = self.all.keys().copied().collect();
        for conversation in all {
            self.seek_gap(conversation);
        }
    }

    /// Looks whether a conversation is behind what is known, once messages flow.
    pub(super) fn seek_gap(&mut self, conversation: ConversationId) {
        let Some(cursor) = self.all.get(&conversation).filter(|_| !self.holding) else { return };
        let open = |gap: &SequenceGap| gap.conversation == conversation && gap.until.is_none();
        if cursor.known > cursor.sent && !self.gaps.iter().any(open) {
            self.gaps.push_back(SequenceGap {
                conversation,
                after: cursor.sent,
                until: None,
                seen: 0,
            });
        }
    }

    /// Whether something of a conversation is being read, or is about to be.
    pub(super) fn is_reading(&self, conversation: ConversationId) -> bool {
        self.gaps.iter().any(|gap| gap.conversation == conversation)
    }

    /// The next piece to read, if messages flow and any is missing.
    pub(super) fn next_gap(&mut self) -> Option<SequenceGap> {
        let gap = self.gaps.front_mut().filter(|_| !self.holding)?;
        gap.seen = self.all.get(&gap.conversation).map_or(0, |cursor| cursor.known);
        Some(*gap)
    }

    /// Takes note of a page read for the first gap: its last `seq`, and whether there may be more.
    pub(super) fn close_gap(&mut self, gap: SequenceGap, last: Option<i64>, full: bool) {
        let Some(front) = self.gaps.front_mut().filter(|front| **front == gap) else { return };
        let reached = last.unwrap_or(gap.after);
        front.after = reached;
        let done = match gap.until {
            Some(until) => !full || reached >= until,
            None => {
                let Some(cursor) = self.all.get_mut(&gap.conversation) else {
                    self.gaps.pop_front();
                    return;
                };
                cursor.sent = cursor.sent.max(reached);
                if !full && last.is_none() {
                    cursor.sent = cursor.sent.max(gap.seen); // hidden from this person
                }
                !full && cursor.sent >= cursor.known
            }
        };
        if done {
            self.gaps.pop_front();
        }
    }

    /// Whether a message of a page read for `gap` is to be sent.
    pub(super) fn wants(gap: SequenceGap, seq: i64) -> bool {
        seq > gap.after && gap.until.is_none_or(|until| seq <= until)
    }

    /// The person is no longer in a conversation.
    pub(super) fn forget(&mut self, conversation: ConversationId) {
        self.all.remove(&conversation);
        self.gaps.retain(|gap| gap.conversation != conversation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn opened(last: i64) -> (DeliveryCursors, ConversationId) {
        let mut cursors = DeliveryCursors::default();
        let conversation = ConversationId::new();
        cursors.attach();
        cursors.load(&[(conversation, last, 0)], true);
        (cursors, conversation)
    }

    /// Reads gaps from an imagined database until there are none; gives what was sent.
    fn settle(cursors: &mut DeliveryCursors, last: i64, page: i64) -> Vec<i64> {
        let mut sent = Vec::new();
        while let Some(gap) = cursors.next_gap() {
            let rows: Vec<_> = (gap.after + 1..=last.min(gap.after + page)).collect();
            sent.extend(rows.iter().copied().filter(|seq| DeliveryCursors::wants(gap, *seq)));
            cursors.close_gap(gap, rows.last().copied(), rows.len() as i64 == page);
        }
        sent
    }

    #[test]
    fn socket_without_cursor_receives_only_new_messages() {
        let (mut cursors, c) = opened(7);
        assert_eq!(cursors.on_event(c, 8), DeliveryDecision::Known, "held until the first sync");
        cursors.release();
        assert_eq!(settle(&mut cursors, 8, 10), [8]);
        assert_eq!(cursors.on_event(c, 9), DeliveryDecision::Next);
    }

    #[test]
    fn sequence_gap_is_filled_from_database() {
        let (mut cursors, c) = opened(0);
        cursors.release();
        assert_eq!(cursors.on_event(c, 1), DeliveryDecision::Next);
        assert_eq!(cursors.on_event(c, 4), DeliveryDecision::Early);
        cursors.seek_gap(c);
        assert_eq!(cursors.on_event(c, 5), DeliveryDecision::Known, "it is being read");
        assert_eq!(settle(&mut cursors, 5, 2), [2, 3, 4, 5]);
        assert_eq!(cursors.on_event(c, 5), DeliveryDecision::Known, "sent already");
    }

    #[test]
    fn catch_up_is_in_progress_until_gap_is_filled() {
        let (mut cursors, c) = opened(0);
        cursors.release();
        assert!(!cursors.is_reading(c));
        cursors.note(c, 3);
        assert!(cursors.is_reading(c));
        assert_eq!(settle(&mut cursors, 3, 2), [1, 2, 3]);
        assert!(!cursors.is_reading(c));
    }

    #[test]
    fn known_missing_message_triggers_catch_up() {
        let (mut cursors, c) = opened(1);
        cursors.release();
        cursors.observe_head(c, 1);
        assert!(!cursors.is_reading(c), "it is there");
        cursors.observe_head(c, 2);
        assert_eq!(settle(&mut cursors, 2, 10), [2]);
        assert_eq!(cursors.on_event(c, 2), DeliveryDecision::Known, "read already");
        let stranger = ConversationId::new();
        cursors.observe_head(stranger, 2);
        assert!(!cursors.is_reading(stranger));
    }

    #[test]
    fn late_sync_fetches_only_earlier_messages() {
        let (mut cursors, c) = opened(5);
        cursors.release();
        assert_eq!(cursors.on_event(c, 6), DeliveryDecision::Next);
        cursors.sync(c, 2, 6, 0);
        assert_eq!(settle(&mut cursors, 6, 2), [3, 4, 5]);
        assert_eq!(cursors.on_event(c, 7), DeliveryDecision::Next);
    }

    proptest! {
        /// Whatever arrives when, after a `sync` from `has` each message comes once, in order.
        #[test]
        fn messages_are_delivered_exactly_once_in_order(
            before in 0i64..20,
            has in 0i64..20,
            steps in prop::collection::vec((0u8..6, 1i64..4), 0..60),
        ) {
            let (mut cursors, c) = opened(before);
            let has = has.min(before);
            let mut last = before;
            let mut got: Vec<i64> = Vec::new();
            let mut reading: Option<(SequenceGap, Vec<i64>, bool)> = None;
            let mut early = BTreeSet::new();
            cursors.load(&[(c, last, 0)], false);
            cursors.seek_gaps();
            cursors.sync(c, has, last, 0);
            cursors.release();
            for (what, n) in steps {
                match what {
                    0 => {                                   // said, and heard backwards
                        for seq in (last + 1..=last + n).rev() {
                            match cursors.on_event(c, seq) {
                                DeliveryDecision::Next => got.push(seq),
                                DeliveryDecision::Early => drop(early.insert(seq)),
                                DeliveryDecision::Known => continue,
                            }
                            while let Some(next) = got.last().map(|seq| seq + 1)
                                && early.remove(&next)
                                && cursors.on_event(c, next) == DeliveryDecision::Next
                            {
                                got.push(next);
                            }
                        }
                        last += n;
                    }
                    4 => {                                   // what is missing does not come
                        early.clear();
                        cursors.seek_gap(c);
                    }
                    1 => last += n,                          // said, not heard
                    2 => match reading.take() {              // a page is read, then it arrives
                        Some((gap, rows, full)) => {
                            got.extend(rows.iter().copied().filter(|s| DeliveryCursors::wants(gap, *s)));
                            cursors.close_gap(gap, rows.last().copied(), full);
                        }
                        None => if let Some(gap) = cursors.next_gap() {
                            let rows: Vec<_> = (gap.after + 1..=last.min(gap.after + n)).collect();
                            let full = rows.len() as i64 == n;
                            reading = Some((gap, rows, full));
                        },
                    },
                    _ => { cursors.load(&[(c, last, 0)], false); cursors.seek_gaps() }
                }
            }
            if let Some((gap, rows, full)) = reading {
                got.extend(rows.iter().copied().filter(|s| DeliveryCursors::wants(gap, *s)));
                cursors.close_gap(gap, rows.last().copied(), full);
            }
            cursors.load(&[(c, last, 0)], false);
            cursors.seek_gaps();
            got.extend(settle(&mut cursors, last, 3));
            prop_assert_eq!(got, (has + 1..=last).collect::<Vec<_>>());
        }
    }
}
