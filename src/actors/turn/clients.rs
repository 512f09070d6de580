//! All clients, each in its own cell: a failure of one client ends that client only.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Instant;

use super::client::TurnClient;
use super::context::{TurnContext, count_refused};
use super::five_tuple::{ClientPath, FiveTuple};
use super::message::{StunMessage, StunMethod};
use super::relay::TurnRelay;
use crate::limits::MAX_UNAUTHENTICATED_TURN_CLIENTS;

/// Creates the relay of a client with this address.
pub(super) type RelayFactory = Box<dyn Fn(SocketAddr, Instant) -> Box<dyn TurnRelay>>;

/// The known clients.
pub(super) struct TurnClients {
    context: Rc<TurnContext>,
    create_relay: RelayFactory,
    by_five_tuple: RefCell<HashMap<FiveTuple, Rc<RefCell<TurnClient>>>>,
    /// Clients that arrived without an allocation, in this order; some may have one by now.
    unallocated: RefCell<VecDeque<FiveTuple>>,
}

impl TurnClients {
    pub(super) fn new(context: Rc<TurnContext>, create_relay: RelayFactory) -> Rc<Self> {
        Rc::new(Self {
            context,
            create_relay,
            by_five_tuple: RefCell::default(),
            unallocated: RefCell::default(),
        })
    }

    /// Handles one complete message of a client.
    pub(super) fn receive(
        &self,
        now: Instant,
        five_tuple: FiveTuple,
        path: &ClientPath,
        packet: &[u8],
    ) {
        if self.with(five_tuple, |client| client.receive(now, packet)).is_some() {
            return;
        }
        let Some(request) = StunMessage::read(packet) else { return };
        match request.method() {
            Some(StunMethod::Binding) => path.send(&request.binding_response(five_tuple.address())),
            Some(StunMethod::Allocate) => {
                self.add_client(now, five_tuple, path);
                self.with(five_tuple, |client| client.receive(now, packet));
            }
            // The client assumes an allocation that was lost, perhaps in a restart, and learns so
            // by error 437.
            Some(StunMethod::Allocated) => {
                count_refused(437);
                path.send(&request.error_response(437));
            }
            Some(StunMethod::Send) | None => {}
        }
    }

    /// Handles a datagram from a peer.
    pub(super) fn receive_from_peer(
        &self,
        now: Instant,
        five_tuple: FiveTuple,
        (peer, relayed): (SocketAddr, SocketAddr),
        packet: &[u8],
    ) {
        self.with(five_tuple, |client| client.receive_from_peer(now, (peer, relayed), packet));
    }

    /// Advances time: expires allocations and drops unauthenticated clients.
    pub(super) fn advance(&self, now: Instant) {
        let five_tuples: Vec<_> = self.by_five_tuple.borrow().keys().copied().collect();
        for five_tuple in five_tuples {
            let is_expired = self.with(five_tuple, |client| {
                client.advance(now);
                client.is_expired(now)
            });
            if is_expired == Some(true) {
                self.remove(five_tuple);
            }
        }
        self.unallocated.borrow_mut().retain(|five_tuple| self.is_unallocated(*five_tuple));
    }

    /// Removes a client.
    pub(super) fn remove(&self, five_tuple: FiveTuple) {
        let removed = self.by_five_tuple.borrow_mut().remove(&five_tuple);
        drop(removed); // dropped after the map is no longer borrowed
    }

    /// Whether the client has no allocation.
    pub(super) fn is_unallocated(&self, five_tuple: FiveTuple) -> bool {
        self.by_five_tuple
            .borrow()
            .get(&five_tuple)
            .is_none_or(|client| client.borrow().is_unallocated())
    }

    /// The number of clients.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.by_five_tuple.borrow().len()
    }

    fn add_client(&self, now: Instant, five_tuple: FiveTuple, path: &ClientPath) {
        let relay = (self.create_relay)(five_tuple.address(), now);
        let client =
            TurnClient::new(Rc::clone(&self.context), relay, (five_tuple, path.clone()), now);
        self.by_five_tuple.borrow_mut().insert(five_tuple, Rc::new(RefCell::new(client)));
        let mut unallocated = self.unallocated.borrow_mut();
        unallocated.push_back(five_tuple);
        if unallocated.len() > MAX_UNAUTHENTICATED_TURN_CLIENTS {
            let oldest = unallocated.pop_front();
            if let Some(oldest) = oldest.filter(|oldest| self.is_unallocated(*oldest)) {
                self.remove(oldest);
            }
        }
    }

    /// Runs `f` with a client; `None` if it is unknown, or was dropped because of a panic.
    fn with<T>(&self, five_tuple: FiveTuple, f: impl FnOnce(&mut TurnClient) -> T) -> Option<T> {
        let client = self.by_five_tuple.borrow().get(&five_tuple).cloned()?;
        let result = catch_unwind(AssertUnwindSafe(|| f(&mut client.borrow_mut())));
        if result.is_err() {
            tracing::warn!("TURN relay panicked, client dropped");
            self.context.metrics.panicked.increment(1);
            self.remove(five_tuple);
        }
        result.ok()
    }
}
