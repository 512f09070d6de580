//! A TURN client for tests, which builds requests by hand and parses the responses.

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

/// A server in memory: real sockets for peers, none for clients, and a manual clock.
pub(super) struct TestServer {
    pub(super) clients: Rc<TurnClients>,
    pub(super) clock: Clock,
    pub(super) ice: TurnCredentials,
    pub(super) now: Instant,
    pub(super) to_read: mpsc::UnboundedReceiver<SocketReader>,
}

impl TestServer {
    pub(super) fn new() -> Self {
        Self::with(Box::new(|client, now| Box::new(ProtoRelay::new("test", client, now))))
    }

    pub(super) fn with(create_relay: RelayFactory) -> Self {
        let clock = Clock::fixed_at(Timestamp::from_micros(1_800_000_000_000_000));
        let config = config::load("", []).unwrap().turn;
        let urls = vec!["turn:here:3478".to_owned()];
        let ice = TurnCredentials::new(clock.clone(), &RandomSource::seeded(1), config, urls);
        let policy = RelayPolicy {
            bind: [127, 0, 0, 1].into(),
            ports: 20_000..=60_000,
            addresses: [IpAddr::from([192, 0, 2, 9])].into(),
            peers: PeerPolicy { allow_private: false },
            limits: TurnLimits { user_allocations: 2, allocations: 3, user_bps: 0 },
        };
        let (context, to_read) = TurnContext::new(policy, ice.clone(), RandomSource::system());
        let now = tokio::time::Instant::now().into_std();
        Self { clients: TurnClients::new(context, create_relay), clock, ice, now, to_read }
    }

    /// Advances both the wall clock and the relay time.
    pub(super) fn advance(&mut self, time: Duration) {
        self.clock.advance(time);
        self.now += time;
        self.clients.advance(self.now);
    }

    pub(super) fn device(&self, port: u16) -> Device {
        let remote = SocketAddr::from(([198, 51, 100, 1], port));
        let (queue, received) = mpsc::channel(64);
        let five_tuple = FiveTuple { transport: ClientTransport::Tcp, remote };
        let mut device = Device {
            five_tuple,
            path: ClientPath::Connection(queue),
            received,
            name: String::new(),
            password: String::new(),
            nonce: None,
        };
        device.set_user(self, UserId::new());
        device
    }
}

/// One client.
pub(super) struct Device {
    pub(super) five_tuple: FiveTuple,
    pub(super) path: ClientPath,
    pub(super) received: mpsc::Receiver<Vec<u8>>,
    pub(super) name: String,
    pub(super) password: String,
    nonce: Option<String>,
}

/// The result of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    /// Success, with the lifetime in seconds and the relayed address where given.
    Success(Option<u32>, Option<SocketAddr>),
    Error(u16),
    NoResponse,
}

impl Device {
    /// Uses the credentials of this user.
    pub(super) fn set_user(&mut self, server: &TestServer, user: UserId) {
        let ice_server = server.ice.servers(user).pop().unwrap();
        self.name = ice_server.username.unwrap();
        self.password = ice_server.credential.unwrap();
    }

    pub(super) fn request(&self, method: u16, attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
        let kind = MessageType::from_class_method(
            turn_server_proto::types::stun::message::MessageClass::Request,
            Method::new(method),
        );
        let transaction = TransactionId::generate();
        self.write(Message::builder(kind, transaction, MessageWriteVec::new()), attributes)
    }

    fn write(&self, mut message: MessageWriteVec, attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
        for attribute in attributes {
            message.add_attribute(*attribute).unwrap();
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

    pub(super) fn send(&mut self, server: &TestServer, packet: &[u8]) -> RequestOutcome {
        server.clients.receive(server.now, self.five_tuple, &self.path, packet);
        let Ok(answer) = self.received.try_recv() else { return RequestOutcome::NoResponse };
        let message = Message::from_bytes(&answer).unwrap();
        if let Ok(nonce) = message.attribute::<Nonce>() {
            self.nonce = Some(nonce.nonce().to_owned());
        }
        match message.attribute::<ErrorCode>() {
            Ok(error) => RequestOutcome::Error(error.code()),
            Err(_) => RequestOutcome::Success(
                message.attribute::<Lifetime>().ok().map(|lifetime| lifetime.seconds()),
                message
                    .attribute::<XorRelayedAddress>()
                    .ok()
                    .map(|relayed| relayed.addr(message.transaction_id())),
            ),
        }
    }

    /// Requests an allocation, the first time twice: the first response is the challenge.
    pub(super) fn allocate(&mut self, server: &TestServer) -> RequestOutcome {
        let transport = RequestedTransport::new(RequestedTransport::UDP);
        if self.nonce.is_none() {
            let packet = self.request(3, &[&transport]);
            assert_eq!(self.send(server, &packet), RequestOutcome::Error(401));
        }
        let packet = self.request(3, &[&transport]);
        self.send(server, &packet)
    }

    pub(super) fn refresh(&mut self, server: &TestServer, seconds: u32) -> RequestOutcome {
        let packet = self.request(4, &[&Lifetime::new(seconds)]);
        match self.send(server, &packet) {
            RequestOutcome::Error(438) => {
                let packet = self.request(4, &[&Lifetime::new(seconds)]); // with the new nonce
                self.send(server, &packet)
            }
            outcome => outcome,
        }
    }

    /// Requests permissions for these peers.
    pub(super) fn create_permission(
        &mut self,
        server: &TestServer,
        peers: &[&str],
    ) -> RequestOutcome {
        let kind = MessageType::from_class_method(
            turn_server_proto::types::stun::message::MessageClass::Request,
            Method::new(8),
        );
        let transaction = TransactionId::generate();
        let peers: Vec<_> = peers
            .iter()
            .map(|peer| XorPeerAddress::new(SocketAddr::new(peer.parse().unwrap(), 9), transaction))
            .collect();
        let attributes: Vec<_> = peers.iter().map(|peer| peer as &dyn AttributeWrite).collect();
        let packet =
            self.write(Message::builder(kind, transaction, MessageWriteVec::new()), &attributes);
        self.send(server, &packet)
    }

    pub(super) fn bind_channel(
        &mut self,
        server: &TestServer,
        channel: u16,
        peer: SocketAddr,
    ) -> RequestOutcome {
        let kind = MessageType::from_class_method(
            turn_server_proto::types::stun::message::MessageClass::Request,
            Method::new(9),
        );
        let transaction = TransactionId::generate();
        let peer = XorPeerAddress::new(peer, transaction);
        let attributes: [&dyn AttributeWrite; 2] = [&ChannelNumber::new(channel), &peer];
        let packet =
            self.write(Message::builder(kind, transaction, MessageWriteVec::new()), &attributes);
        self.send(server, &packet)
    }
}
