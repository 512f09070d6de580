//! Events from the server to a device.

use base::clock::Timestamp;
use base::ids::{ConversationId, DeviceId, SessionId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::calls;
use super::chat::{ConversationDetail, ConversationSummary, MemberSettings};
use super::messages::{MessageDeleted, MessageView, Reaction};
use super::presence::PresenceEvent;

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
    pub server_time: Timestamp,
    /// Whether the session was waiting for the device to come back.
    pub resumed: bool,
}

/// The reply to `sync`; the missing messages follow as `message` events, in order, and what became
/// of others as `message_edited` (whatever changed) and `message_deleted`, in the order of changes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SyncReply {
    /// Every conversation of the person.
    pub conversations: Vec<ConversationSummary>,
}

/// The reply to `ack`, `read` and `typing`.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct EmptyReply {}

/// How far somebody has received and read.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReceiptEvent {
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
pub struct TypingEvent {
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserSummary {
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
    Message(MessageView),
    /// A message changed; here is how it is now.
    MessageEdited(MessageView),
    /// See [`MessageDeleted`].
    MessageDeleted(MessageDeleted),
    /// See [`Reaction`].
    Reaction(Reaction),
    /// See [`PresenceEvent`].
    Presence(PresenceEvent),
    /// See [`MemberSettings`]; told to the person's own devices.
    ConversationKept(MemberSettings),
    /// See [`ReceiptEvent`].
    Receipt(ReceiptEvent),
    /// See [`TypingEvent`].
    Typing(TypingEvent),
    /// A conversation is new to the person, or changed.
    Conversation(ConversationDetail),
    /// See [`MemberLeft`]; the same event name, told apart by `left`.
    ConversationLeft(MemberLeft),
    /// Somebody asks to become a contact.
    ContactRequest(UserSummary),
    /// Somebody agreed to be a contact.
    ContactAccepted(UserSummary),
    /// See [`Reconnect`].
    Reconnect(Reconnect),
    /// Something about a call.
    Call(CallServerEvent),
}

/// What the server may say about a call.
#[derive(Clone, Debug)]
pub enum CallServerEvent {
    /// See [`calls::IncomingCall`].
    IncomingCall(calls::IncomingCall),
    /// See [`calls::CallAnswered`].
    CallAnswered(calls::CallAnswered),
    /// See [`calls::CallAnswered`].
    CallDeclined(calls::CallAnswered),
    /// See [`calls::CallEnded`].
    CallEnded(calls::CallEnded),
    /// See [`calls::CallJoined`].
    CallJoined(calls::CallJoined),
    /// See [`calls::ParticipantChanged`].
    ParticipantJoined(calls::ParticipantChanged),
    /// See [`calls::ParticipantChanged`].
    ParticipantUpdated(calls::ParticipantChanged),
    /// See [`calls::ParticipantLeft`].
    ParticipantLeft(calls::ParticipantLeft),
    /// See [`calls::RelayedDescription`].
    Offer(calls::RelayedDescription),
    /// See [`calls::RelayedDescription`].
    Answer(calls::RelayedDescription),
    /// See [`calls::ServerAnswer`].
    ServerAnswer(calls::ServerAnswer),
    /// See [`calls::RelayedCandidate`].
    IceCandidate(calls::RelayedCandidate),
    /// See [`calls::TrackPublished`].
    TrackPublished(calls::TrackPublished),
    /// See [`calls::TrackUnpublished`].
    TrackUnpublished(calls::TrackUnpublished),
    /// See [`calls::TrackWanted`].
    TrackWanted(calls::TrackWanted),
    /// See [`calls::ActiveSpeaker`].
    ActiveSpeaker(calls::ActiveSpeaker),
    /// See [`calls::CallMode`].
    CallMode(calls::CallMode),
    /// See [`calls::CallMoved`].
    CallMoved(calls::CallMoved),
    /// See [`calls::CallQuality`].
    CallQuality(calls::CallQuality),
}

impl CallServerEvent {
    /// The event's name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::IncomingCall(_) => "incoming_call",
            Self::CallAnswered(_) => "call_answered",
            Self::CallDeclined(_) => "call_declined",
            Self::CallEnded(_) => "call_ended",
            Self::CallJoined(_) => "call_joined",
            Self::ParticipantJoined(_) => "participant_joined",
            Self::ParticipantUpdated(_) => "participant_updated",
            Self::ParticipantLeft(_) => "participant_left",
            Self::Offer(_) => "offer",
            Self::Answer(_) => "answer",
            Self::ServerAnswer(_) => "answer",
            Self::IceCandidate(_) => "ice_candidate",
            Self::TrackPublished(_) => "track_published",
            Self::TrackUnpublished(_) => "track_unpublished",
            Self::TrackWanted(_) => "track_wanted",
            Self::ActiveSpeaker(_) => "active_speaker",
            Self::CallMode(_) => "call_mode",
            Self::CallMoved(_) => "call_moved",
            Self::CallQuality(_) => "call_quality",
        }
    }
}

impl Serialize for CallServerEvent {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::IncomingCall(data) => data.serialize(to),
            Self::CallAnswered(data) => data.serialize(to),
            Self::CallDeclined(data) => data.serialize(to),
            Self::CallEnded(data) => data.serialize(to),
            Self::CallJoined(data) => data.serialize(to),
            Self::ParticipantJoined(data) => data.serialize(to),
            Self::ParticipantUpdated(data) => data.serialize(to),
            Self::ParticipantLeft(data) => data.serialize(to),
            Self::Offer(data) => data.serialize(to),
            Self::Answer(data) => data.serialize(to),
            Self::ServerAnswer(data) => data.serialize(to),
            Self::IceCandidate(data) => data.serialize(to),
            Self::TrackPublished(data) => data.serialize(to),
            Self::TrackUnpublished(data) => data.serialize(to),
            Self::TrackWanted(data) => data.serialize(to),
            Self::ActiveSpeaker(data) => data.serialize(to),
            Self::CallMode(data) => data.serialize(to),
            Self::CallMoved(data) => data.serialize(to),
            Self::CallQuality(data) => data.serialize(to),
        }
    }
}

impl From<CallServerEvent> for ServerEvent {
    fn from(news: CallServerEvent) -> Self {
        Self::Call(news)
    }
}

impl ServerEvent {
    /// The event's name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Authenticated(_) => "authenticated",
            Self::Message(_) => "message",
            Self::MessageEdited(_) => "message_edited",
            Self::MessageDeleted(_) => "message_deleted",
            Self::Reaction(_) => "reaction",
            Self::Presence(_) => "presence",
            Self::ConversationKept(_) => "conversation_kept",
            Self::Receipt(_) => "receipt",
            Self::Typing(_) => "typing",
            Self::Conversation(_) | Self::ConversationLeft(_) => "conversation",
            Self::ContactRequest(_) => "contact_request",
            Self::ContactAccepted(_) => "contact_accepted",
            Self::Reconnect(_) => "reconnect",
            Self::Call(news) => news.name(),
        }
    }
}

/// The event's data; its name travels beside it.
impl Serialize for ServerEvent {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Authenticated(data) => data.serialize(to),
            Self::Message(data) | Self::MessageEdited(data) => data.serialize(to),
            Self::MessageDeleted(data) => data.serialize(to),
            Self::Reaction(data) => data.serialize(to),
            Self::Presence(data) => data.serialize(to),
            Self::ConversationKept(data) => data.serialize(to),
            Self::Receipt(data) => data.serialize(to),
            Self::Typing(data) => data.serialize(to),
            Self::Conversation(data) => data.serialize(to),
            Self::ConversationLeft(data) => data.serialize(to),
            Self::ContactRequest(data) | Self::ContactAccepted(data) => data.serialize(to),
            Self::Reconnect(data) => data.serialize(to),
            Self::Call(news) => news.serialize(to),
        }
    }
}
