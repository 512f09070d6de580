//! Engine.IO 4 and Socket.IO 5 packets, without binary data and with one namespace
//! (socketio/engine.io-protocol, socketio/socket.io-protocol).

use serde_json::value::RawValue;

/// Separates packets in a polling body.
pub(super) const SEPARATOR: char = '\x1e';

/// An Engine.IO packet received from a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EngineIoPacket<'a> {
    /// Closes the transport.
    Close,
    /// Ping; carries the text `probe` during an upgrade.
    Ping(&'a str),
    /// Answer to the server's ping.
    Pong,
    /// A Socket.IO packet.
    Message(&'a str),
    /// Completes an upgrade to this transport.
    Upgrade,
    /// No operation.
    Noop,
}

impl<'a> EngineIoPacket<'a> {
    /// Parses a packet; `None` if it is invalid or binary.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut chars = text.chars();
        let kind = chars.next()?;
        let rest = chars.as_str();
        Some(match kind {
            '1' => Self::Close,
            '2' => Self::Ping(rest),
            '3' => Self::Pong,
            '4' => Self::Message(rest),
            '5' => Self::Upgrade,
            '6' => Self::Noop,
            _ => return None,
        })
    }
}

/// A Socket.IO packet received from a client.
#[derive(Debug)]
pub(super) enum SocketIoPacket<'a> {
    /// Opens a namespace.
    Connect(&'a str),
    /// Leaves a namespace.
    Disconnect(&'a str),
    /// An event in the main namespace.
    Event {
        /// Acknowledgement id, if the client expects one.
        ack: Option<u64>,
        /// Name of the event.
        name: String,
        /// First argument as JSON; `{}` without one.
        data: &'a str,
    },
    /// Acknowledgement of a server event.
    Ack,
}

impl<'a> SocketIoPacket<'a> {
    /// Parses what follows the Engine.IO type `4`. `None` if it is invalid, binary, or an event of
    /// a namespace that cannot be open.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let kind = text.chars().next()?;
        let rest = text.get(1..)?;
        let (namespace, rest) = if rest.starts_with('/') {
            rest.split_once(',').unwrap_or((rest, ""))
        } else {
            ("/", rest)
        };
        match kind {
            '0' => {
                let valid = rest.is_empty() || serde_json::from_str::<&RawValue>(rest).is_ok();
                valid.then_some(Self::Connect(namespace))
            }
            '1' => Some(Self::Disconnect(namespace)),
            '2' if namespace == "/" => Self::event(rest),
            '3' => Some(Self::Ack),
            _ => None,
        }
    }

    fn event(rest: &'a str) -> Option<Self> {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, json) = rest.split_at(digits);
        let ack = if number.is_empty() { None } else { Some(number.parse().ok()?) };
        let arguments: Vec<&RawValue> = serde_json::from_str(json).ok()?;
        let name = serde_json::from_str(arguments.first()?.get()).ok()?;
        let data = arguments.get(1).map_or("{}", |raw| raw.get());
        Some(Self::Event { ack, name, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn recorded_engine_io_packets_are_parsed() {
        assert_eq!(EngineIoPacket::parse("2probe"), Some(EngineIoPacket::Ping("probe")));
        assert_eq!(EngineIoPacket::parse("bAQID"), None);
        let Some(SocketIoPacket::Event { ack, name, data }) =
            SocketIoPacket::parse(r#"20["echo",{"a":[1,"é"]}]"#)
        else {
            panic!("an event")
        };
        assert_eq!((ack, name.as_str(), data), (Some(0), "echo", r#"{"a":[1,"é"]}"#));
        assert!(matches!(
            SocketIoPacket::parse("0{\"token\":\"x\"}"),
            Some(SocketIoPacket::Connect("/"))
        ));
        assert!(matches!(SocketIoPacket::parse("0/chat,"), Some(SocketIoPacket::Connect("/chat"))));
        assert!(matches!(SocketIoPacket::parse("1"), Some(SocketIoPacket::Disconnect("/"))));
        assert!(matches!(
            SocketIoPacket::parse("1/chat,"),
            Some(SocketIoPacket::Disconnect("/chat"))
        ));
        for bad in ["", "0{bad", "5", "9", "51-0[\"b\"]", "2{}", "2[]", "2[1]"] {
            assert!(SocketIoPacket::parse(bad).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_does_not_panic_packet_parser(text in ".{0,200}") {
            let _ = EngineIoPacket::parse(&text);
            let _ = SocketIoPacket::parse(&text);
        }
    }
}
