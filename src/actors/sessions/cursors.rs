//! Delivery cursors of a socket: what it has been sent of each conversation, in one of its two
//! sequences (messages, or changes of messages). Pure, so that ordering can be tested on its own.

use std::collections::{HashMap, VecDeque};

use base::ids::ConversationId;

/// The position of one conversation on one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ConversationCursor {
    /// The last `seq` that was sent.
    sent: i64,
    /// Where sending began on this socket; below it the device asks with `sync`.
    from: i64,
    /// The newest `seq` known to exist.
    known: i64,
}

/// A range of a sequence that must be read from the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SequenceGap {
    pub(super) conversation: ConversationId,
    /// Read what follows this `seq`.
    pub(super) after: i64,
    /// The last `seq` to read; `None` reads to the end and continues with live events.
    until: Option<i64>,
    /// The newest `seq` known when reading began: an empty page proves nothing about later ones.
    known_at_start: i64,
}

/// What to do with an event that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryDecision {
    /// It is the next one; it is counted as sent.
    Next,
    /// Its predecessors are missing and are not being read yet, so it may wait for them. If it does
    /// not, they must be read ([`DeliveryCursors::seek_gap`]).
    OutOfOrder,
    /// It was sent already, or will be read from the database.
    AlreadyCovered,
}

/// The cursors of all conversations of one session.
#[derive(Debug, Default)]
pub(super) struct DeliveryCursors {
    by_conversation: HashMap<ConversationId, ConversationCursor>,
    gaps: VecDeque<SequenceGap>,
    /// Until the first `sync` of the device (or a short timeout) nothing is sent, only recorded.
    is_holding: bool,
}

impl DeliveryCursors {
    /// A new socket was attached: what was sent to the previous one may be lost, so only a `sync`
    /// goes below it.
    pub(super) fn attach(&mut self) {
        self.is_holding = true;
        self.gaps.clear();
        for cursor in self.by_conversation.values_mut() {
            cursor.from = cursor.sent;
        }
    }

    /// Sets the newest `seq` of each conversation. In a new session the cursors start there, since
    /// older messages are requested with `sync`; in an existing session, a conversation not seen
    /// yet starts where the user joined it.
    pub(super) fn load(&mut self, positions: &[(ConversationId, i64, i64)], is_new_session: bool) {
        for &(conversation, last_seq, joined_seq) in positions {
            let start = if is_new_session { last_seq } else { joined_seq };
            let new_cursor = ConversationCursor { sent: start, from: start, known: last_seq };
            let cursor = self.by_conversation.entry(conversation).or_insert(new_cursor);
            if is_new_session {
                (cursor.sent, cursor.from) = (start, start);
            }
            cursor.known = cursor.known.max(last_seq);
        }
    }

    /// Records the newest `seq` of a conversation. A conversation not seen before is read entirely
    /// from the database, which knows what the user may see.
    pub(super) fn advance_known(&mut self, conversation: ConversationId, seq: i64) {
        let new_cursor = ConversationCursor { sent: 0, from: 0, known: 0 };
        let cursor = self.by_conversation.entry(conversation).or_insert(new_cursor);
        cursor.known = cursor.known.max(seq);
        self.seek_gap(conversation);
    }

    /// Records that a message exists, in a conversation that was seen before: if it was not
    /// received yet, it and its predecessors are read.
    pub(super) fn observe_head(&mut self, conversation: ConversationId, seq: i64) {
        if self.by_conversation.contains_key(&conversation) {
            self.advance_known(conversation, seq);
        }
    }

    /// Records a received event and decides what to do with it.
    pub(super) fn on_event(&mut self, conversation: ConversationId, seq: i64) -> DeliveryDecision {
        let Some(cursor) = self.by_conversation.get_mut(&conversation) else {
            self.advance_known(conversation, seq);
            return DeliveryDecision::AlreadyCovered;
        };
        cursor.known = cursor.known.max(seq);
        if self.is_holding || seq <= cursor.sent {
            return DeliveryDecision::AlreadyCovered;
        }
        let catching_up =
            self.gaps.iter().any(|gap| gap.conversation == conversation && gap.until.is_none());
        if catching_up {
            return DeliveryDecision::AlreadyCovered;
        }
        if seq == cursor.sent + 1 {
            cursor.sent = seq;
            return DeliveryDecision::Next;
        }
        DeliveryDecision::OutOfOrder
    }

    /// Applies the cursor that the device sent with `sync`.
    pub(super) fn sync(
        &mut self,
        conversation: ConversationId,
        device_seq: i64,
        last_seq: i64,
        joined_seq: i64,
    ) {
        let device_seq = device_seq.clamp(joined_seq.min(last_seq), last_seq.max(joined_seq));
        let start = ConversationCursor { sent: device_seq, from: device_seq, known: last_seq };
        let cursor = self.by_conversation.entry(conversation).or_insert(start);
        cursor.known = cursor.known.max(last_seq);
        if self.is_holding {
            cursor.sent = device_seq;
            cursor.from = device_seq;
        } else if device_seq < cursor.from {
            let until = Some(cursor.from);
            cursor.from = device_seq;
            // A second `sync` that goes further back extends the gap instead of adding one.
            let mut pending = self.gaps.iter_mut().skip(1);
            let existing =
                pending.find(|gap| gap.conversation == conversation && gap.until.is_some());
            match existing {
                Some(gap) => gap.after = device_seq,
                None => self.gaps.push_back(SequenceGap {
                    conversation,
                    after: device_seq,
                    until,
                    known_at_start: 0,
                }),
            }
        }
    }

    /// Ends holding: events are sent from now on, and what was recorded meanwhile is read from the
    /// database.
    pub(super) fn stop_holding(&mut self) {
        self.is_holding = false;
        self.seek_gaps();
    }

    /// Adds gaps for all conversations that are behind, unless holding.
    pub(super) fn seek_gaps(&mut self) {
        let conversations: Vec<_> = self.by_conversation.keys().copied().collect();
        for conversation in conversations {
            self.seek_gap(conversation);
        }
    }

    /// Adds a gap if a conversation is behind what is known to exist, unless holding.
    pub(super) fn seek_gap(&mut self, conversation: ConversationId) {
        let Some(cursor) = self.by_conversation.get(&conversation).filter(|_| !self.is_holding)
        else {
            return;
        };
        let open = |gap: &SequenceGap| gap.conversation == conversation && gap.until.is_none();
        if cursor.known > cursor.sent && !self.gaps.iter().any(open) {
            self.gaps.push_back(SequenceGap {
                conversation,
                after: cursor.sent,
                until: None,
                known_at_start: 0,
            });
        }
    }

    /// Whether part of a conversation is being read, or is about to be.
    pub(super) fn is_reading(&self, conversation: ConversationId) -> bool {
        self.gaps.iter().any(|gap| gap.conversation == conversation)
    }

    /// The next gap to read, unless holding.
    pub(super) fn next_gap(&mut self) -> Option<SequenceGap> {
        let gap = self.gaps.front_mut().filter(|_| !self.is_holding)?;
        gap.known_at_start =
            self.by_conversation.get(&gap.conversation).map_or(0, |cursor| cursor.known);
        Some(*gap)
    }

    /// Applies a page read for the first gap: its last `seq`, and whether there may be more.
    pub(super) fn close_gap(&mut self, gap: SequenceGap, last_seq: Option<i64>, has_more: bool) {
        let Some(front) = self.gaps.front_mut().filter(|front| **front == gap) else { return };
        let read_up_to = last_seq.unwrap_or(gap.after);
        front.after = read_up_to;
        let is_done = match gap.until {
            Some(until) => !has_more || read_up_to >= until,
            None => {
                let Some(cursor) = self.by_conversation.get_mut(&gap.conversation) else {
                    self.gaps.pop_front();
                    return;
                };
                cursor.sent = cursor.sent.max(read_up_to);
                if !has_more && last_seq.is_none() {
                    cursor.sent = cursor.sent.max(gap.known_at_start); // the rest is not visible to this user
                }
                !has_more && cursor.sent >= cursor.known
            }
        };
        if is_done {
            self.gaps.pop_front();
        }
    }

    /// Whether a message of a page read for `gap` is to be sent.
    pub(super) fn wants(gap: SequenceGap, seq: i64) -> bool {
        seq > gap.after && gap.until.is_none_or(|until| seq <= until)
    }

    /// Removes a conversation that the user has left.
    pub(super) fn remove(&mut self, conversation: ConversationId) {
        self.by_conversation.remove(&conversation);
        self.gaps.retain(|gap| gap.conversation != conversation);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn cursors_at(last_seq: i64) -> (DeliveryCursors, ConversationId) {
        let mut cursors = DeliveryCursors::default();
        let conversation = ConversationId::new();
        cursors.attach();
        cursors.load(&[(conversation, last_seq, 0)], true);
        (cursors, conversation)
    }

    /// Fills gaps from an imagined database until there are none; returns what was sent.
    fn fill_gaps(cursors: &mut DeliveryCursors, last_seq: i64, page: i64) -> Vec<i64> {
        let mut sent = Vec::new();
        while let Some(gap) = cursors.next_gap() {
            let rows: Vec<_> = (gap.after + 1..=last_seq.min(gap.after + page)).collect();
            sent.extend(rows.iter().copied().filter(|seq| DeliveryCursors::wants(gap, *seq)));
            cursors.close_gap(gap, rows.last().copied(), rows.len() as i64 == page);
        }
        sent
    }

    #[test]
    fn socket_without_cursor_receives_only_new_messages() {
        let (mut cursors, c) = cursors_at(7);
        assert_eq!(
            cursors.on_event(c, 8),
            DeliveryDecision::AlreadyCovered,
            "held until the first sync"
        );
        cursors.stop_holding();
        assert_eq!(fill_gaps(&mut cursors, 8, 10), [8]);
        assert_eq!(cursors.on_event(c, 9), DeliveryDecision::Next);
    }

    #[test]
    fn sequence_gap_is_filled_from_database() {
        let (mut cursors, c) = cursors_at(0);
        cursors.stop_holding();
        assert_eq!(cursors.on_event(c, 1), DeliveryDecision::Next);
        assert_eq!(cursors.on_event(c, 4), DeliveryDecision::OutOfOrder);
        cursors.seek_gap(c);
        assert_eq!(cursors.on_event(c, 5), DeliveryDecision::AlreadyCovered, "it is being read");
        assert_eq!(fill_gaps(&mut cursors, 5, 2), [2, 3, 4, 5]);
        assert_eq!(cursors.on_event(c, 5), DeliveryDecision::AlreadyCovered, "sent already");
    }

    #[test]
    fn catch_up_is_in_progress_until_gap_is_filled() {
        let (mut cursors, c) = cursors_at(0);
        cursors.stop_holding();
        assert!(!cursors.is_reading(c));
        cursors.advance_known(c, 3);
        assert!(cursors.is_reading(c));
        assert_eq!(fill_gaps(&mut cursors, 3, 2), [1, 2, 3]);
        assert!(!cursors.is_reading(c));
    }

    #[test]
    fn known_missing_message_triggers_catch_up() {
        let (mut cursors, c) = cursors_at(1);
        cursors.stop_holding();
        cursors.observe_head(c, 1);
        assert!(!cursors.is_reading(c), "message 1 was sent");
        cursors.observe_head(c, 2);
        assert_eq!(fill_gaps(&mut cursors, 2, 10), [2]);
        assert_eq!(cursors.on_event(c, 2), DeliveryDecision::AlreadyCovered, "read already");
        let unseen = ConversationId::new();
        cursors.observe_head(unseen, 2);
        assert!(!cursors.is_reading(unseen));
    }

    #[test]
    fn late_sync_fetches_only_earlier_messages() {
        let (mut cursors, c) = cursors_at(5);
        cursors.stop_holding();
        assert_eq!(cursors.on_event(c, 6), DeliveryDecision::Next);
        cursors.sync(c, 2, 6, 0);
        assert_eq!(fill_gaps(&mut cursors, 6, 2), [3, 4, 5]);
        assert_eq!(cursors.on_event(c, 7), DeliveryDecision::Next);
    }

    proptest! {
        /// Whatever arrives when, after a `sync` from `device_seq` each message is sent once, in order.
        #[test]
        fn messages_are_delivered_exactly_once_in_order(
            before in 0i64..20,
            device_seq in 0i64..20,
            steps in prop::collection::vec((0u8..6, 1i64..4), 0..60),
        ) {
            let (mut cursors, c) = cursors_at(before);
            let device_seq = device_seq.min(before);
            let mut last_seq = before;
            let mut sent: Vec<i64> = Vec::new();
            let mut reading: Option<(SequenceGap, Vec<i64>, bool)> = None;
            let mut buffered = BTreeSet::new();
            cursors.load(&[(c, last_seq, 0)], false);
            cursors.seek_gaps();
            cursors.sync(c, device_seq, last_seq, 0);
            cursors.stop_holding();
            for (step, n) in steps {
                match step {
                    0 => { // sent, and received in reverse order
                        for seq in (last_seq + 1..=last_seq + n).rev() {
                            match cursors.on_event(c, seq) {
                                DeliveryDecision::Next => sent.push(seq),
                                DeliveryDecision::OutOfOrder => drop(buffered.insert(seq)),
                                DeliveryDecision::AlreadyCovered => continue,
                            }
                            while let Some(next) = sent.last().map(|seq| seq + 1)
                                && buffered.remove(&next)
                                && cursors.on_event(c, next) == DeliveryDecision::Next
                            {
                                sent.push(next);
                            }
                        }
                        last_seq += n;
                    }
                    4 => { // the missing events never arrive
                        buffered.clear();
                        cursors.seek_gap(c);
                    }
                    1 => last_seq += n, // sent, not received
                    2 => match reading.take() { // a page is read, then it arrives
                        Some((gap, rows, has_more)) => {
                            sent.extend(rows.iter().copied().filter(|s| DeliveryCursors::wants(gap, *s)));
                            cursors.close_gap(gap, rows.last().copied(), has_more);
                        }
                        None => if let Some(gap) = cursors.next_gap() {
                            let rows: Vec<_> = (gap.after + 1..=last_seq.min(gap.after + n)).collect();
                            let has_more = rows.len() as i64 == n;
                            reading = Some((gap, rows, has_more));
                        },
                    },
                    _ => { cursors.load(&[(c, last_seq, 0)], false); cursors.seek_gaps() }
                }
            }
            if let Some((gap, rows, has_more)) = reading {
                sent.extend(rows.iter().copied().filter(|s| DeliveryCursors::wants(gap, *s)));
                cursors.close_gap(gap, rows.last().copied(), has_more);
            }
            cursors.load(&[(c, last_seq, 0)], false);
            cursors.seek_gaps();
            sent.extend(fill_gaps(&mut cursors, last_seq, 3));
            prop_assert_eq!(sent, (device_seq + 1..=last_seq).collect::<Vec<_>>());
        }
    }
}
