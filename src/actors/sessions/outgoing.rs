//! An event on its way to many sockets: serialised once, framed once for each kind of socket.

use std::sync::{Arc, OnceLock};

use base::ids::ConversationId;
use bytestring::ByteString;

use crate::protocol::server::ServerEvent;

/// Which of the two orders of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// What is said, by `seq`.
    Said,
    /// What becomes of it, by `revision`.
    Changed,
}

/// A number in one of the orders of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub conversation: ConversationId,
    /// In which order.
    pub order: Order,
    /// The number.
    pub number: i64,
}

impl Place {
    /// That of a message.
    pub const fn said(conversation: ConversationId, number: i64) -> Self {
        Self { conversation, order: Order::Said, number }
    }

    /// That of a change.
    pub const fn changed(conversation: ConversationId, number: i64) -> Self {
        Self { conversation, order: Order::Changed, number }
    }
}

/// Cheap to clone; all clones share the text.
#[derive(Clone, Debug)]
pub struct Outgoing(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    name: &'static str,
    data: String,
    place: Option<Place>,
    plain: OnceLock<ByteString>,
    socket_io: OnceLock<ByteString>,
}

impl Outgoing {
    /// Serialises an event.
    pub fn new(event: &ServerEvent) -> Self {
        let place = match event {
            ServerEvent::Message(m) => Some(Place::said(m.conversation_id, m.seq)),
            ServerEvent::MessageEdited(m) => Some(Place::changed(m.conversation_id, m.revision)),
            ServerEvent::MessageDeleted(m) => Some(Place::changed(m.conversation_id, m.revision)),
            ServerEvent::Reaction(r) => Some(Place::changed(r.conversation_id, r.revision)),
            _ => None,
        };
        #[expect(clippy::expect_used, reason = "the shapes of protocol/ have text keys only")]
        let data = serde_json::to_string(event).expect("a protocol shape serialises");
        Self(Arc::new(Inner {
            name: event.name(),
            data,
            place,
            plain: OnceLock::new(),
            socket_io: OnceLock::new(),
        }))
    }

    /// The event's name.
    pub fn name(&self) -> &'static str {
        self.0.name
    }

    /// Where in an order of a conversation it stands, if it is a message or a change of one.
    pub fn place(&self) -> Option<Place> {
        self.0.place
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
