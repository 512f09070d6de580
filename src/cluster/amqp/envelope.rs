//! How a message looks on its way: what it is and whose stands in its properties, the rest is JSON.

use base::ids::NodeId;
use lapin::BasicProperties;
use lapin::types::ShortString;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BusMessageKind {
    /// A [`crate::protocol::cluster::NodeEvent`].
    Tell,
    /// A [`crate::protocol::cluster::NodeRequest`].
    Ask,
    /// The answer to one.
    Reply,
    /// The request was not understood: there is no answer.
    Silence,
    /// There was no room for the request.
    Busy,
    /// Nothing: only whether somebody is there.
    Probe,
}

const KINDS: [(BusMessageKind, &str); 6] = [
    (BusMessageKind::Tell, "tell"),
    (BusMessageKind::Ask, "ask"),
    (BusMessageKind::Reply, "reply"),
    (BusMessageKind::Silence, "silence"),
    (BusMessageKind::Busy, "busy"),
    (BusMessageKind::Probe, "probe"),
];

impl BusMessageKind {
    fn word(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }
}

/// The properties of a message of this kind from this node.
pub(super) fn properties(kind: BusMessageKind, from: NodeId) -> BasicProperties {
    BasicProperties::default().with_type(kind.word().into()).with_app_id(from.to_string().into())
}

/// What the properties of a message say.
pub(super) struct BusMessageHeader {
    pub(super) kind: BusMessageKind,
    pub(super) from: NodeId,
    /// Which question it belongs to.
    pub(super) id: Option<u64>,
}

/// Reads them; `None` if somebody else wrote it.
pub(super) fn label(properties: &BasicProperties) -> Option<BusMessageHeader> {
    let text = |property: &Option<ShortString>| property.as_ref().map(ToString::to_string);
    let word = text(properties.kind())?;
    Some(BusMessageHeader {
        kind: KINDS.iter().find(|(_, known)| *known == word)?.0,
        from: text(properties.app_id())?.parse().ok()?,
        id: text(properties.correlation_id()).and_then(|id| id.parse().ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amqp_properties_round_trip_and_foreign_ones_are_ignored() {
        let from = NodeId::new();
        let sent = properties(BusMessageKind::Ask, from).with_correlation_id("7".into());
        let read = label(&sent).unwrap();
        assert_eq!((read.kind, read.from, read.id), (BusMessageKind::Ask, from, Some(7)));
        assert!(label(&BasicProperties::default()).is_none());
        assert!(label(&BasicProperties::default().with_type("shout".into())).is_none());
    }
}
