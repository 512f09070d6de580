//! Error responses (RFC 9457).

use serde::Serialize;
use utoipa::ToSchema;

/// `application/problem+json`: why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// URN of the problem type: `urn:securevox:` followed by the code.
    pub r#type: String,
    /// Reason phrase of the HTTP status.
    pub title: String,
    /// HTTP status code.
    pub status: u16,
    /// Description for people; the text may change.
    pub detail: String,
    /// Problem code `area/reason`, for programs; never changes.
    #[schema(example = "auth/invalid-credentials")]
    pub code: String,
    /// Identifies the request in the server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Invalid fields, if the problem is about fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Path of the field, for example `device.name`.
    pub field: String,
    /// Description for people.
    pub detail: String,
}
