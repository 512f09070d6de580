//! Typed identifiers: one append-only list, each with a prefix that is part of the wire form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A text that is not an id of the expected type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseIdError {
    /// The prefix that was expected.
    pub expected_prefix: &'static str,
}

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an id that starts with `{}_`", self.expected_prefix)
    }
}

impl std::error::Error for ParseIdError {}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        ///
        /// On the wire: the prefix, `_` and 32 hexadecimal digits. Clients treat it as opaque.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Prefix of the wire form, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// Generates an id; ids generated later on one machine sort later (UUID version 7, RFC
            /// 9562).
            #[expect(clippy::new_without_default, reason = "an id is never a default value")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The bare UUID, as the store stores it.
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The id with the given UUID.
            pub const fn from_uuid(value: Uuid) -> Self {
                Self(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse(text, $prefix).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

ids! {
    /// A user, with any number of devices.
    UserId = "usr";
    /// A signed-in device of a user; all its refresh tokens belong to one family.
    DeviceId = "dev";
    /// A session: the server-side state of a connected device.
    SessionId = "ses";
    /// A conversation, direct or group.
    ConversationId = "cnv";
    /// A message in a conversation.
    MessageId = "msg";
    /// An invite link with which users join a group.
    InviteId = "inv";
    /// An API token with which a machine authenticates.
    ApiTokenId = "tok";
    /// A key that signs access tokens.
    KeyId = "key";
    /// An entry of the audit log.
    AuditId = "aud";
    /// One HTTP request.
    RequestId = "req";
    /// A node: one run of a server process.
    NodeId = "nod";
    /// A call, from its first ring to its end.
    CallId = "cal";
    /// A background job, and the archive that an export job creates.
    JobId = "job";
    /// An attachment: a file that users may see.
    AttachmentId = "att";
    /// A blob: the content of files, stored once per content.
    BlobId = "blb";
    /// A resumable upload in progress.
    UploadId = "upl";
}

/// Parses exactly one spelling, so that ids can be compared as text.
fn parse(text: &str, prefix: &'static str) -> Result<Uuid, ParseIdError> {
    let error = ParseIdError { expected_prefix: prefix };
    let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).ok_or(error)?;
    let lower =
        digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if lower { Uuid::try_parse(digits).map_err(|_| error) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_round_trips_and_rejects_other_prefix() {
        let id = UserId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(
            id.to_string().parse::<DeviceId>(),
            Err(ParseIdError { expected_prefix: "dev" })
        );
        assert!(id.to_string().to_uppercase().parse::<UserId>().is_err());
        assert!("usr_12".parse::<UserId>().is_err());
    }

    #[test]
    fn ids_sort_by_creation_order() {
        let ids: Vec<_> = (0..1000).map(|_| MessageId::new()).collect();
        assert!(ids.is_sorted());
    }
}
