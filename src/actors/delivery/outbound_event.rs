//! An event to be sent to many sockets: serialised once, framed once per kind of socket.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use bytestring::ByteString;
use serde_json::value::RawValue;

use crate::protocol::cluster::{Priority, RawEvent};
pub use crate::protocol::cluster::{SequenceKind, SequencePosition};
use crate::protocol::server::ServerEvent;

/// A serialised event; cheap to clone, as all clones share the text.
#[derive(Clone, Debug)]
pub struct OutboundEvent(Arc<OutboundEventInner>);

#[derive(Debug)]
struct OutboundEventInner {
    name: Cow<'static, str>,
    data: Box<RawValue>,
    priority: Priority,
    position: Option<SequencePosition>,
    changed_seq: Option<i64>,
    plain: OnceLock<ByteString>,
    socket_io: OnceLock<ByteString>,
}

impl OutboundEvent {
    /// Serialises an event.
    pub fn new(event: &ServerEvent) -> Self {
        let change =
            |id, revision, seq| (Some(SequencePosition::revision(id, revision)), Some(seq));
        let sequence = match event {
            ServerEvent::Message(m) => {
                (Some(SequencePosition::message(m.conversation_id, m.seq)), None)
            }
            ServerEvent::MessageEdited(m) => change(m.conversation_id, m.revision, m.seq),
            ServerEvent::MessageDeleted(m) => change(m.conversation_id, m.revision, m.seq),
            ServerEvent::Reaction(r) => change(r.conversation_id, r.revision, r.seq),
            _ => (None, None),
        };
        #[expect(clippy::expect_used, reason = "the shapes of protocol/ have text keys only")]
        let data = serde_json::value::to_raw_value(event).expect("a protocol shape serialises");
        let priority = match event {
            ServerEvent::Typing(_) => Priority::Low,
            ServerEvent::Call(_) => Priority::High,
            _ => Priority::Normal,
        };
        Self::build(event.name().into(), data, sequence, priority)
    }

    /// An event received from another node.
    pub fn from_raw(event: RawEvent, priority: Priority) -> Self {
        Self::build(event.name.into(), event.data, (event.position, event.message_seq), priority)
    }

    /// The form that is sent to another node.
    pub fn to_raw(&self) -> RawEvent {
        let OutboundEventInner { name, data, position, changed_seq, .. } = &*self.0;
        RawEvent {
            name: name.clone().into_owned(),
            data: data.clone(),
            position: *position,
            message_seq: *changed_seq,
        }
    }

    /// Its priority on the event bus.
    pub fn priority(&self) -> Priority {
        self.0.priority
    }

    fn build(
        name: Cow<'static, str>,
        data: Box<RawValue>,
        (position, changed_seq): (Option<SequencePosition>, Option<i64>),
        priority: Priority,
    ) -> Self {
        Self(Arc::new(OutboundEventInner {
            name,
            data,
            position,
            changed_seq,
            priority,
            plain: OnceLock::new(),
            socket_io: OnceLock::new(),
        }))
    }

    /// The event name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The position in one of the sequences of a conversation, if it is a message or a change of
    /// one.
    pub fn position(&self) -> Option<SequencePosition> {
        self.0.position
    }

    /// The `seq` of the message that it changes, if it changes one.
    pub fn changed_seq(&self) -> Option<i64> {
        self.0.changed_seq
    }

    /// The frame for `/ws`.
    pub fn websocket_frame(&self) -> ByteString {
        let frame = || format!(r#"{{"event":"{}","data":{}}}"#, self.0.name, self.0.data).into();
        self.0.plain.get_or_init(frame).clone()
    }

    /// The Engine.IO message with a Socket.IO event in the main namespace.
    pub fn socket_io_frame(&self) -> ByteString {
        let frame = || format!(r#"42["{}",{}]"#, self.0.name, self.0.data).into();
        self.0.socket_io.get_or_init(frame).clone()
    }
}
