//! One client, identified by its 5-tuple: the checks that run before its relay handles a message.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use base::ids::UserId;
use turn_server_proto::types::stun::message::TransactionId;

use super::context::{TurnContext, count_refused};
use super::five_tuple::{ClientPath, FiveTuple};
use super::message::{ResponseClass, StunMessage, StunMethod, is_control, response_class};
use super::port::{self, RelaySocket};
use super::quotas::AllocationPermit;
use super::relay::{AddressFamily, PacketDestination, RelayAction, RelaySocketError, TurnRelay};
use crate::limits::{MAX_TURN_PERMISSIONS, MAX_TURN_USERNAMES};

/// How long a client may stay without an allocation.
pub(super) const UNAUTHENTICATED_TIMEOUT: Duration = Duration::from_secs(30);

/// A client and its resources, all of which are released when it is dropped.
pub(super) struct TurnClient {
    context: Rc<TurnContext>,
    relay: Box<dyn TurnRelay>,
    five_tuple: FiveTuple,
    path: ClientPath,
    usernames: HashSet<String>,
    relay_sockets: HashMap<SocketAddr, RelaySocket>,
    permit: Option<AllocationPermit>,
    peers: HashSet<IpAddr>,
    /// Response to a retransmitted Allocate, which the library would treat as a second request.
    last_allocate: Option<(TransactionId, Vec<u8>)>,
    next_timeout: Instant,
    /// Since when it has had no allocation.
    idle_since: Instant,
}

impl TurnClient {
    pub(super) fn new(
        context: Rc<TurnContext>,
        relay: Box<dyn TurnRelay>,
        (five_tuple, path): (FiveTuple, ClientPath),
        now: Instant,
    ) -> Self {
        Self {
            context,
            relay,
            five_tuple,
            path,
            usernames: HashSet::new(),
            relay_sockets: HashMap::new(),
            permit: None,
            peers: HashSet::new(),
            last_allocate: None,
            next_timeout: now,
            idle_since: now,
        }
    }

    /// Whether it has no allocation.
    pub(super) fn is_unallocated(&self) -> bool {
        self.relay_sockets.is_empty()
    }

    /// Whether it has been without an allocation for too long.
    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.is_unallocated()
            && now.saturating_duration_since(self.idle_since) >= UNAUTHENTICATED_TIMEOUT
    }

    /// Handles one complete message of the client.
    pub(super) fn receive(&mut self, now: Instant, packet: &[u8]) {
        if !is_control(packet) {
            return self.forward(now, packet);
        }
        let Some(request) = StunMessage::read(packet) else { return };
        let allowed = |peer| self.context.policy.peers.allow(peer);
        match request.method() {
            Some(StunMethod::Binding) => {
                self.respond(&request.binding_response(self.five_tuple.address()))
            }
            Some(StunMethod::Send) if request.peers().all(allowed) => self.forward(now, packet),
            Some(StunMethod::Send) | None => {}
            Some(StunMethod::Allocate) if self.is_repeated(&request) => {}
            Some(StunMethod::Allocate | StunMethod::Allocated) => {
                let peers: Vec<_> = request.peers().collect();
                let new = peers.iter().filter(|peer| !self.peers.contains(*peer)).count();
                if !peers.iter().copied().all(allowed) {
                    return self.refuse(&request, 403);
                }
                if self.peers.len() + new > MAX_TURN_PERMISSIONS {
                    return self.refuse(&request, 508);
                }
                let user = request.username().and_then(|name| self.authenticate(&name));
                if self.pass_request(now, packet, &request, user) == Some(ResponseClass::Success) {
                    self.peers.extend(peers);
                }
            }
        }
    }

    /// Handles a datagram from a peer.
    pub(super) fn receive_from_peer(
        &mut self,
        now: Instant,
        (peer, relayed): (SocketAddr, SocketAddr),
        packet: &[u8],
    ) {
        let Self { relay, path, context, permit, .. } = self;
        let permit = permit.as_ref();
        relay.receive_from_peer(now, (peer, relayed), packet, &mut |destination, bytes| {
            let has_tokens = permit.is_some_and(|permit| permit.try_consume(packet.len(), now));
            match destination {
                PacketDestination::Client if has_tokens => {
                    path.send(bytes);
                    context.metrics.to_client.count(packet.len());
                }
                PacketDestination::Client => context.metrics.rate_limited.increment(1),
                PacketDestination::Peer { .. } => {}
            }
        });
    }

    /// Advances time.
    pub(super) fn advance(&mut self, now: Instant) {
        if self.next_timeout <= now {
            self.run_relay(now, None);
        }
    }

    /// Handles a message that gets no response: data for peers.
    fn forward(&mut self, now: Instant, packet: &[u8]) {
        let Self { relay, context, relay_sockets, permit, .. } = self;
        relay.receive(now, packet, &mut |destination, bytes| {
            let PacketDestination::Peer { relayed, peer } = destination else { return };
            let Some(port) = relay_sockets.get(&relayed) else { return };
            if !context.policy.peers.allow(peer.ip()) {
                return; // it has no permission; this is a second check
            }
            if !permit.as_ref().is_some_and(|permit| permit.try_consume(bytes.len(), now)) {
                return context.metrics.rate_limited.increment(1);
            }
            if port.send(bytes, peer) {
                context.metrics.to_peer.count(bytes.len());
            }
        });
    }

    /// Passes a request to the relay on behalf of `user`, if the response confirms that identity.
    fn pass_request(
        &mut self,
        now: Instant,
        packet: &[u8],
        request: &StunMessage<'_>,
        user: Option<UserId>,
    ) -> Option<ResponseClass> {
        let mut answers = Vec::new();
        self.relay.receive(now, packet, &mut |destination, bytes| {
            if destination == PacketDestination::Client {
                answers.push(bytes.to_vec());
            }
        });
        answers.extend(self.run_relay(now, user));
        let mut class = None;
        for answer in answers {
            self.respond(&answer);
            class = response_class(&answer);
            match class {
                Some(ResponseClass::Success) if request.method() == Some(StunMethod::Allocate) => {
                    self.last_allocate = Some((request.transaction(), answer));
                }
                // The first request of every client is answered with 401, from which it learns the
                // realm.
                Some(ResponseClass::Error(code)) if request.username().is_some() => {
                    count_refused(code);
                }
                _ => {}
            }
        }
        class
    }

    /// Executes the actions of the relay and returns the responses it produced meanwhile.
    fn run_relay(&mut self, now: Instant, user: Option<UserId>) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        loop {
            let action = self.relay.poll(now, &mut |destination, bytes| {
                if destination == PacketDestination::Client {
                    answers.push(bytes.to_vec());
                }
            });
            match action {
                RelayAction::Open(family) => {
                    let relay_socket = self.open(now, family, user);
                    self.relay.opened(now, family, relay_socket);
                }
                RelayAction::Close(relayed) => {
                    self.relay_sockets.remove(&relayed);
                    self.reset_if_idle(now);
                }
                RelayAction::Wait(until) => {
                    self.next_timeout = until;
                    return answers;
                }
            }
        }
    }

    fn open(
        &mut self,
        now: Instant,
        family: AddressFamily,
        user: Option<UserId>,
    ) -> Result<SocketAddr, RelaySocketError> {
        let policy = &self.context.policy;
        let Some((address, bind)) = policy.relayed(family) else {
            return Err(RelaySocketError::Family);
        };
        if self.permit.is_none() {
            self.permit = user.and_then(|user| self.context.quotas.acquire(user, now));
        }
        let relay_socket = self
            .permit
            .as_ref()
            .and_then(|_| port::open(bind, &policy.ports, &self.context.random));
        let Some((socket, number)) = relay_socket else {
            // Of two addresses requested at once, the library keeps none if the second fails.
            self.relay_sockets.clear();
            self.reset_if_idle(now);
            return Err(RelaySocketError::Capacity);
        };
        let (relayed, socket) = (SocketAddr::new(address, number), Rc::new(socket));
        let reading = self.context.start_reading(self.five_tuple, relayed, Rc::clone(&socket));
        self.relay_sockets.insert(relayed, RelaySocket::new(socket, reading));
        Ok(relayed)
    }

    /// Resets the client after its last allocation to the state in which it arrived.
    fn reset_if_idle(&mut self, now: Instant) {
        if self.relay_sockets.is_empty() {
            self.permit = None;
            self.last_allocate = None;
            self.peers.clear();
            self.idle_since = now;
        }
    }

    /// Gives the relay the password of this username, or revokes it if the credential is no longer
    /// valid.
    fn authenticate(&mut self, name: &str) -> Option<UserId> {
        let credential = self.context.ice.password(name);
        let is_known = self.usernames.contains(name);
        match credential {
            Some((password, user)) => {
                if !is_known {
                    if self.usernames.len() >= MAX_TURN_USERNAMES {
                        return None;
                    }
                    self.usernames.insert(name.to_owned());
                    self.relay.set_password(name, password);
                }
                Some(user)
            }
            None => {
                if is_known {
                    self.usernames.remove(name);
                    self.relay.set_password(name, self.context.random.token());
                }
                None
            }
        }
    }

    fn is_repeated(&self, request: &StunMessage<'_>) -> bool {
        let repeated = self
            .last_allocate
            .as_ref()
            .filter(|(transaction, _)| *transaction == request.transaction());
        if let Some((_, answer)) = repeated {
            self.respond(answer);
        }
        repeated.is_some()
    }

    fn refuse(&self, request: &StunMessage<'_>, code: u16) {
        count_refused(code);
        self.respond(&request.error_response(code));
    }

    fn respond(&self, packet: &[u8]) {
        self.path.send(packet);
    }
}
