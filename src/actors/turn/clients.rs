//! All clients, each in a cell of its own: what goes wrong with one ends that one.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Instant;

use super::client::TurnClient;
use super::context::{TurnContext, refused};
use super::five_tuple::{ClientPath, FiveTuple};
use super::message::{StunMessage, StunMethod};
use super::relay::TurnRelay;

/// Clients without an allocation that are remembered at once; beyond that, whoever came first is
/// forgotten. Anybody can become one with a single datagram under a false address.
pub(super) const MAX_UNAUTHENTICATED_CLIENTS: usize = 4096;

/// Makes the relay of a client at this address.
pub(super) type RelayFactory = Box<dyn Fn(SocketAddr, Instant) -> Box<dyn TurnRelay>>;

/// Those who are here.
pub(super) struct TurnClients {
    ground: Rc<TurnContext>,
    make: RelayFactory,
    here: RefCell<HashMap<FiveTuple, Rc<RefCell<TurnClient>>>>,
    /// Who came without an allocation, in this order; some of them have one by now.
    strangers: RefCell<VecDeque<FiveTuple>>,
}

impl TurnClients {
    pub(super) fn new(ground: Rc<TurnContext>, make: RelayFactory) -> Rc<Self> {
        Rc::new(Self { ground, make, here: RefCell::default(), strangers: RefCell::default() })
    }

    /// Takes one whole message of a client.
    pub(super) fn receive(&self, now: Instant, line: FiveTuple, way: &ClientPath, packet: &[u8]) {
        if self.with(line, |client| client.receive(now, packet)).is_some() {
            return;
        }
        let Some(request) = StunMessage::read(packet) else { return };
        match request.deed() {
            Some(StunMethod::Binding) => way.send(&request.mapped(line.address())),
            Some(StunMethod::Allocate) => {
                self.welcome(now, line, way);
                self.with(line, |client| client.receive(now, packet));
            }
            // It thinks that it has one, and learns that it was lost, in a restart perhaps.
            Some(StunMethod::Allocated) => {
                refused(437);
                way.send(&request.refused(437));
            }
            Some(StunMethod::Send) | None => {}
        }
    }

    /// A datagram from a peer.
    pub(super) fn heard(
        &self,
        now: Instant,
        line: FiveTuple,
        (peer, relayed): (SocketAddr, SocketAddr),
        packet: &[u8],
    ) {
        self.with(line, |client| client.heard(now, (peer, relayed), packet));
    }

    /// Lets time pass: allocations end, and strangers go.
    pub(super) fn pass(&self, now: Instant) {
        let lines: Vec<_> = self.here.borrow().keys().copied().collect();
        for line in lines {
            let over = self.with(line, |client| {
                client.pass(now);
                client.is_over(now)
            });
            if over == Some(true) {
                self.forget(line);
            }
        }
        self.strangers.borrow_mut().retain(|line| self.is_stranger(*line));
    }

    /// The client is gone.
    pub(super) fn forget(&self, line: FiveTuple) {
        let gone = self.here.borrow_mut().remove(&line);
        drop(gone); // after the map was let go
    }

    /// Whether there is no allocation of this client.
    pub(super) fn is_stranger(&self, line: FiveTuple) -> bool {
        self.here.borrow().get(&line).is_none_or(|client| client.borrow().is_stranger())
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.here.borrow().len()
    }

    fn welcome(&self, now: Instant, line: FiveTuple, way: &ClientPath) {
        let relay = (self.make)(line.address(), now);
        let client = TurnClient::new(Rc::clone(&self.ground), relay, (line, way.clone()), now);
        self.here.borrow_mut().insert(line, Rc::new(RefCell::new(client)));
        let mut strangers = self.strangers.borrow_mut();
        strangers.push_back(line);
        if strangers.len() > MAX_UNAUTHENTICATED_CLIENTS {
            let first = strangers.pop_front();
            if let Some(first) = first.filter(|first| self.is_stranger(*first)) {
                self.forget(first);
            }
        }
    }

    /// Does something with a client; `None` if it is not here, or not any more.
    fn with<T>(&self, line: FiveTuple, deed: impl FnOnce(&mut TurnClient) -> T) -> Option<T> {
        let client = self.here.borrow().get(&line).cloned()?;
        let done = catch_unwind(AssertUnwindSafe(|| deed(&mut client.borrow_mut())));
        if done.is_err() {
            tracing::warn!("TURN relay panicked, client dropped");
            self.ground.meters.failed.increment(1);
            self.forget(line);
        }
        done.ok()
    }
}
