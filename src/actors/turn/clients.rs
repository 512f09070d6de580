//! All clients, each in a cell of its own: what goes wrong with one ends that one.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Instant;

use super::client::Client;
use super::context::{Ground, refused};
use super::five_tuple::{Line, Way};
use super::message::{Deed, Request};
use super::relay::Relay;

/// Clients without an allocation that are remembered at once; beyond that, whoever came first is
/// forgotten. Anybody can become one with a single datagram under a false address.
pub(super) const STRANGERS: usize = 4096;

/// Makes the relay of a client at this address.
pub(super) type MakeRelay = Box<dyn Fn(SocketAddr, Instant) -> Box<dyn Relay>>;

/// Those who are here.
pub(super) struct Clients {
    ground: Rc<Ground>,
    make: MakeRelay,
    here: RefCell<HashMap<Line, Rc<RefCell<Client>>>>,
    /// Who came without an allocation, in this order; some of them have one by now.
    strangers: RefCell<VecDeque<Line>>,
}

impl Clients {
    pub(super) fn new(ground: Rc<Ground>, make: MakeRelay) -> Rc<Self> {
        Rc::new(Self { ground, make, here: RefCell::default(), strangers: RefCell::default() })
    }

    /// Takes one whole message of a client.
    pub(super) fn receive(&self, now: Instant, line: Line, way: &Way, packet: &[u8]) {
        if self.with(line, |client| client.receive(now, packet)).is_some() {
            return;
        }
        let Some(request) = Request::read(packet) else { return };
        match request.deed() {
            Some(Deed::Binding) => way.send(&request.mapped(line.address())),
            Some(Deed::Allocate) => {
                self.welcome(now, line, way);
                self.with(line, |client| client.receive(now, packet));
            }
            // It thinks that it has one, and learns that it was lost, in a restart perhaps.
            Some(Deed::Allocated) => {
                refused(437);
                way.send(&request.refused(437));
            }
            Some(Deed::Send) | None => {}
        }
    }

    /// A datagram from a peer.
    pub(super) fn heard(
        &self,
        now: Instant,
        line: Line,
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
    pub(super) fn forget(&self, line: Line) {
        let gone = self.here.borrow_mut().remove(&line);
        drop(gone); // after the map was let go
    }

    /// Whether there is no allocation of this client.
    pub(super) fn is_stranger(&self, line: Line) -> bool {
        self.here.borrow().get(&line).is_none_or(|client| client.borrow().is_stranger())
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.here.borrow().len()
    }

    fn welcome(&self, now: Instant, line: Line, way: &Way) {
        let relay = (self.make)(line.address(), now);
        let client = Client::new(Rc::clone(&self.ground), relay, (line, way.clone()), now);
        self.here.borrow_mut().insert(line, Rc::new(RefCell::new(client)));
        let mut strangers = self.strangers.borrow_mut();
        strangers.push_back(line);
        if strangers.len() > STRANGERS {
            let first = strangers.pop_front();
            if let Some(first) = first.filter(|first| self.is_stranger(*first)) {
                self.forget(first);
            }
        }
    }

    /// Does something with a client; `None` if it is not here, or not any more.
    fn with<T>(&self, line: Line, deed: impl FnOnce(&mut Client) -> T) -> Option<T> {
        let client = self.here.borrow().get(&line).cloned()?;
        let done = catch_unwind(AssertUnwindSafe(|| deed(&mut client.borrow_mut())));
        if done.is_err() {
            tracing::warn!("a relay panicked: its client is dropped, the others stay");
            self.ground.meters.failed.increment(1);
            self.forget(line);
        }
        done.ok()
    }
}
