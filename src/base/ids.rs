//! Typed identifiers: one append-only list, each with a prefix that shows on the wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Text that is not an id of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseIdError {
    /// The prefix that was expected.
    pub wanted: &'static str,
}

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an id that begins with `{}_`", self.wanted)
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
            /// What the wire form begins with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id; ids made later on one machine sort later (UUID version 7, RFC 9562).
            #[expect(clippy::new_without_default, reason = "an id is never a default value")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The bare value, as the store keeps it.
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The id that the store kept.
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
    /// A person, however many devices they carry.
    UserId = "usr";
    /// One signed-in device of a person; also the family of its refresh tokens.
    DeviceId = "dev";
    /// A live session: what a device's socket is attached to.
    SessionId = "ses";
    /// A conversation, direct or group.
    ConversationId = "cnv";
    /// One thing said in a conversation.
    MessageId = "msg";
    /// A link with which people join a group.
    InviteId = "inv";
    /// A token that a machine signs in with.
    ApiTokenId = "tok";
    /// A key that signs access tokens.
    KeyId = "key";
    /// An entry of the audit log.
    AuditId = "aud";
    /// One request, from its arrival to its answer.
    RequestId = "req";
    /// A running node of the service.
    NodeId = "nod";
    /// A call, from its first ring to its end.
    CallId = "cal";
    /// A piece of work that must be done, and what it makes.
    JobId = "job";
    /// A file that people may see.
    AttachmentId = "att";
    /// The bytes of files, once for the same content.
    BlobId = "blb";
    /// A file on its way here, piece by piece.
    UploadId = "upl";
}

/// Accepts exactly one spelling, so that an id can be compared as text.
fn parse(text: &str, prefix: &'static str) -> Result<Uuid, ParseIdError> {
    let bad = ParseIdError { wanted: prefix };
    let digits = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_')).ok_or(bad)?;
    let lower =
        digits.len() == 32 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if lower { Uuid::try_parse(digits).map_err(|_| bad) } else { Err(bad) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_round_trips_and_rejects_other_prefix() {
        let id = UserId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_string().parse::<DeviceId>(), Err(ParseIdError { wanted: "dev" }));
        assert!(id.to_string().to_uppercase().parse::<UserId>().is_err());
        assert!("usr_12".parse::<UserId>().is_err());
    }

    #[test]
    fn ids_sort_by_creation_order() {
        let ids: Vec<_> = (0..1000).map(|_| MessageId::new()).collect();
        assert!(ids.is_sorted());
    }
}
