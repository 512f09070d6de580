//! One client, known by its 5-tuple: what we decide before its relay decides anything.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use base::ids::UserId;
use turn_server_proto::types::stun::message::TransactionId;

use super::context::{TurnContext, refused};
use super::five_tuple::{ClientPath, FiveTuple};
use super::message::{ResponseClass, StunMessage, StunMethod, is_control, outcome};
use super::port::{self, RelaySocket};
use super::quotas::AllocationPermit;
use super::relay::{AddressFamily, PacketDestination, RelayAction, RelaySocketError, TurnRelay};

/// How long a client may be here without an allocation.
pub(super) const UNAUTHENTICATED_TIMEOUT: Duration = Duration::from_secs(30);
/// Names that one client may come under. There is one; a second is told that it is the wrong one.
const NAMES: usize = 4;
/// Addresses that one client may reach. ICE has a few candidates for each participant.
const MAX_PERMISSIONS: usize = 1024;

/// A client and what it holds; all of it is given back when this is dropped.
pub(super) struct TurnClient {
    ground: Rc<TurnContext>,
    relay: Box<dyn TurnRelay>,
    line: FiveTuple,
    way: ClientPath,
    names: HashSet<String>,
    ports: HashMap<SocketAddr, RelaySocket>,
    ticket: Option<AllocationPermit>,
    peers: HashSet<IpAddr>,
    /// Answers an Allocate that is sent again: to the library it would be a second one.
    allocated: Option<(TransactionId, Vec<u8>)>,
    due: Instant,
    /// Since when it has had no allocation.
    idle: Instant,
}

impl TurnClient {
    pub(super) fn new(
        ground: Rc<TurnContext>,
        relay: Box<dyn TurnRelay>,
        (line, way): (FiveTuple, ClientPath),
        now: Instant,
    ) -> Self {
        Self {
            ground,
            relay,
            line,
            way,
            names: HashSet::new(),
            ports: HashMap::new(),
            ticket: None,
            peers: HashSet::new(),
            allocated: None,
            due: now,
            idle: now,
        }
    }

    /// Whether it has no allocation.
    pub(super) fn is_stranger(&self) -> bool {
        self.ports.is_empty()
    }

    /// Whether its welcome is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.is_stranger() && now.saturating_duration_since(self.idle) >= UNAUTHENTICATED_TIMEOUT
    }

    /// Takes one whole message of the client.
    pub(super) fn receive(&mut self, now: Instant, packet: &[u8]) {
        if !is_control(packet) {
            return self.forward(now, packet);
        }
        let Some(request) = StunMessage::read(packet) else { return };
        let allowed = |peer| self.ground.rules.peers.allow(peer);
        match request.deed() {
            Some(StunMethod::Binding) => self.answer(&request.mapped(self.line.address())),
            Some(StunMethod::Send) if request.peers().all(allowed) => self.forward(now, packet),
            Some(StunMethod::Send) | None => {}
            Some(StunMethod::Allocate) if self.is_repeated(&request) => {}
            Some(StunMethod::Allocate | StunMethod::Allocated) => {
                let peers: Vec<_> = request.peers().collect();
                let new = peers.iter().filter(|peer| !self.peers.contains(*peer)).count();
                if !peers.iter().copied().all(allowed) {
                    return self.refuse(&request, 403);
                }
                if self.peers.len() + new > MAX_PERMISSIONS {
                    return self.refuse(&request, 508);
                }
                let asking = request.username().and_then(|name| self.admit(&name));
                if self.ask(now, packet, &request, asking) == Some(ResponseClass::Success) {
                    self.peers.extend(peers);
                }
            }
        }
    }

    /// A datagram from a peer.
    pub(super) fn heard(
        &mut self,
        now: Instant,
        (peer, relayed): (SocketAddr, SocketAddr),
        packet: &[u8],
    ) {
        let Self { relay, way, ground, ticket, .. } = self;
        let ticket = ticket.as_ref();
        relay.hear(now, (peer, relayed), packet, &mut |hop, bytes| {
            let pays = ticket.is_some_and(|ticket| ticket.spend(packet.len(), now));
            match hop {
                PacketDestination::Client if pays => {
                    way.send(bytes);
                    ground.meters.to_client.count(packet.len());
                }
                PacketDestination::Client => ground.meters.too_fast.increment(1),
                PacketDestination::Peer { .. } => {}
            }
        });
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, now: Instant) {
        if self.due <= now {
            self.settle(now, None);
        }
    }

    /// What needs no answer: data for peers.
    fn forward(&mut self, now: Instant, packet: &[u8]) {
        let Self { relay, ground, ports, ticket, .. } = self;
        relay.receive(now, packet, &mut |hop, bytes| {
            let PacketDestination::Peer { relayed, peer } = hop else { return };
            let Some(port) = ports.get(&relayed) else { return };
            if !ground.rules.peers.allow(peer.ip()) {
                return; // no permission was given for it; this is the second lock
            }
            if !ticket.as_ref().is_some_and(|ticket| ticket.spend(bytes.len(), now)) {
                return ground.meters.too_fast.increment(1);
            }
            if port.send(bytes, peer) {
                ground.meters.to_peer.count(bytes.len());
            }
        });
    }

    /// A request of whoever `asking` is, if its answer shows that.
    fn ask(
        &mut self,
        now: Instant,
        packet: &[u8],
        request: &StunMessage<'_>,
        asking: Option<UserId>,
    ) -> Option<ResponseClass> {
        let mut answers = Vec::new();
        self.relay.receive(now, packet, &mut |hop, bytes| {
            if hop == PacketDestination::Client {
                answers.push(bytes.to_vec());
            }
        });
        answers.extend(self.settle(now, asking));
        let mut ended = None;
        for answer in answers {
            self.answer(&answer);
            ended = outcome(&answer);
            match ended {
                Some(ResponseClass::Success) if request.deed() == Some(StunMethod::Allocate) => {
                    self.allocated = Some((request.transaction(), answer));
                }
                // The first request of every client is answered 401: that is how it learns the realm.
                Some(ResponseClass::Error(code)) if request.username().is_some() => {
                    refused(code);
                }
                _ => {}
            }
        }
        ended
    }

    /// Does what the relay wants done, and gives what it answers meanwhile.
    fn settle(&mut self, now: Instant, asking: Option<UserId>) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        loop {
            let step = self.relay.poll(now, &mut |hop, bytes| {
                if hop == PacketDestination::Client {
                    answers.push(bytes.to_vec());
                }
            });
            match step {
                RelayAction::Open(family) => {
                    let opened = self.open(now, family, asking);
                    self.relay.opened(now, family, opened);
                }
                RelayAction::Close(relayed) => {
                    self.ports.remove(&relayed);
                    self.rest(now);
                }
                RelayAction::Wait(until) => {
                    self.due = until;
                    return answers;
                }
            }
        }
    }

    fn open(
        &mut self,
        now: Instant,
        family: AddressFamily,
        asking: Option<UserId>,
    ) -> Result<SocketAddr, RelaySocketError> {
        let rules = &self.ground.rules;
        let Some((address, bind)) = rules.relayed(family) else {
            return Err(RelaySocketError::Family);
        };
        if self.ticket.is_none() {
            self.ticket = asking.and_then(|user| self.ground.quotas.take(user, now));
        }
        let opened =
            self.ticket.as_ref().and_then(|_| port::open(bind, &rules.ports, &self.ground.entropy));
        let Some((socket, number)) = opened else {
            // Of two addresses asked for at once, the library keeps none if the second fails.
            self.ports.clear();
            self.rest(now);
            return Err(RelaySocketError::Capacity);
        };
        let (relayed, socket) = (SocketAddr::new(address, number), Rc::new(socket));
        let reading = self.ground.read(self.line, relayed, Rc::clone(&socket));
        self.ports.insert(relayed, RelaySocket::new(socket, reading));
        Ok(relayed)
    }

    /// After the last allocation it is as it was when it came.
    fn rest(&mut self, now: Instant) {
        if self.ports.is_empty() {
            self.ticket = None;
            self.allocated = None;
            self.peers.clear();
            self.idle = now;
        }
    }

    /// Lets the relay know the password of this name, or that it has none any more.
    fn admit(&mut self, name: &str) -> Option<UserId> {
        let good = self.ground.ice.password(name);
        let known = self.names.contains(name);
        match good {
            Some((password, user)) => {
                if !known {
                    if self.names.len() >= NAMES {
                        return None;
                    }
                    self.names.insert(name.to_owned());
                    self.relay.admit(name, password);
                }
                Some(user)
            }
            None => {
                if known {
                    self.names.remove(name);
                    self.relay.admit(name, self.ground.entropy.token());
                }
                None
            }
        }
    }

    fn is_repeated(&self, request: &StunMessage<'_>) -> bool {
        let repeated = self.allocated.as_ref().filter(|(first, _)| *first == request.transaction());
        if let Some((_, answer)) = repeated {
            self.answer(answer);
        }
        repeated.is_some()
    }

    fn refuse(&self, request: &StunMessage<'_>, code: u16) {
        refused(code);
        self.answer(&request.refused(code));
    }

    fn answer(&self, packet: &[u8]) {
        self.way.send(packet);
    }
}
