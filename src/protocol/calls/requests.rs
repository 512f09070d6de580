//! Call requests sent by devices.

use std::collections::BTreeMap;

use base::ids::{CallId, ConversationId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{CallMedia, PublishSource, RequestedLayer};

/// Identifies a call by its id or by the name of its session. A device that is in exactly one call
/// may omit both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CallRef {
    /// Call id from `start_call`, `incoming_call` or `call_joined`.
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// Session name of the call token, 1 to 128 characters.
    #[serde(rename = "sessionId")]
    #[schema(min_length = 1, max_length = 128)]
    pub session: Option<String>,
}

/// Joins a call, identified as in [`CallRef`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinCall {
    /// Call id; see [`CallRef`].
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// Session name; see [`CallRef`].
    #[serde(rename = "sessionId", skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128)]
    pub session: Option<String>,
    /// The device's `participant_id` from before its socket was lost. The device stays that
    /// participant; if the reply has the same `epoch`, its media connection is still valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub participant_id: Option<String>,
}

/// Calls one user or all members of a conversation. Exactly one of the two must be given.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartCall {
    /// The user to call.
    #[schema(value_type = Option<String>)]
    pub user_id: Option<UserId>,
    /// The conversation whose members to call.
    #[schema(value_type = Option<String>)]
    pub conversation_id: Option<ConversationId>,
    /// Media the call starts with.
    pub media: CallMedia,
}

/// Invites one more user into a call in progress.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InviteCall {
    /// The call to invite to.
    #[schema(value_type = String)]
    pub call_id: CallId,
    /// The user to invite.
    #[schema(value_type = String)]
    pub user_id: UserId,
}

/// What one media section publishes; see [`PublishSource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishSection {
    /// Source of the media.
    pub source: PublishSource,
}

/// An SDP offer to a participant, or without `to` to the server, which replies with the event
/// `answer`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OfferRequest {
    /// Call id; see [`CallRef`].
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// Session name; see [`CallRef`].
    #[serde(rename = "sessionId")]
    pub session: Option<String>,
    /// `participant_id` of the recipient; the server if absent.
    pub to: Option<String>,
    /// Session description (RFC 8866).
    pub sdp: String,
    /// Offer to the server only: what each sending media section publishes, by `mid`. A section
    /// that is not listed publishes the microphone or the camera.
    #[serde(default)]
    pub publish: BTreeMap<String, PublishSection>,
    /// Offer to the server only: the `track_id` each receiving media section receives, by `mid`.
    #[serde(default)]
    pub receive: BTreeMap<String, String>,
}

/// An SDP answer to a participant's offer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerRequest {
    /// Call id; see [`CallRef`].
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// Session name; see [`CallRef`].
    #[serde(rename = "sessionId")]
    pub session: Option<String>,
    /// `participant_id` whose offer this answers.
    pub to: String,
    /// Session description (RFC 8866).
    pub sdp: String,
}

/// An ICE candidate. The server needs no candidates: without `to` it is accepted and ignored.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IceCandidateRequest {
    /// Call id; see [`CallRef`].
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// Session name; see [`CallRef`].
    #[serde(rename = "sessionId")]
    pub session: Option<String>,
    /// `participant_id` of the recipient.
    pub to: Option<String>,
    /// The candidate from the WebRTC library (`RTCIceCandidateInit`); forwarded unchanged.
    pub candidate: Value,
}

/// Switches the device's own microphone or camera off or on, visible to all participants.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mute {
    /// Call id; see [`CallRef`].
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// Session name; see [`CallRef`].
    #[serde(rename = "sessionId")]
    pub session: Option<String>,
    /// Whether the source is off.
    pub muted: bool,
}

/// Limits the simulcast layer that this device receives of a track.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetLayer {
    /// Call id; see [`CallRef`].
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// The track to limit.
    pub track_id: String,
    /// Highest layer to receive; `off` pauses the track.
    pub max: RequestedLayer,
}

/// Action of a moderator on a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModerationAction {
    /// Switches the microphone off; the participant may switch it on again.
    Mute,
    /// Removes the participant, who cannot rejoin this call.
    Kick,
}

/// Applies a [`ModerationAction`] to a participant.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModerateRequest {
    /// Call id; see [`CallRef`].
    #[schema(value_type = Option<String>)]
    pub call_id: Option<CallId>,
    /// The participant to act on.
    pub participant_id: String,
    /// What to do.
    pub action: ModerationAction,
}
