//! What all clients of one incarnation of the server stand on.

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

/// What relaying is bound to, from `[turn]`.
#[derive(Clone)]
pub(super) struct RelayPolicy {
    /// Where sockets for peers are bound.
    pub(super) bind: IpAddr,
    /// Which ports they have.
    pub(super) ports: RangeInclusive<u16>,
    /// As what peers know this machine.
    pub(super) addresses: Arc<[IpAddr]>,
    /// Whom clients may reach.
    pub(super) peers: PeerPolicy,
    /// How much.
    pub(super) limits: TurnLimits,
}

impl RelayPolicy {
    /// The relayed address of a family, and where its sockets are bound; `None` if there is none.
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

/// A socket that somebody has to read, for this client, until it is told to stop.
pub(super) struct SocketReader {
    pub(super) line: FiveTuple,
    pub(super) relayed: SocketAddr,
    pub(super) socket: Rc<UdpSocket>,
    pub(super) until: AbortRegistration,
}

/// What clients share.
pub(super) struct TurnContext {
    pub(super) rules: RelayPolicy,
    pub(super) ice: TurnCredentials,
    pub(super) entropy: RandomSource,
    pub(super) quotas: Rc<AllocationQuotas>,
    pub(super) meters: TurnMetrics,
    /// As many wait here as allocations are allowed, at most.
    readings: mpsc::UnboundedSender<SocketReader>,
}

impl TurnContext {
    pub(super) fn new(
        rules: RelayPolicy,
        ice: TurnCredentials,
        entropy: RandomSource,
    ) -> (Rc<Self>, mpsc::UnboundedReceiver<SocketReader>) {
        let (readings, waiting) = mpsc::unbounded_channel();
        let quotas = AllocationQuotas::new(rules.limits);
        let meters = TurnMetrics::default();
        (Rc::new(Self { rules, ice, entropy, quotas, meters, readings }), waiting)
    }

    /// Has a socket read until the handle is aborted.
    pub(super) fn read(
        &self,
        line: FiveTuple,
        relayed: SocketAddr,
        socket: Rc<UdpSocket>,
    ) -> AbortHandle {
        let (handle, until) = AbortHandle::new_pair();
        let _ = self.readings.send(SocketReader { line, relayed, socket, until }); // else: all is ending
        handle
    }
}

/// What is measured of clients.
pub(super) struct TurnMetrics {
    pub(super) to_peer: DirectionMetrics,
    pub(super) to_client: DirectionMetrics,
    pub(super) too_fast: Counter,
    pub(super) failed: Counter,
}

impl Default for TurnMetrics {
    fn default() -> Self {
        Self {
            to_peer: DirectionMetrics::new("to-peer"),
            to_client: DirectionMetrics::new("to-client"),
            too_fast: counter!(TURN_DROPPED, "reason" => "too-fast"),
            failed: counter!(TURN_DROPPED, "reason" => "panic"),
        }
    }
}

/// What flows in one direction.
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

    /// One more packet.
    pub(super) fn count(&self, bytes: usize) {
        self.packets.increment(1);
        self.bytes.increment(bytes as u64);
    }
}

/// Counts a request that was answered with an error.
pub(super) fn refused(code: u16) {
    counter!(TURN_ERRORS, "code" => code.to_string()).increment(1);
}
