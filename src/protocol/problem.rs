//! What every error looks like (RFC 9457).

use serde::Serialize;
use utoipa::ToSchema;

/// `application/problem+json`: why a request was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// A URN that names the kind of problem: `urn:securevox:` and the code.
    pub r#type: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, for people; the text may change.
    pub detail: String,
    /// `area/reason`, for programs; never changes.
    #[schema(example = "auth/invalid-credentials")]
    pub code: String,
    /// Names this request in the server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Which fields were wrong, where it is about fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// The field's path, such as `device.name`.
    pub field: String,
    /// What is wrong with it, for people.
    pub detail: String,
}
