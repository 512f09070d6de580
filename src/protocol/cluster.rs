//! What nodes say to each other over the bus.
//!
//! Nodes of two versions speak to each other while a cluster is upgraded one by one: here, and only
//! here, inbound shapes take what they do not know, and an event that is unknown as a whole is
//! counted and left alone.

mod calls;

use base::ids::{CallId, ConversationId, DeviceId, SessionId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

pub use self::calls::{
    CallKey, ForwardedCallGrant, ForwardedCallReply, ForwardedCallRequest, ParticipantLocation,
    RemoteCallSummary, RoomHandOff,
};

/// Said to one node or to all; nobody answers. It may be lost: whoever hears it can also look.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", content = "data", rename_all = "snake_case")]
pub enum NodeEvent {
    /// I live.
    Heartbeat(Heartbeat),
    /// Who came and went at the sender since the last time.
    Changes(NodeStateDelta),
    /// An event for people.
    Deliver(DeliverToUsers),
    /// An event for one session.
    DeliverTo(DeliverToSession),
    /// How far a conversation is.
    Known(ConversationHead),
    /// Something was perhaps not said: everybody is to look into the database.
    Resync,
    /// A device was signed out.
    EndDevice(DeviceKey),
    /// All devices of a person were signed out.
    EndPerson(UserId),
    /// A person says something else of themselves.
    StatusChanged(UserId),
    /// A session is no more: it leaves its calls.
    Lost(SessionId),
    /// From somebody of another version.
    #[serde(other)]
    Unknown,
}

/// What is shed first when the bus cannot carry everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Lost without harm: who is typing, who is here.
    Low,
    /// Found again in the database.
    Normal,
    /// Somebody waits: signalling of calls, revocation, life itself.
    High,
}

impl NodeEvent {
    /// What another node said; [`NodeEvent::Unknown`] is what a newer version says, whatever its
    /// data.
    ///
    /// # Errors
    /// It is no event at all, or one whose data is not as it should be.
    pub fn read(json: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Name {
            event: String,
        }
        // An unknown name is taken by itself only where there is no data (`#[serde(other)]`).
        serde_json::from_slice(json).or_else(|error| {
            let Name { event } = serde_json::from_slice(json)?;
            serde_json::from_value(serde_json::json!({ "event": event })).map_err(|_| error)
        })
    }

    /// How much its loss would hurt.
    pub const fn urgency(&self) -> Priority {
        match self {
            Self::Deliver(DeliverToUsers { urgency, .. }) => *urgency,
            Self::Known(_) => Priority::Normal,
            Self::StatusChanged(_) => Priority::Low,
            _ => Priority::High,
        }
    }

    /// Its name, as a label of metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Heartbeat(_) => "heartbeat",
            Self::Changes(_) => "changes",
            Self::Deliver(_) => "deliver",
            Self::DeliverTo(_) => "deliver_to",
            Self::Known(_) => "known",
            Self::Resync => "resync",
            Self::EndDevice(_) => "end_device",
            Self::EndPerson(_) => "end_person",
            Self::StatusChanged(_) => "status_changed",
            Self::Lost(_) => "lost",
            Self::Unknown => "unknown",
        }
    }
}

impl Serialize for Priority {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(*self as u8)
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(match u8::deserialize(from)? {
            0 => Self::Low,
            1 => Self::Normal,
            _ => Self::High,
        })
    }
}

/// A sign of life, every second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// How far the sender's [`NodeStateDelta`] have come.
    pub version: u64,
    /// What it carries.
    pub load: NodeLoad,
    /// Whether it takes new rooms.
    pub takes_rooms: bool,
}

/// What a node carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeLoad {
    /// Calls that go on there.
    pub calls: u64,
    /// Devices in them.
    pub participants: u64,
    /// People who are connected there.
    pub people: u64,
}

/// What became different at a node. The only one who writes it is the node itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NodeStateDelta {
    /// Counts these messages; the next one has the next number.
    pub version: u64,
    /// In order.
    pub changes: Vec<NodeStateChange>,
}

/// All that the others know of a node, whole: what its [`NodeStateDelta`] add up to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct NodeStateSnapshot {
    /// The last [`NodeStateDelta`] in it.
    pub version: u64,
    /// Who is here.
    pub people: Vec<UserId>,
    /// Which calls go on here.
    pub calls: Vec<RemoteCallSummary>,
}

/// One thing that is different.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStateChange {
    /// The first device of somebody is here.
    Came(UserId),
    /// The last device of somebody is gone.
    Went(UserId),
    /// A call goes on here, as it stands now.
    Call(Box<RemoteCallSummary>),
    /// A call is over, or goes on elsewhere.
    CallOver(CallId),
}

/// An event of the service for the people of a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeliverToUsers {
    /// Those who are there.
    pub to: Vec<UserId>,
    /// What.
    pub event: RawEvent,
    /// What is shed first.
    pub urgency: Priority,
}

/// An event for one session.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeliverToSession {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub session: SessionId,
    /// What.
    pub event: RawEvent,
}

/// A server event as it goes to devices, serialised once where it happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RawEvent {
    /// The event's name.
    pub name: String,
    /// Its data.
    pub data: Box<RawValue>,
    /// Where in an order of a conversation it stands, if it is in one.
    pub place: Option<SequencePosition>,
    /// The number of the message that it changes, if it changes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<i64>,
}

/// Which of the two orders of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SequenceKind {
    /// What is said, by `seq`.
    Said,
    /// What becomes of it, by `revision`.
    Changed,
}

/// A number in one of the orders of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequencePosition {
    /// Where.
    pub conversation: ConversationId,
    /// In which order.
    pub order: SequenceKind,
    /// The number.
    pub number: i64,
}

impl SequencePosition {
    /// That of a message.
    pub const fn said(conversation: ConversationId, number: i64) -> Self {
        Self { conversation, order: SequenceKind::Said, number }
    }

    /// That of a change.
    pub const fn changed(conversation: ConversationId, number: i64) -> Self {
        Self { conversation, order: SequenceKind::Changed, number }
    }
}

/// How far a conversation is, without what was said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConversationHead {
    /// Those who are to look.
    pub to: Vec<UserId>,
    /// The newest number of the conversation's.
    pub place: SequencePosition,
    /// That number is not for them.
    pub passed: bool,
}

/// One device of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceKey {
    /// Whose.
    pub user: UserId,
    /// Which.
    pub device: DeviceId,
}

/// Asked of one node; the answer is JSON whose shape each variant names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "request", content = "data", rename_all = "snake_case")]
pub enum NodeRequest {
    /// Nothing but whether it answers: `null`.
    Ping,
    /// A [`NodeStateSnapshot`] of the node.
    Snapshot,
    /// What a device asks of a call that goes on there: a [`ForwardedCallReply`].
    Call(Box<ForwardedCallRequest>),
    /// Which of these people's sessions are no more: a list of their ids.
    Gone(Vec<(UserId, SessionId)>),
    /// A room is handed over: whether it was taken, `true` or `false`.
    TakeRoom(Box<RoomHandOff>),
    /// The calls that go on there: a list of [`super::calls::CallView`].
    Calls,
    /// Its actors: [`super::admin::ActorTreeView`].
    Actors,
    /// An actor is to be restarted or stopped: why that was not done, or `null`.
    ActOn(ActorCommandRequest),
    /// It is to hand its rooms over and leave: `null`, at once.
    Drain,
    /// From somebody of another version: no answer.
    #[serde(other)]
    Unknown,
}

impl NodeRequest {
    /// What another node asks; as [`NodeEvent::read`].
    ///
    /// # Errors
    /// It is no request at all, or one whose data is not as it should be.
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

/// What an operator does to an actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorCommandRequest {
    /// Where it stands in the tree.
    pub path: String,
    /// Restarted, or else stopped.
    pub restart: bool,
}
