//! What all clients of one incarnation of the server share.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;

use base::random::RandomSource;
use futures_util::future::{AbortHandle, AbortRegistration};
use metrics::{Counter, counter};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::five_tuple::FiveTuple;
use super::peers::PeerPolicy;
use super::quotas::{AllocationQuotas, TurnLimits};
use super::relay::AddressFamily;
use crate::domain::calls::TurnCredentials;
use crate::telemetry::metrics::{TURN_BYTES, TURN_DROPPED, TURN_ERRORS, TURN_PACKETS};

/// The rules of relaying, from `[turn]`.
#[derive(Clone)]
pub(super) struct RelayPolicy {
    /// The address that relay sockets are bound to.
    pub(super) bind: IpAddr,
    /// The range of relay ports.
    pub(super) ports: RangeInclusive<u16>,
    /// The addresses under which peers reach this machine.
    pub(super) addresses: Arc<[IpAddr]>,
    /// Which peers clients may reach.
    pub(super) peers: PeerPolicy,
    /// The allocation and bandwidth limits.
    pub(super) limits: TurnLimits,
}

impl RelayPolicy {
    /// The relayed address of a family, and the address its sockets are bound to; `None` if there
    /// is none.
    pub(super) fn relayed(&self, family: AddressFamily) -> Option<(IpAddr, IpAddr)> {
        let fits = |address: &IpAddr| address.is_ipv4() == (family == AddressFamily::V4);
        let address = *self.addresses.iter().find(|address| fits(address))?;
        let any = match family {
            AddressFamily::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            AddressFamily::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let bind = if self.bind.is_unspecified() { any } else { self.bind };
        fits(&bind).then_some((address, bind))
    }
}

/// A relay socket to be read for this client until it is aborted.
pub(super) struct SocketReader {
    pub(super) five_tuple: FiveTuple,
    pub(super) relayed: SocketAddr,
    pub(super) socket: Rc<UdpSocket>,
    pub(super) until: AbortRegistration,
}

/// The shared state of all clients.
pub(super) struct TurnContext {
    pub(super) policy: RelayPolicy,
    pub(super) ice: TurnCredentials,
    pub(super) random: RandomSource,
    pub(super) quotas: Rc<AllocationQuotas>,
    pub(super) metrics: TurnMetrics,
    /// Queue of relay sockets; it holds at most as many as there may be allocations.
    to_read: mpsc::UnboundedSender<SocketReader>,
}

impl TurnContext {
    pub(super) fn new(
        policy: RelayPolicy,
        ice: TurnCredentials,
        random: RandomSource,
    ) -> (Rc<Self>, mpsc::UnboundedReceiver<SocketReader>) {
        let (to_read, receiver) = mpsc::unbounded_channel();
        let quotas = AllocationQuotas::new(policy.limits);
        let metrics = TurnMetrics::default();
        (Rc::new(Self { policy, ice, random, quotas, metrics, to_read }), receiver)
    }

    /// Requests that a socket is read until the returned handle is aborted.
    pub(super) fn start_reading(
        &self,
        five_tuple: FiveTuple,
        relayed: SocketAddr,
        socket: Rc<UdpSocket>,
    ) -> AbortHandle {
        let (handle, until) = AbortHandle::new_pair();
        // fails only if the server is stopping
        let _ = self.to_read.send(SocketReader { five_tuple, relayed, socket, until });
        handle
    }
}

/// The metrics of relaying.
pub(super) struct TurnMetrics {
    pub(super) to_peer: DirectionMetrics,
    pub(super) to_client: DirectionMetrics,
    pub(super) rate_limited: Counter,
    pub(super) panicked: Counter,
}

impl Default for TurnMetrics {
    fn default() -> Self {
        Self {
            to_peer: DirectionMetrics::new("to-peer"),
            to_client: DirectionMetrics::new("to-client"),
            rate_limited: counter!(TURN_DROPPED, "reason" => "too-fast"),
            panicked: counter!(TURN_DROPPED, "reason" => "panic"),
        }
    }
}

/// The metrics of one direction.
pub(super) struct DirectionMetrics {
    packets: Counter,
    bytes: Counter,
}

impl DirectionMetrics {
    fn new(direction: &'static str) -> Self {
        Self {
            packets: counter!(TURN_PACKETS, "direction" => direction),
            bytes: counter!(TURN_BYTES, "direction" => direction),
        }
    }

    /// Counts one packet.
    pub(super) fn count(&self, bytes: usize) {
        self.packets.increment(1);
        self.bytes.increment(bytes as u64);
    }
}

/// Counts a request that was answered with an error.
pub(super) fn count_refused(code: u16) {
    counter!(TURN_ERRORS, "code" => code.to_string()).increment(1);
}
