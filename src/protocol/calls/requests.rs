//! What a device asks of calls.

use std::collections::BTreeMap;

use base::ids::{CallId, ConversationId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{CallMedia, PublishSource, RequestedLayer};

/// Which call is meant: by its id, or by the name of its session. A device that takes part in one
/// call only may leave both out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CallRef {
    /// The id that `start_call`, `incoming_call` or `call_joined` told.
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// The name for which a call token was made.
    #[serde(rename = "sessionId")]
    #[schema(min_length = 1, max_length = 128)]
    pub session: Option<String>,
}

/// Takes part in a call, which is named as in [`CallRef`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinCall {
    /// As in [`CallRef`].
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// As in [`CallRef`].
    #[serde(rename = "sessionId", skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128)]
    pub session: Option<String>,
    /// What this device is called in the call since before it lost its socket: it stays that
    /// participant, and if `epoch` is the same in the reply, its media goes on as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant_id: Option<String>,
}

/// Calls somebody, or everybody in a conversation: one of the two.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartCall {
    /// Whom.
    #[schema(value_type = Option<String>)]
    pub user_id: Option<UserId>,
    /// Or all members of which conversation.
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<ConversationId>,
    /// What it begins as.
    pub media: CallMedia,
}

/// Calls one person more into a call that is going on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InviteCall {
    /// Which call.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// Whom.
    #[schema(value_type = String)]
    pub user_id: UserId,
}

/// See [`PublishSource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishSection {
    /// What it publishes.
    pub source: PublishSource,
}

/// A session description that offers: to a participant, or without `to` to the server, which
/// answers with the event `answer`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferRequest {
    /// As in [`CallRef`].
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// As in [`CallRef`].
    #[serde(rename = "sessionId")]
    pub session: Option<String>,
    /// The participant it is for.
    pub to: Option<String>,
    /// The session description (RFC 8866).
    pub sdp: String,
    /// To the server: what the sections of these `mid`s publish. A sending section that is left
    /// out publishes the microphone or the camera.
    #[serde(default)]
    pub publish: BTreeMap<String, PublishSection>,
    /// To the server: which track the sections of these `mid`s receive.
    #[serde(default)]
    pub receive: BTreeMap<String, String>,
}

/// A session description that answers a participant's offer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// As in [`CallRef`].
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// As in [`CallRef`].
    #[serde(rename = "sessionId")]
    pub session: Option<String>,
    /// The participant whose offer it answers.
    pub to: String,
    /// The session description.
    pub sdp: String,
}

/// A way to reach a device. The server needs none: without `to` it is taken and not used.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IceCandidateRequest {
    /// As in [`CallRef`].
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// As in [`CallRef`].
    #[serde(rename = "sessionId")]
    pub session: Option<String>,
    /// The participant it is for.
    pub to: Option<String>,
    /// As the device's WebRTC library gave it; passed on as it is.
    pub candidate: Value,
}

/// Switches the own microphone or camera off or on, for all to see.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mute {
    /// As in [`CallRef`].
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// As in [`CallRef`].
    #[serde(rename = "sessionId")]
    pub session: Option<String>,
    /// Whether it is off.
    pub muted: bool,
}

/// The most that this device wants of a track.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetLayer {
    /// As in [`CallRef`].
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// Which track.
    pub track_id: String,
    /// How much of it.
    pub max: RequestedLayer,
}

/// What a moderator does to somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModerationAction {
    /// Switches their microphone off; they may switch it on again.
    Mute,
    /// Puts them out; they cannot come back into this call.
    Kick,
}

/// See [`ModerationAction`].
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModerateRequest {
    /// As in [`CallRef`].
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// Whom.
    pub participant_id: String,
    /// What.
    pub action: ModerationAction,
}
