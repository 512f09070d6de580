//! Messages between nodes about calls.

use base::ids::{CallId, ConversationId, DeviceId, NodeId, SessionId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::protocol::calls::{ActiveCall, CallRole, IncomingCall};

/// What nodes know about each other's calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteCallSummary {
    /// Identifier of the call.
    pub call_id: CallId,
    /// Key that at most one call may have at a time.
    pub key: CallKey,
    /// The conversation the call belongs to.
    pub conversation_id: Option<ConversationId>,
    /// Current participants and their locations.
    #[serde(rename = "seats")]
    pub participants: Vec<ParticipantLocation>,
    /// Invited users whose devices ring, with the event for devices that connect meanwhile.
    pub ringing: Vec<(UserId, IncomingCall)>,
    /// Entry for call statistics.
    pub active: Option<ActiveCall>,
}

/// Key that at most one call may have at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKey {
    /// A call between two users, the lower id first.
    Pair(UserId, UserId),
    /// A call of a conversation.
    Conversation(ConversationId),
    /// A call joined by session name.
    Name(String),
}

/// Location of one participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ParticipantLocation {
    /// User of the participant.
    pub user: UserId,
    /// Device of the participant.
    pub device: DeviceId,
    /// Session of the device.
    pub session: SessionId,
    /// Node that runs the session.
    pub node: NodeId,
    /// Whether the socket was opened with a call token: it receives only events addressed to this
    /// participant.
    pub guest: bool,
}

/// A device's request about a call, forwarded to the node of the call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ForwardedCallRequest {
    /// Location of the requesting device.
    #[serde(rename = "seat")]
    pub participant: ParticipantLocation,
    /// Display name of the user.
    pub name: String,
    /// Call grant, if the socket was opened with a call token.
    #[serde(rename = "pass")]
    pub grant: Option<ForwardedCallGrant>,
    /// Wire name of the event.
    pub event: String,
    /// Data of the event as JSON.
    pub data: Box<RawValue>,
}

/// The one call that a call token gives access to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ForwardedCallGrant {
    /// Name of the session.
    pub session: String,
    /// Role of the holder in the call.
    pub role: CallRole,
}

/// Result of a [`ForwardedCallRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedCallReply<E> {
    /// The request was executed; JSON of the reply.
    Done(Box<RawValue>),
    /// The request was rejected.
    #[serde(rename = "refused")]
    Rejected(E),
    /// The call is not on that node.
    #[serde(rename = "elsewhere")]
    CallNotHere,
}

/// A room that another node takes over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoomHandOff {
    /// Key of the room's lease.
    pub key: String,
    /// Fencing token under which the sender owns the room.
    pub epoch: u64,
    /// The call's state as the room persists it.
    pub call: Box<RawValue>,
}
