//! Events from the server to a device.

use base::clock::Timestamp;
use base::ids::{ConversationId, DeviceId, SessionId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::calls;
use super::chat::{ConversationDetail, ConversationSummary, MemberSettings};
use super::messages::{MessageDeleted, MessageView, Reaction};
use super::presence::PresenceEvent;
use crate::protocol::users::UserSummary;

/// The socket is authenticated: reply to `authenticate`, also sent as an event.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Authenticated {
    /// The authenticated user.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// The authenticated device.
    #[schema(value_type = String)]
    pub device_id: DeviceId,
    /// The session the socket is attached to.
    #[schema(value_type = String)]
    pub session_id: SessionId,
    /// Current time of the server.
    #[schema(value_type = String, format = DateTime)]
    pub server_time: Timestamp,
    /// Whether an existing session was resumed within the resume window.
    pub resumed: bool,
}

/// Reply to `sync`. The missing messages follow as `message` events in order; changes follow as
/// `message_edited` (any change) and `message_deleted`, in the order of revisions.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SyncReply {
    /// All conversations of the user.
    pub conversations: Vec<ConversationSummary>,
}

/// Reply to `ack`, `read` and `typing`.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct EmptyReply {}

/// Delivered and read positions of a member.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReceiptEvent {
    /// The conversation this refers to.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
    /// The member this refers to.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Highest `seq` received by the member's devices.
    pub delivered_seq: i64,
    /// Highest `seq` read by the member.
    pub read_seq: i64,
}

/// A member is typing.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TypingEvent {
    /// The conversation this refers to.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
    /// The member who types.
    #[schema(value_type = String)]
    pub user_id: UserId,
}

/// A member left a conversation; sent to them and to the remaining members.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MemberLeft {
    /// Identifier of the conversation.
    #[schema(value_type = String)]
    pub id: ConversationId,
    /// The member who left or was removed.
    #[schema(value_type = String)]
    pub left: UserId,
}

/// This node shuts down: connect again.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Reconnect {
    /// Delay before reconnecting, in milliseconds.
    pub after_ms: u64,
}

/// All events the server may send.
#[derive(Clone, Debug)]
pub enum ServerEvent {
    /// The socket is authenticated.
    Authenticated(Authenticated),
    /// A new message.
    Message(MessageView),
    /// A message changed; carries its current state.
    MessageEdited(MessageView),
    /// A message was deleted.
    MessageDeleted(MessageDeleted),
    /// A reaction was added or removed.
    Reaction(Reaction),
    /// Presence of a contact changed.
    Presence(PresenceEvent),
    /// Settings of a conversation changed; sent to the user's own devices.
    ConversationKept(MemberSettings),
    /// Receipt positions of a member changed.
    Receipt(ReceiptEvent),
    /// A member is typing.
    Typing(TypingEvent),
    /// A conversation was created for the user, or changed.
    Conversation(ConversationDetail),
    /// A member left. It has the same event name as `Conversation`; the field `left` distinguishes
    /// it.
    ConversationLeft(MemberLeft),
    /// A contact request was received.
    ContactRequest(UserSummary),
    /// A contact request was accepted.
    ContactAccepted(UserSummary),
    /// This node shuts down.
    Reconnect(Reconnect),
    /// An event about a call.
    Call(CallServerEvent),
}

/// All call events the server may send.
#[derive(Clone, Debug)]
pub enum CallServerEvent {
    /// Somebody calls this user.
    IncomingCall(calls::IncomingCall),
    /// An invitee accepted.
    CallAnswered(calls::CallAnswered),
    /// An invitee declined.
    CallDeclined(calls::CallAnswered),
    /// The call ended.
    CallEnded(calls::CallEnded),
    /// This device joined a call.
    CallJoined(calls::CallJoined),
    /// Another participant joined.
    ParticipantJoined(calls::ParticipantChanged),
    /// A participant changed.
    ParticipantUpdated(calls::ParticipantChanged),
    /// A participant left.
    ParticipantLeft(calls::ParticipantLeft),
    /// SDP offer of another participant.
    Offer(calls::RelayedDescription),
    /// SDP answer of another participant.
    Answer(calls::RelayedDescription),
    /// SDP answer of the server.
    ServerAnswer(calls::ServerAnswer),
    /// ICE candidate of another participant.
    IceCandidate(calls::RelayedCandidate),
    /// A track can be received.
    TrackPublished(calls::TrackPublished),
    /// A track can no longer be received.
    TrackUnpublished(calls::TrackUnpublished),
    /// Layers of an own track that have subscribers.
    TrackWanted(calls::TrackWanted),
    /// The active speakers changed.
    ActiveSpeaker(calls::ActiveSpeaker),
    /// The media topology changed.
    CallMode(calls::CallMode),
    /// The SFU room was created anew.
    CallMoved(calls::CallMoved),
    /// Connection quality of this device.
    CallQuality(calls::CallQuality),
}

impl CallServerEvent {
    /// Wire name of the event.
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
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::IncomingCall(data) => data.serialize(serializer),
            Self::CallAnswered(data) => data.serialize(serializer),
            Self::CallDeclined(data) => data.serialize(serializer),
            Self::CallEnded(data) => data.serialize(serializer),
            Self::CallJoined(data) => data.serialize(serializer),
            Self::ParticipantJoined(data) => data.serialize(serializer),
            Self::ParticipantUpdated(data) => data.serialize(serializer),
            Self::ParticipantLeft(data) => data.serialize(serializer),
            Self::Offer(data) => data.serialize(serializer),
            Self::Answer(data) => data.serialize(serializer),
            Self::ServerAnswer(data) => data.serialize(serializer),
            Self::IceCandidate(data) => data.serialize(serializer),
            Self::TrackPublished(data) => data.serialize(serializer),
            Self::TrackUnpublished(data) => data.serialize(serializer),
            Self::TrackWanted(data) => data.serialize(serializer),
            Self::ActiveSpeaker(data) => data.serialize(serializer),
            Self::CallMode(data) => data.serialize(serializer),
            Self::CallMoved(data) => data.serialize(serializer),
            Self::CallQuality(data) => data.serialize(serializer),
        }
    }
}

impl From<CallServerEvent> for ServerEvent {
    fn from(event: CallServerEvent) -> Self {
        Self::Call(event)
    }
}

impl ServerEvent {
    /// Wire name of the event.
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
            Self::Call(event) => event.name(),
        }
    }
}

/// Serializes the data of the event only; its name is sent next to it.
impl Serialize for ServerEvent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Authenticated(data) => data.serialize(serializer),
            Self::Message(data) | Self::MessageEdited(data) => data.serialize(serializer),
            Self::MessageDeleted(data) => data.serialize(serializer),
            Self::Reaction(data) => data.serialize(serializer),
            Self::Presence(data) => data.serialize(serializer),
            Self::ConversationKept(data) => data.serialize(serializer),
            Self::Receipt(data) => data.serialize(serializer),
            Self::Typing(data) => data.serialize(serializer),
            Self::Conversation(data) => data.serialize(serializer),
            Self::ConversationLeft(data) => data.serialize(serializer),
            Self::ContactRequest(data) | Self::ContactAccepted(data) => data.serialize(serializer),
            Self::Reconnect(data) => data.serialize(serializer),
            Self::Call(event) => event.serialize(serializer),
        }
    }
}
