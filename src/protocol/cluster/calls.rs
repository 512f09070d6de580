//! What nodes tell and ask each other about calls.

use base::ids::{CallId, ConversationId, DeviceId, NodeId, SessionId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::protocol::calls::{ActiveCall, CallRole, IncomingCall};

/// What nodes know of each other's calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteCallSummary {
    /// Which.
    pub call_id: CallId,
    /// What there can be only one call for.
    pub key: CallKey,
    /// The conversation it belongs to.
    pub conversation_id: Option<ConversationId>,
    /// Who is in it.
    pub seats: Vec<ParticipantLocation>,
    /// Whose devices ring, and what those are told that come meanwhile.
    pub ringing: Vec<(UserId, IncomingCall)>,
    /// For statistics.
    pub active: Option<ActiveCall>,
}

/// What there can be only one call for at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKey {
    /// These two people, the lower id first.
    Pair(UserId, UserId),
    /// This conversation.
    Conversation(ConversationId),
    /// This name of a session.
    Name(String),
}

/// Where one participant sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ParticipantLocation {
    /// Who.
    pub user: UserId,
    /// At which device.
    pub device: DeviceId,
    /// Behind which session.
    pub session: SessionId,
    /// On which node that session lives.
    pub node: NodeId,
    /// Whether it was opened with a call token: it hears only what is told to the seat.
    pub guest: bool,
}

/// What a device asks of a call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ForwardedCallRequest {
    /// Where the device sits.
    pub seat: ParticipantLocation,
    /// How its person calls themselves.
    pub name: String,
    /// What a call token opened.
    pub pass: Option<ForwardedCallGrant>,
    /// The event's name.
    pub event: String,
    /// The event's data.
    pub data: Box<RawValue>,
}

/// The one call that a call token opens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ForwardedCallGrant {
    /// The name of its session.
    pub session: String,
    /// What its holder may do there.
    pub role: CallRole,
}

/// What became of a [`ForwardedCallRequest`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForwardedCallReply<E> {
    /// The JSON of the reply.
    Done(Box<RawValue>),
    /// Why it was not done.
    Refused(E),
    /// The call does not live there.
    Elsewhere,
}

/// A room that another node is to go on with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoomHandOff {
    /// Under which key its owner is written down.
    pub key: String,
    /// The epoch under which the sender owns it.
    pub epoch: u64,
    /// The call, as its room remembers it.
    pub call: Box<RawValue>,
}
