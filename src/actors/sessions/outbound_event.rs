//! An event on its way to many sockets: serialised once, framed once for each kind of socket.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use bytestring::ByteString;
use serde_json::value::RawValue;

use crate::protocol::cluster::{Priority, RawEvent};
pub use crate::protocol::cluster::{SequenceKind, SequencePosition};
use crate::protocol::server::ServerEvent;

/// Cheap to clone; all clones share the text.
#[derive(Clone, Debug)]
pub struct OutboundEvent(Arc<OutboundEventInner>);

#[derive(Debug)]
struct OutboundEventInner {
    name: Cow<'static, str>,
    data: Box<RawValue>,
    urgency: Priority,
    place: Option<SequencePosition>,
    about: Option<i64>,
    plain: OnceLock<ByteString>,
    socket_io: OnceLock<ByteString>,
}

impl OutboundEvent {
    /// Serialises an event.
    pub fn new(event: &ServerEvent) -> Self {
        let change =
            |id, revision, seq| (Some(SequencePosition::revision(id, revision)), Some(seq));
        let stands = match event {
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
        let urgency = match event {
            ServerEvent::Typing(_) => Priority::Low,
            ServerEvent::Call(_) => Priority::High,
            _ => Priority::Normal,
        };
        Self::made(event.name().into(), data, stands, urgency)
    }

    /// An event of another node.
    pub fn of(event: RawEvent, urgency: Priority) -> Self {
        Self::made(event.name.into(), event.data, (event.position, event.message_seq), urgency)
    }

    /// As it travels to another node.
    pub fn raw(&self) -> RawEvent {
        let OutboundEventInner { name, data, place, about, .. } = &*self.0;
        RawEvent {
            name: name.clone().into_owned(),
            data: data.clone(),
            position: *place,
            message_seq: *about,
        }
    }

    /// How much its loss would hurt.
    pub fn urgency(&self) -> Priority {
        self.0.urgency
    }

    fn made(
        name: Cow<'static, str>,
        data: Box<RawValue>,
        (place, about): (Option<SequencePosition>, Option<i64>),
        urgency: Priority,
    ) -> Self {
        Self(Arc::new(OutboundEventInner {
            name,
            data,
            place,
            about,
            urgency,
            plain: OnceLock::new(),
            socket_io: OnceLock::new(),
        }))
    }

    /// The event's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Where in an order of a conversation it stands, if it is a message or a change of one.
    pub fn place(&self) -> Option<SequencePosition> {
        self.0.place
    }

    /// The number of the message that it changes, if it changes one.
    pub fn about(&self) -> Option<i64> {
        self.0.about
    }

    /// As a frame on `/ws`.
    pub fn plain(&self) -> ByteString {
        let frame = || format!(r#"{{"event":"{}","data":{}}}"#, self.0.name, self.0.data).into();
        self.0.plain.get_or_init(frame).clone()
    }

    /// As an Engine.IO message with a Socket.IO event in the main namespace.
    pub fn socket_io(&self) -> ByteString {
        let frame = || format!(r#"42["{}",{}]"#, self.0.name, self.0.data).into();
        self.0.socket_io.get_or_init(frame).clone()
    }
}
