//! Wire values as text: the JSON of replies, and names for metric labels.

use serde::Serialize;

use crate::protocol::server::EmptyReply;

/// The JSON of a reply.
pub(super) fn json<T: Serialize>(reply: &T) -> String {
    #[expect(clippy::expect_used, reason = "the shapes of protocol/ have text keys only")]
    serde_json::to_string(reply).expect("a protocol shape serialises")
}

/// The reply of a request that returns no data.
pub(super) fn empty_reply() -> String {
    json(&EmptyReply {})
}

/// The serde name of a unit variant, for metric labels.
pub(super) fn metric_label<T: Serialize>(value: &T) -> String {
    json(value).trim_matches('"').to_owned()
}
