//! Events from a device to the server.

use std::collections::HashMap;

use base::error::CodedError;
use base::ids::{AttachmentId, CallId, ConversationId, MessageId, UserId};
use base::secret::Secret;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::calls;
use super::messages::PostMessage;

/// A frame on `/ws`. Over Socket.IO the parts are event name, argument and acknowledgement id.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientFrame<'a> {
    /// Request id, echoed in the reply. Without it there is no reply unless an error occurs.
    pub id: Option<u64>,
    /// Name of the event.
    #[serde(borrow)]
    pub event: std::borrow::Cow<'a, str>,
    /// Data of the event; its shape depends on the name.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
}

/// Authenticates the socket; must be the first event, within
/// `sessions.authenticate_timeout_seconds`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Authenticate {
    /// Access token or call token.
    #[schema(value_type = String)]
    pub token: Secret<String>,
}

/// Requests everything the device is missing.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    /// Newest `seq` the device has, by conversation; a missing conversation counts as 0.
    #[serde(default)]
    #[schema(value_type = HashMap<String, i64>)]
    pub cursors: HashMap<ConversationId, i64>,
    /// Newest `revision` the device has, by conversation. For a missing conversation only changes
    /// from now on are sent.
    #[serde(default)]
    #[schema(value_type = HashMap<String, i64>)]
    pub changes: HashMap<ConversationId, i64>,
}

/// Sends a message, like `POST /api/conversations/{id}/messages`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendMessage {
    /// The conversation to send to.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
    /// Idempotency key chosen by the client, 1 to 64 characters. Reuse returns the first message
    /// instead of creating a second one.
    #[schema(min_length = 1, max_length = 64)]
    pub client_id: String,
    /// Text, or base64 ciphertext in an encrypted conversation. Empty when a message is forwarded.
    #[serde(default)]
    pub body: String,
    /// The message this one replies to.
    #[schema(value_type = Option<String>)]
    pub reply_to: Option<MessageId>,
    /// Attachments: uploads of the sender, or files the sender can see.
    #[schema(value_type = Vec<String>)]
    #[serde(default)]
    pub attachments: Vec<AttachmentId>,
    /// Mentioned members, at most 50.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub mentions: Vec<UserId>,
    /// Lifetime in seconds; the conversation's setting if absent.
    #[schema(minimum = 1, maximum = 31_536_000)]
    pub expires_in: Option<i64>,
    /// A message from any conversation to forward; its content is copied.
    #[schema(value_type = Option<String>)]
    pub forward_of: Option<MessageId>,
}

impl SendMessage {
    /// Splits into the conversation and the message to post.
    pub fn split(self) -> (ConversationId, PostMessage) {
        let message = PostMessage {
            client_id: self.client_id,
            body: self.body,
            reply_to: self.reply_to,
            attachments: self.attachments,
            mentions: self.mentions,
            expires_in: self.expires_in,
            forward_of: self.forward_of,
        };
        (self.conversation_id, message)
    }
}

/// A receipt position: received by a device (`ack`) or read by the user (`read`).
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiptPosition {
    /// The conversation this refers to.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
    /// Highest `seq` received or read.
    pub seq: i64,
}

/// The user is typing; other members are notified.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Typing {
    /// The conversation the user types in.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
}

/// All events a device may send.
#[derive(Clone, Debug)]
pub enum ClientEvent {
    /// Authenticates the socket.
    Authenticate(Authenticate),
    /// Requests missing messages and changes.
    Sync(SyncRequest),
    /// Sends a message.
    SendMessage(SendMessage),
    /// Reports messages as received by the device.
    Ack(ReceiptPosition),
    /// Reports messages as read by the user.
    Read(ReceiptPosition),
    /// Reports that the user is typing.
    Typing(Typing),
    /// An event about a call.
    Call(CallClientEvent),
}

/// All call events a device may send.
#[derive(Clone, Debug)]
pub enum CallClientEvent {
    /// Starts a call.
    StartCall(calls::StartCall),
    /// Accepts an incoming call.
    AcceptCall(calls::CallRef),
    /// Declines an incoming call.
    DeclineCall(calls::CallRef),
    /// Cancels a call before anybody answered.
    CancelCall(calls::CallRef),
    /// Invites one more user.
    InviteCall(calls::InviteCall),
    /// Switches to the SFU: the direct connection failed or is not wanted.
    UpgradeCall(calls::CallRef),
    /// Joins a call.
    JoinCall(calls::JoinCall),
    /// Leaves a call.
    LeaveCall(calls::CallRef),
    /// Sends an SDP offer.
    Offer(calls::OfferRequest),
    /// Sends an SDP answer.
    Answer(calls::AnswerRequest),
    /// Sends an ICE candidate.
    IceCandidate(calls::IceCandidateRequest),
    /// Switches the own microphone off or on.
    MuteAudio(calls::Mute),
    /// Switches the own camera off or on.
    MuteVideo(calls::Mute),
    /// Limits the simulcast layer to receive.
    SetLayer(calls::SetLayer),
    /// Mutes or removes a participant.
    Moderate(calls::ModerateRequest),
}

/// Why a frame could not be parsed.
#[derive(Debug, thiserror::Error, CodedError)]
pub enum ParseEventError {
    /// No event has this name.
    #[error("there is no event of this name")]
    #[code("event/unknown", Invalid)]
    Event,
    /// The data does not match the event; the text names the position.
    #[error("the data do not fit: {0}")]
    #[code("event/invalid", Invalid)]
    Data(String),
}

impl ClientEvent {
    /// Wire names of all events.
    pub const NAMES: [&'static str; 21] = [
        "authenticate",
        "sync",
        "send_message",
        "ack",
        "read",
        "typing",
        "start_call",
        "accept_call",
        "decline_call",
        "cancel_call",
        "invite_call",
        "upgrade_call",
        "join_call",
        "leave_call",
        "offer",
        "answer",
        "ice_candidate",
        "mute_audio",
        "mute_video",
        "set_layer",
        "moderate",
    ];

    /// Parses an event from its name and the JSON of its data.
    ///
    /// # Errors
    /// [`ParseEventError`] if the event is unknown or its data is invalid.
    pub fn parse(name: &str, data: &str) -> Result<Self, ParseEventError> {
        Ok(match name {
            "authenticate" => Self::Authenticate(parse_data(data)?),
            "sync" => Self::Sync(parse_data(data)?),
            "send_message" => Self::SendMessage(parse_data(data)?),
            "ack" => Self::Ack(parse_data(data)?),
            "read" => Self::Read(parse_data(data)?),
            "typing" => Self::Typing(parse_data(data)?),
            _ => Self::Call(CallClientEvent::parse(name, data)?),
        })
    }
}

impl CallClientEvent {
    fn parse(name: &str, data: &str) -> Result<Self, ParseEventError> {
        Ok(match name {
            "start_call" => Self::StartCall(parse_data(data)?),
            "accept_call" => Self::AcceptCall(parse_data(data)?),
            "decline_call" => Self::DeclineCall(parse_data(data)?),
            "cancel_call" => Self::CancelCall(parse_data(data)?),
            "invite_call" => Self::InviteCall(parse_data(data)?),
            "upgrade_call" => Self::UpgradeCall(parse_data(data)?),
            "join_call" => Self::JoinCall(parse_data(data)?),
            "leave_call" => Self::LeaveCall(parse_data(data)?),
            "offer" => Self::Offer(parse_data(data)?),
            "answer" => Self::Answer(parse_data(data)?),
            "ice_candidate" => Self::IceCandidate(parse_data(data)?),
            "mute_audio" => Self::MuteAudio(parse_data(data)?),
            "mute_video" => Self::MuteVideo(parse_data(data)?),
            "set_layer" => Self::SetLayer(parse_data(data)?),
            "moderate" => Self::Moderate(parse_data(data)?),
            _ => return Err(ParseEventError::Event),
        })
    }

    /// The call it refers to, as call id and session name.
    pub fn call(&self) -> (Option<CallId>, Option<&str>) {
        match self {
            Self::StartCall(_) => (None, None),
            Self::InviteCall(invite) => (Some(invite.call_id), None),
            Self::JoinCall(join) => (join.call_id, join.session.as_deref()),
            Self::AcceptCall(call)
            | Self::DeclineCall(call)
            | Self::CancelCall(call)
            | Self::UpgradeCall(call)
            | Self::LeaveCall(call) => (call.call_id, call.session.as_deref()),
            Self::Offer(offer) => (offer.call_id, offer.session.as_deref()),
            Self::Answer(answer) => (answer.call_id, answer.session.as_deref()),
            Self::IceCandidate(ice) => (ice.call_id, ice.session.as_deref()),
            Self::MuteAudio(mute) | Self::MuteVideo(mute) => {
                (mute.call_id, mute.session.as_deref())
            }
            Self::SetLayer(layer) => (layer.call_id, None),
            Self::Moderate(moderate) => (moderate.call_id, None),
        }
    }

    /// Data of the event as JSON, in the form that [`ClientEvent::parse`] accepts.
    pub fn data(&self) -> Box<RawValue> {
        let data = match self {
            Self::StartCall(data) => to_raw_value(data),
            Self::InviteCall(data) => to_raw_value(data),
            Self::JoinCall(data) => to_raw_value(data),
            Self::AcceptCall(data)
            | Self::DeclineCall(data)
            | Self::CancelCall(data)
            | Self::UpgradeCall(data)
            | Self::LeaveCall(data) => to_raw_value(data),
            Self::Offer(data) => to_raw_value(data),
            Self::Answer(data) => to_raw_value(data),
            Self::IceCandidate(data) => to_raw_value(data),
            Self::MuteAudio(data) | Self::MuteVideo(data) => to_raw_value(data),
            Self::SetLayer(data) => to_raw_value(data),
            Self::Moderate(data) => to_raw_value(data),
        };
        #[expect(clippy::expect_used, reason = "protocol types have string map keys only")]
        data.expect("a protocol type serializes")
    }

    /// Wire name of the event.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::StartCall(_) => "start_call",
            Self::AcceptCall(_) => "accept_call",
            Self::DeclineCall(_) => "decline_call",
            Self::CancelCall(_) => "cancel_call",
            Self::InviteCall(_) => "invite_call",
            Self::UpgradeCall(_) => "upgrade_call",
            Self::JoinCall(_) => "join_call",
            Self::LeaveCall(_) => "leave_call",
            Self::Offer(_) => "offer",
            Self::Answer(_) => "answer",
            Self::IceCandidate(_) => "ice_candidate",
            Self::MuteAudio(_) => "mute_audio",
            Self::MuteVideo(_) => "mute_video",
            Self::SetLayer(_) => "set_layer",
            Self::Moderate(_) => "moderate",
        }
    }
}

fn parse_data<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, ParseEventError> {
    serde_json::from_str(data).map_err(|e| ParseEventError::Data(e.to_string()))
}
