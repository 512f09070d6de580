//! Events from a device to the server.

use std::collections::HashMap;

use base::ids::{AttachmentId, CallId, ConversationId, MessageId, UserId};
use base::secret::Secret;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::ToSchema;

use super::calls;
use super::messages::PostMessage;

/// A frame on `/ws`; over Socket.IO the parts travel as event name, argument and acknowledgement id.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientFrame<'a> {
    /// Given back in the reply; without it there is none unless something went wrong.
    pub id: Option<u64>,
    /// The event's name.
    #[serde(borrow)]
    pub event: std::borrow::Cow<'a, str>,
    /// The event's data.
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
}

/// Says who the socket belongs to; must come first, within `sessions.authenticate_timeout_seconds`.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Authenticate {
    /// An access token.
    #[schema(value_type = String)]
    pub token: Secret<String>,
}

/// Asks for everything after what the device has.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SyncRequest {
    /// The newest `seq` the device has in each conversation; one left out counts as 0.
    #[serde(default)]
    #[schema(value_type = HashMap<String, i64>)]
    pub cursors: HashMap<ConversationId, i64>,
    /// The newest `revision` the device has in each conversation; of one left out only what
    /// changes from now on is told.
    #[serde(default)]
    #[schema(value_type = HashMap<String, i64>)]
    pub changes: HashMap<ConversationId, i64>,
}

/// Says something, as `POST /api/conversations/{id}/messages` does.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SendMessage {
    /// Where.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
    /// Chosen by the client; the same again returns the first message instead of a second one.
    #[schema(min_length = 1, max_length = 64)]
    pub client_id: String,
    /// What is said; ciphertext in base64 in an encrypted conversation. Left out when a message is
    /// passed on.
    #[serde(default)]
    pub body: String,
    /// The message this one answers.
    #[schema(value_type = Option<String>)]
    pub reply_to: Option<MessageId>,
    /// Files to send along: the sender's own, or any that the sender may see.
    #[schema(value_type = Vec<String>)]
    #[serde(default)]
    pub attachments: Vec<AttachmentId>,
    /// Members whom it mentions, 50 at most.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub mentions: Vec<UserId>,
    /// After how many seconds it disappears; left out: as the conversation has it.
    #[schema(minimum = 1, maximum = 31_536_000)]
    pub expires_in: Option<i64>,
    /// A message, here or elsewhere, that is passed on: this one says the same.
    #[schema(value_type = Option<String>)]
    pub forward_of: Option<MessageId>,
}

impl SendMessage {
    /// Where, and what.
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

/// How far a device has received (`ack`) or a person has read (`read`).
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiptPosition {
    /// Where.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
    /// The newest message this is true of.
    pub seq: i64,
}

/// Is writing something.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Typing {
    /// Where.
    #[schema(value_type = String)]
    pub conversation_id: ConversationId,
}

/// What a device may say.
#[derive(Clone, Debug)]
pub enum ClientEvent {
    /// See [`Authenticate`].
    Authenticate(Authenticate),
    /// See [`SyncRequest`].
    Sync(SyncRequest),
    /// See [`SendMessage`].
    SendMessage(SendMessage),
    /// Received up to here.
    Ack(ReceiptPosition),
    /// Read up to here.
    Read(ReceiptPosition),
    /// See [`Typing`].
    Typing(Typing),
    /// Something about a call.
    Call(CallClientEvent),
}

/// What a device may say about calls.
#[derive(Clone, Debug)]
pub enum CallClientEvent {
    /// Calls somebody.
    StartCall(calls::StartCall),
    /// Answers a call.
    AcceptCall(calls::CallRef),
    /// Says no to a call.
    DeclineCall(calls::CallRef),
    /// Gives up before anybody answered.
    CancelCall(calls::CallRef),
    /// Calls one person more.
    InviteCall(calls::InviteCall),
    /// Media is to travel through the server: the direct way does not work, or is not wanted.
    UpgradeCall(calls::CallRef),
    /// Takes part in a call.
    JoinCall(calls::JoinCall),
    /// Hangs up.
    LeaveCall(calls::CallRef),
    /// A session description that offers.
    Offer(calls::OfferRequest),
    /// A session description that answers.
    Answer(calls::AnswerRequest),
    /// A way to reach the device.
    IceCandidate(calls::IceCandidateRequest),
    /// The own microphone.
    MuteAudio(calls::Mute),
    /// The own camera.
    MuteVideo(calls::Mute),
    /// How much of a track is wanted.
    SetLayer(calls::SetLayer),
    /// What a moderator does to somebody.
    Moderate(calls::ModerateRequest),
}

/// Why a frame was not understood.
#[derive(Debug, thiserror::Error)]
pub enum ParseEventError {
    /// There is no such event.
    #[error("there is no event of this name")]
    Event,
    /// The data do not fit the event; the text says where.
    #[error("the data do not fit: {0}")]
    Data(String),
}

impl base::error::CodedError for ParseEventError {
    fn kind(&self) -> base::error::ErrorKind {
        base::error::ErrorKind::Invalid
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Event => "event/unknown",
            Self::Data(_) => "event/invalid",
        }
    }
}

impl ClientEvent {
    /// The names of all events, as they cross the wire.
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

    /// Reads an event from its name and the JSON of its data.
    ///
    /// # Errors
    /// [`ParseEventError`] if there is no such event or the data do not fit it.
    pub fn parse(name: &str, data: &str) -> Result<Self, ParseEventError> {
        Ok(match name {
            "authenticate" => Self::Authenticate(read(data)?),
            "sync" => Self::Sync(read(data)?),
            "send_message" => Self::SendMessage(read(data)?),
            "ack" => Self::Ack(read(data)?),
            "read" => Self::Read(read(data)?),
            "typing" => Self::Typing(read(data)?),
            _ => Self::Call(CallClientEvent::parse(name, data)?),
        })
    }
}

impl CallClientEvent {
    fn parse(name: &str, data: &str) -> Result<Self, ParseEventError> {
        Ok(match name {
            "start_call" => Self::StartCall(read(data)?),
            "accept_call" => Self::AcceptCall(read(data)?),
            "decline_call" => Self::DeclineCall(read(data)?),
            "cancel_call" => Self::CancelCall(read(data)?),
            "invite_call" => Self::InviteCall(read(data)?),
            "upgrade_call" => Self::UpgradeCall(read(data)?),
            "join_call" => Self::JoinCall(read(data)?),
            "leave_call" => Self::LeaveCall(read(data)?),
            "offer" => Self::Offer(read(data)?),
            "answer" => Self::Answer(read(data)?),
            "ice_candidate" => Self::IceCandidate(read(data)?),
            "mute_audio" => Self::MuteAudio(read(data)?),
            "mute_video" => Self::MuteVideo(read(data)?),
            "set_layer" => Self::SetLayer(read(data)?),
            "moderate" => Self::Moderate(read(data)?),
            _ => return Err(ParseEventError::Event),
        })
    }

    /// The call it names, by id and by name of its session.
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

    /// The event's data, as [`ClientEvent::parse`] reads them.
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
        #[expect(clippy::expect_used, reason = "the shapes of protocol/ have text keys only")]
        data.expect("a protocol shape serialises")
    }

    /// The event's name.
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

fn read<'a, T: Deserialize<'a>>(data: &'a str) -> Result<T, ParseEventError> {
    serde_json::from_str(data).map_err(|e| ParseEventError::Data(e.to_string()))
}
