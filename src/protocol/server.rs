//! Events from the server to a device.

use base::clock::Time;
use base::ids::{ConversationId, DeviceId, SessionId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::chat::{Conversation, Message, Summary};

/// The socket is open: the reply to `authenticate`, and an event as well.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Authenticated {
    /// Who.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// On which device.
    #[schema(value_type = String)]
    pub device_id: DeviceId,
    /// The session the socket is attached to.
    #[schema(value_type = String)]
    pub session_id: SessionId,
    /// The server's clock.
    #[schema(value_type = String, format = DateTime)]
    pub server_time: Time,
    /// Whether the session was waiting for the device to come back.
    pub resumed: bool,
}

/// The reply to `sync`; the missing messages follow as `message` events, in order.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Synced {
    /// Every conversation of the person.
    pub conversations: Vec<Summary>,
}

/// The reply to `ack`, `read` and `typing`.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Done {}

/// How far somebody has received and read.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Receipt {
    /// Where.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
    /// Who.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Received up to here.
    pub delivered_seq: i64,
    /// Read up to here.
    pub read_seq: i64,
}

/// Somebody is writing.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TypingNow {
    /// Where.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
    /// Who.
    #[schema(value_type = String)]
    pub user_id: UserId,
}

/// Somebody is no longer in a conversation; sent to them and to those who remain.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MemberLeft {
    /// Where.
    #[schema(value_type = String)]
    pub id: ConversationId,
    /// Who.
    #[schema(value_type = String)]
    pub left: UserId,
}

/// A person, as named to somebody whom a contact request concerns.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Person {
    /// Who.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// How that person calls themselves.
    pub name: String,
}

/// This node goes away: connect again.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Reconnect {
    /// How long to wait before.
    pub after_ms: u64,
}

/// What the server may say.
#[derive(Clone, Debug)]
pub enum ServerEvent {
    /// See [`Authenticated`].
    Authenticated(Authenticated),
    /// Something was said.
    Message(Message),
    /// See [`Receipt`].
    Receipt(Receipt),
    /// See [`TypingNow`].
    Typing(TypingNow),
    /// A conversation is new to the person, or changed.
    Conversation(Conversation),
    /// See [`MemberLeft`]; the same event name, told apart by `left`.
    ConversationLeft(MemberLeft),
    /// Somebody asks to become a contact.
    ContactRequest(Person),
    /// Somebody agreed to be a contact.
    ContactAccepted(Person),
    /// See [`Reconnect`].
    Reconnect(Reconnect),
}

impl ServerEvent {
    /// The event's name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Authenticated(_) => "authenticated",
            Self::Message(_) => "message",
            Self::Receipt(_) => "receipt",
            Self::Typing(_) => "typing",
            Self::Conversation(_) | Self::ConversationLeft(_) => "conversation",
            Self::ContactRequest(_) => "contact_request",
            Self::ContactAccepted(_) => "contact_accepted",
            Self::Reconnect(_) => "reconnect",
        }
    }
}

/// The event's data; its name travels beside it.
impl Serialize for ServerEvent {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Authenticated(data) => data.serialize(to),
            Self::Message(data) => data.serialize(to),
            Self::Receipt(data) => data.serialize(to),
            Self::Typing(data) => data.serialize(to),
            Self::Conversation(data) => data.serialize(to),
            Self::ConversationLeft(data) => data.serialize(to),
            Self::ContactRequest(data) | Self::ContactAccepted(data) => data.serialize(to),
            Self::Reconnect(data) => data.serialize(to),
        }
    }
}
