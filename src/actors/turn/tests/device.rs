//! A client of TURN for tests: it writes requests by hand and reads what comes back.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use base::clock::{Clock, Timestamp};
use base::ids::UserId;
use base::random::RandomSource;
use tokio::sync::mpsc;
use turn_server_proto::types::attribute::{
    ChannelNumber, Lifetime, RequestedTransport, XorPeerAddress, XorRelayedAddress,
};
use turn_server_proto::types::stun::attribute::{ErrorCode, Nonce, Realm, Username};
use turn_server_proto::types::stun::message::{
    IntegrityAlgorithm, LongTermCredentials, Message, MessageType, MessageWrite, MessageWriteExt,
    MessageWriteVec, Method, TransactionId,
};
use turn_server_proto::types::stun::prelude::AttributeWrite;

use crate::actors::turn::clients::{RelayFactory, TurnClients};
use crate::actors::turn::context::{RelayPolicy, SocketReader, TurnContext};
use crate::actors::turn::five_tuple::{ClientPath, ClientTransport, FiveTuple};
use crate::actors::turn::peers::PeerPolicy;
use crate::actors::turn::proto_relay::ProtoRelay;
use crate::actors::turn::quotas::TurnLimits;
use crate::config;
use crate::domain::calls::TurnCredentials;

/// A server in memory: real sockets for peers, none for clients, and a clock that stands.
pub(super) struct Bench {
    pub(super) clients: Rc<TurnClients>,
    pub(super) clock: Clock,
    pub(super) ice: TurnCredentials,
    pub(super) now: Instant,
    pub(super) new: mpsc::UnboundedReceiver<SocketReader>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Box::new(|client, now| Box::new(ProtoRelay::new("test", client, now))))
    }

    pub(super) fn with(make: RelayFactory) -> Self {
        let clock = Clock::fixed_at(Timestamp::from_micros(1_800_000_000_000_000));
        let config = config::load("", []).unwrap().turn;
        let urls = vec!["turn:here:3478".to_owned()];
        let ice = TurnCredentials::new(clock.clone(), &RandomSource::seeded(1), config, urls);
        let rules = RelayPolicy {
            bind: [127, 0, 0, 1].into(),
            ports: 20_000..=60_000,
            addresses: [IpAddr::from([192, 0, 2, 9])].into(),
            peers: PeerPolicy { private: false },
            limits: TurnLimits { user_allocations: 2, allocations: 3, user_bps: 0 },
        };
        let (ground, new) = TurnContext::new(rules, ice.clone(), RandomSource::system());
        let now = tokio::time::Instant::now().into_std();
        Self { clients: TurnClients::new(ground, make), clock, ice, now, new }
    }

    /// Time passes, for people and for relays.
    pub(super) fn wait(&mut self, time: Duration) {
        self.clock.advance(time);
        self.now += time;
        self.clients.pass(self.now);
    }

    pub(super) fn device(&self, port: u16) -> Device {
        let remote = SocketAddr::from(([198, 51, 100, 1], port));
        let (queue, heard) = mpsc::channel(64);
        let line = FiveTuple { carrier: ClientTransport::Tcp, remote };
        let mut device = Device {
            line,
            way: ClientPath::Connection(queue),
            heard,
            name: String::new(),
            password: String::new(),
            nonce: None,
        };
        device.becomes(self, UserId::new());
        device
    }
}

/// One client.
pub(super) struct Device {
    pub(super) line: FiveTuple,
    pub(super) way: ClientPath,
    pub(super) heard: mpsc::Receiver<Vec<u8>>,
    pub(super) name: String,
    pub(super) password: String,
    nonce: Option<String>,
}

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// What it wanted, for so many seconds and at this address where that was told.
    Good(Option<u32>, Option<SocketAddr>),
    Refused(u16),
    Nothing,
}

impl Device {
    /// It has the credentials of this user.
    pub(super) fn becomes(&mut self, bench: &Bench, user: UserId) {
        let told = bench.ice.servers(user).pop().unwrap();
        self.name = told.username.unwrap();
        self.password = told.credential.unwrap();
    }

    pub(super) fn request(&self, method: u16, wants: &[&dyn AttributeWrite]) -> Vec<u8> {
        let kind = MessageType::from_class_method(
            turn_server_proto::types::stun::message::MessageClass::Request,
            Method::new(method),
        );
        let transaction = TransactionId::generate();
        self.write(Message::builder(kind, transaction, MessageWriteVec::new()), wants)
    }

    fn write(&self, mut message: MessageWriteVec, wants: &[&dyn AttributeWrite]) -> Vec<u8> {
        for want in wants {
            message.add_attribute(*want).unwrap();
        }
        if let Some(nonce) = &self.nonce {
            message.add_attribute(&Username::new(&self.name).unwrap()).unwrap();
            message.add_attribute(&Realm::new("test").unwrap()).unwrap();
            message.add_attribute(&Nonce::new(nonce).unwrap()).unwrap();
            let credentials = LongTermCredentials::new(self.name.clone(), self.password.clone())
                .to_key("test".to_owned());
            message.add_message_integrity(&credentials.into(), IntegrityAlgorithm::Sha1).unwrap();
        }
        message.finish()
    }

    pub(super) fn sends(&mut self, bench: &Bench, packet: &[u8]) -> Came {
        bench.clients.receive(bench.now, self.line, &self.way, packet);
        let Ok(answer) = self.heard.try_recv() else { return Came::Nothing };
        let message = Message::from_bytes(&answer).unwrap();
        if let Ok(nonce) = message.attribute::<Nonce>() {
            self.nonce = Some(nonce.nonce().to_owned());
        }
        match message.attribute::<ErrorCode>() {
            Ok(error) => Came::Refused(error.code()),
            Err(_) => Came::Good(
                message.attribute::<Lifetime>().ok().map(|lifetime| lifetime.seconds()),
                message
                    .attribute::<XorRelayedAddress>()
                    .ok()
                    .map(|relayed| relayed.addr(message.transaction_id())),
            ),
        }
    }

    /// Asks for an allocation, the first time twice: the first answer is the challenge.
    pub(super) fn allocates(&mut self, bench: &Bench) -> Came {
        let wanted = RequestedTransport::new(RequestedTransport::UDP);
        if self.nonce.is_none() {
            let packet = self.request(3, &[&wanted]);
            assert_eq!(self.sends(bench, &packet), Came::Refused(401));
        }
        let packet = self.request(3, &[&wanted]);
        self.sends(bench, &packet)
    }

    pub(super) fn refreshes(&mut self, bench: &Bench, seconds: u32) -> Came {
        let packet = self.request(4, &[&Lifetime::new(seconds)]);
        match self.sends(bench, &packet) {
            Came::Refused(438) => {
                let packet = self.request(4, &[&Lifetime::new(seconds)]); // with the new nonce
                self.sends(bench, &packet)
            }
            came => came,
        }
    }

    /// Asks that these peers may send to it.
    pub(super) fn permits(&mut self, bench: &Bench, peers: &[&str]) -> Came {
        let kind = MessageType::from_class_method(
            turn_server_proto::types::stun::message::MessageClass::Request,
            Method::new(8),
        );
        let transaction = TransactionId::generate();
        let peers: Vec<_> = peers
            .iter()
            .map(|peer| XorPeerAddress::new(SocketAddr::new(peer.parse().unwrap(), 9), transaction))
            .collect();
        let wants: Vec<_> = peers.iter().map(|peer| peer as &dyn AttributeWrite).collect();
        let packet =
            self.write(Message::builder(kind, transaction, MessageWriteVec::new()), &wants);
        self.sends(bench, &packet)
    }

    pub(super) fn binds(&mut self, bench: &Bench, channel: u16, peer: SocketAddr) -> Came {
        let kind = MessageType::from_class_method(
            turn_server_proto::types::stun::message::MessageClass::Request,
            Method::new(9),
        );
        let transaction = TransactionId::generate();
        let peer = XorPeerAddress::new(peer, transaction);
        let wants: [&dyn AttributeWrite; 2] = [&ChannelNumber::new(channel), &peer];
        let packet =
            self.write(Message::builder(kind, transaction, MessageWriteVec::new()), &wants);
        self.sends(bench, &packet)
    }
}
