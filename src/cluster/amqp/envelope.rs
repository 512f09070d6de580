//! Message format on the bus: kind, sender and request id are AMQP properties, the body is JSON.

use base::ids::NodeId;
use lapin::BasicProperties;
use lapin::types::ShortString;

/// The kind of a bus message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BusMessageKind {
    /// A [`crate::protocol::cluster::NodeEvent`].
    Event,
    /// A [`crate::protocol::cluster::NodeRequest`].
    Request,
    /// The reply to a request.
    Reply,
    /// The request was not understood, or took too long to handle: there is no result.
    NotUnderstood,
    /// The receiver handles too many requests already.
    Busy,
    /// Empty; only checks whether the node has a queue.
    Probe,
}

const KINDS: [(BusMessageKind, &str); 6] = [
    (BusMessageKind::Event, "tell"),
    (BusMessageKind::Request, "ask"),
    (BusMessageKind::Reply, "reply"),
    (BusMessageKind::NotUnderstood, "silence"),
    (BusMessageKind::Busy, "busy"),
    (BusMessageKind::Probe, "probe"),
];

impl BusMessageKind {
    fn as_str(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, text)| text)
    }
}

/// The AMQP properties of a message of this kind from this node.
pub(super) fn properties(kind: BusMessageKind, from: NodeId) -> BasicProperties {
    BasicProperties::default().with_type(kind.as_str().into()).with_app_id(from.to_string().into())
}

/// The header that the AMQP properties carry.
pub(super) struct BusMessageHeader {
    pub(super) kind: BusMessageKind,
    pub(super) from: NodeId,
    /// Id of the request it belongs to, if any.
    pub(super) id: Option<u64>,
}

/// Parses the header; `None` if the message is of another format.
pub(super) fn parse_header(properties: &BasicProperties) -> Option<BusMessageHeader> {
    let text = |property: &Option<ShortString>| property.as_ref().map(ToString::to_string);
    let kind = text(properties.kind())?;
    Some(BusMessageHeader {
        kind: KINDS.iter().find(|(_, text)| *text == kind)?.0,
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
        let sent = properties(BusMessageKind::Request, from).with_correlation_id("7".into());
        let read = parse_header(&sent).unwrap();
        assert_eq!((read.kind, read.from, read.id), (BusMessageKind::Request, from, Some(7)));
        assert!(parse_header(&BasicProperties::default()).is_none());
        assert!(parse_header(&BasicProperties::default().with_type("shout".into())).is_none());
    }
}
