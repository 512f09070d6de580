//! Messages between nodes on the event bus.
//!
//! Nodes of two versions talk to each other during a rolling upgrade. Only here, unlike in client
//! protocols, inbound types accept unknown fields, and an unknown event is counted and ignored.

mod calls;

use base::ids::{CallId, ConversationId, DeviceId, SessionId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

pub use self::calls::{
    CallKey, ForwardedCallGrant, ForwardedCallReply, ForwardedCallRequest, ParticipantLocation,
    RemoteCallSummary, RoomHandOff,
};

/// An event for one node or all nodes, without a reply. Delivery is at most once: receivers can
/// also read the database.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum NodeEvent {
    /// Periodic sign that the node is alive.
    Heartbeat(Heartbeat),
    /// Users and calls that came or went on the sender since the previous delta.
    #[serde(rename = "changes")]
    StateChanged(NodeStateDelta),
    /// A server event for users.
    Deliver(DeliverToUsers),
    /// A server event for one session.
    #[serde(rename = "deliver_to")]
    DeliverToSession(DeliverToSession),
    /// The newest position of a conversation, without the event itself.
    #[serde(rename = "known")]
    ConversationAdvanced(ConversationHead),
    /// Events may have been lost: all sessions re-read the database.
    Resync,
    /// A device was signed out.
    #[serde(rename = "end_device")]
    DeviceSignedOut(DeviceKey),
    /// All devices of a user were signed out.
    #[serde(rename = "end_person")]
    UserSignedOut(UserId),
    /// A user changed their presence status.
    StatusChanged(UserId),
    /// A session ended: it leaves its calls.
    #[serde(rename = "lost")]
    SessionEnded(SessionId),
    /// An event of a newer version.
    #[serde(other)]
    Unknown,
}

/// Which events are dropped first when the bus is overloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Loss does no harm: typing, presence.
    Low,
    /// Loss is repaired from the database.
    Normal,
    /// Somebody waits for it: call signalling, revocation, heartbeats.
    High,
}

impl NodeEvent {
    /// Parses an event of another node. An unknown event becomes [`NodeEvent::Unknown`], whatever
    /// its data.
    ///
    /// # Errors
    /// Returns an error if it is not an event, or if the data of a known event is invalid.
    pub fn read(json: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Name {
            event: String,
        }
        // `#[serde(other)]` accepts an unknown name only if there is no data.
        serde_json::from_slice(json).or_else(|error| {
            let Name { event } = serde_json::from_slice(json)?;
            serde_json::from_value(serde_json::json!({ "event": event })).map_err(|_| error)
        })
    }

    /// Priority when the bus is overloaded.
    pub const fn priority(&self) -> Priority {
        match self {
            Self::Deliver(DeliverToUsers { priority: urgency, .. }) => *urgency,
            Self::ConversationAdvanced(_) => Priority::Normal,
            Self::StatusChanged(_) => Priority::Low,
            _ => Priority::High,
        }
    }

    /// Event name, used as a metric label.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Heartbeat(_) => "heartbeat",
            Self::StateChanged(_) => "changes",
            Self::Deliver(_) => "deliver",
            Self::DeliverToSession(_) => "deliver_to",
            Self::ConversationAdvanced(_) => "known",
            Self::Resync => "resync",
            Self::DeviceSignedOut(_) => "end_device",
            Self::UserSignedOut(_) => "end_person",
            Self::StatusChanged(_) => "status_changed",
            Self::SessionEnded(_) => "lost",
            Self::Unknown => "unknown",
        }
    }
}

impl Serialize for Priority {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match u8::deserialize(deserializer)? {
            0 => Self::Low,
            1 => Self::Normal,
            _ => Self::High,
        })
    }
}

/// Sent by every node each second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Version of the newest [`NodeStateDelta`] of the sender.
    pub version: u64,
    /// Current load of the sender.
    pub load: NodeLoad,
    /// Whether the sender accepts new rooms.
    pub takes_rooms: bool,
}

/// Load of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeLoad {
    /// Calls in progress on the node.
    pub calls: u64,
    /// Devices in those calls.
    pub participants: u64,
    /// Users connected to the node.
    pub people: u64,
}

/// Changes of a node's state. Only the node itself publishes them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NodeStateDelta {
    /// Sequence number, without gaps.
    pub version: u64,
    /// Changes in the order they happened.
    pub changes: Vec<NodeStateChange>,
}

/// The complete state of a node: the sum of its [`NodeStateDelta`]s.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NodeStateSnapshot {
    /// Version of the last [`NodeStateDelta`] included.
    pub version: u64,
    /// Users connected to the node.
    pub people: Vec<UserId>,
    /// Calls in progress on the node.
    pub calls: Vec<RemoteCallSummary>,
}

/// One change of a node's state.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStateChange {
    /// The first device of a user connected.
    #[serde(rename = "came")]
    UserConnected(UserId),
    /// The last device of a user disconnected.
    #[serde(rename = "went")]
    UserDisconnected(UserId),
    /// A call in progress on the node, in its current state.
    Call(Box<RemoteCallSummary>),
    /// A call ended or moved to another node.
    #[serde(rename = "call_over")]
    CallRemoved(CallId),
}

/// A server event for users connected to a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeliverToUsers {
    /// Recipients connected to the node.
    pub to: Vec<UserId>,
    /// The serialized event.
    pub event: RawEvent,
    /// Priority when the bus is overloaded.
    #[serde(rename = "urgency")]
    pub priority: Priority,
}

/// A server event for one session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeliverToSession {
    /// User of the session.
    pub user: UserId,
    /// The session to deliver to.
    pub session: SessionId,
    /// The serialized event.
    pub event: RawEvent,
}

/// A server event as devices receive it, serialized once on the node where it happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawEvent {
    /// Wire name of the event.
    pub name: String,
    /// Data of the event as JSON.
    pub data: Box<RawValue>,
    /// Position in one of the conversation's sequences; `None` for events outside of them.
    #[serde(rename = "place")]
    pub position: Option<SequencePosition>,
    /// `seq` of the message that a change refers to.
    #[serde(default, rename = "about", skip_serializing_if = "Option::is_none")]
    pub message_seq: Option<i64>,
}

/// The two sequences of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SequenceKind {
    /// Messages, numbered by `seq`.
    #[serde(rename = "said")]
    Messages,
    /// Changes of messages, numbered by `revision`.
    #[serde(rename = "changed")]
    Revisions,
}

/// A position in one of the sequences of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequencePosition {
    /// Conversation the sequence belongs to.
    pub conversation: ConversationId,
    /// Which sequence of the conversation.
    #[serde(rename = "order")]
    pub kind: SequenceKind,
    /// Number in that sequence.
    pub number: i64,
}

impl SequencePosition {
    /// Position of a message by its `seq`.
    pub const fn message(conversation: ConversationId, number: i64) -> Self {
        Self { conversation, kind: SequenceKind::Messages, number }
    }

    /// Position of a change by its `revision`.
    pub const fn revision(conversation: ConversationId, number: i64) -> Self {
        Self { conversation, kind: SequenceKind::Revisions, number }
    }
}

/// Newest position of a conversation, without the event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConversationHead {
    /// Users whose sessions compare it with their cursors.
    pub to: Vec<UserId>,
    /// Newest position in the sequence.
    #[serde(rename = "place")]
    pub position: SequencePosition,
    /// The number was consumed by an event that is not for these users, so they skip it.
    #[serde(rename = "passed")]
    pub skipped: bool,
}

/// One device of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceKey {
    /// Owner of the device.
    pub user: UserId,
    /// Identifier of the device.
    pub device: DeviceId,
}

/// A request to one node; the reply is JSON of the type each variant names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "request", content = "data", rename_all = "snake_case")]
pub enum NodeRequest {
    /// Checks that the node replies: `null`.
    Ping,
    /// Asks for the node's state: a [`NodeStateSnapshot`].
    Snapshot,
    /// Forwards a device's request for a call on that node: a [`ForwardedCallReply`].
    Call(Box<ForwardedCallRequest>),
    /// Asks which of these sessions have ended: a list of their ids.
    #[serde(rename = "gone")]
    FindEndedSessions(Vec<(UserId, SessionId)>),
    /// Hands a room over: `true` if the node took it, else `false`.
    TakeRoom(Box<RoomHandOff>),
    /// Asks for the calls on the node: a list of [`super::calls::CallView`].
    Calls,
    /// Asks for the supervision tree: [`super::admin::ActorTreeView`].
    Actors,
    /// Restarts or stops an actor: the reason why it was not done, or `null`.
    #[serde(rename = "act_on")]
    CommandActor(ActorCommandRequest),
    /// Tells the node to hand over its rooms and exit: `null`, at once.
    Drain,
    /// A request of another version; there is no reply.
    #[serde(other)]
    Unknown,
}

impl NodeRequest {
    /// Parses a request of another node, like [`NodeEvent::read`].
    ///
    /// # Errors
    /// Returns an error if it is not a request, or if the data of a known request is invalid.
    pub fn read(json: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Name {
            request: String,
        }
        serde_json::from_slice(json).or_else(|error| {
            let Name { request } = serde_json::from_slice(json)?;
            serde_json::from_value(serde_json::json!({ "request": request })).map_err(|_| error)
        })
    }
}

/// Restarts or stops an actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorCommandRequest {
    /// Path in the supervision tree.
    pub path: String,
    /// `true` restarts the actor, `false` stops it.
    pub restart: bool,
}
