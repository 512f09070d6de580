//! Demultiplexes received datagrams (RFC 7983): STUN checks, DTLS, SRTP and SRTCP.

use std::time::Instant;

use super::{RouteUpdate, SfuRoom};
use crate::api::{DisconnectReason, ParticipantId, RoomEvent};
use crate::connection::{DropReason, SrtpContexts};
use crate::dtls::DtlsOutcome;
use crate::ice::participant_of;
use crate::path::NetworkPath;

impl SfuRoom {
    /// Handles a received datagram; media is decrypted in place.
    pub fn receive(&mut self, now: Instant, path: NetworkPath, datagram: &mut [u8]) {
        self.counters.packets_in += 1;
        self.counters.bytes_in += datagram.len() as u64;
        let first_byte = datagram.first().copied().unwrap_or(u8::MAX);
        if first_byte <= 3 {
            return self.on_binding_request(now, path, datagram);
        }
        let Some(&slot) = self.peer_by_path.get(&path) else {
            self.counters.dropped_unknown += 1;
            return;
        };
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.uplink.add(now, datagram.len());
        }
        match (first_byte, datagram.get(1)) {
            (20..=63, _) => self.on_dtls(now, slot, path, datagram),
            (128..=191, Some(192..=223)) => self.on_rtcp(now, slot, datagram),
            (128..=191, Some(_)) => self.on_rtp(now, slot, datagram),
            _ => self.counters.dropped_malformed += 1,
        }
    }

    /// Counts a dropped packet by its reason.
    pub(super) fn count_drop(&mut self, reason: DropReason) {
        match reason {
            DropReason::Malformed => self.counters.dropped_malformed += 1,
            DropReason::Unauthenticated => self.counters.dropped_unauthenticated += 1,
            DropReason::Replayed => self.counters.dropped_replayed += 1,
        }
    }

    fn on_binding_request(&mut self, now: Instant, path: NetworkPath, datagram: &[u8]) {
        let slot = participant_of(datagram).and_then(|id| self.peer_slots.get(&ParticipantId(id)));
        let entry = slot.copied().and_then(|slot| Some((slot, self.peers.get_mut(slot)?)));
        let Some((slot, peer)) = entry else {
            self.counters.dropped_unknown += 1;
            return;
        };
        let Some(transport) = &mut peer.transport else {
            self.counters.dropped_unknown += 1;
            return;
        };
        let Some(outcome) =
            transport.handle_binding_request(now, path, datagram, &self.certificate)
        else {
            self.counters.dropped_unauthenticated += 1;
            return;
        };
        // Checks after an expiry of consent show that the client is connected again.
        if transport.consent_expired && transport.selected_path.is_some() {
            transport.consent_expired = false;
            if transport.srtp.is_some() {
                self.events.push_back(RoomEvent::Connected(peer.participant));
            }
        }
        self.control.push(path, &outcome.response);
        if !outcome.is_valid {
            return;
        }
        // The peer whose check was verified last owns the path: an address can pass from one client to
        // another, and a path taken over by mistake returns with the next check of its owner.
        if self.peer_by_path.insert(path, slot).is_none() {
            self.routes.push_back(RouteUpdate::Added(path));
        }
        if let Some(path) = outcome.evicted_path {
            self.forget_path(slot, path);
        }
    }

    /// Removes a path, unless another peer has taken it over.
    pub(super) fn forget_path(&mut self, slot: usize, path: NetworkPath) {
        if self.peer_by_path.get(&path) == Some(&slot) {
            self.peer_by_path.remove(&path);
            self.routes.push_back(RouteUpdate::Removed(path));
        }
    }

    fn on_dtls(&mut self, now: Instant, slot: usize, path: NetworkPath, datagram: &[u8]) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let Some(transport) = &mut peer.transport else { return };
        let started_at = *transport.handshake_started.get_or_insert(now);
        let mut datagrams = Vec::new();
        let outcome = transport.dtls.on_datagram(now, datagram, &mut datagrams);
        datagrams.iter().for_each(|datagram| self.control.push(path, datagram));
        let next = transport.dtls.next_timeout().unwrap_or(peer.wake_at);
        peer.wake_at = peer.wake_at.min(next);
        self.wake_at = self.wake_at.min(next);
        match outcome {
            Some(DtlsOutcome::Connected(keys)) => {
                let (inbound, outbound) = *keys;
                transport.srtp = Some(SrtpContexts { inbound, outbound });
                self.counters.handshakes += 1;
                let elapsed = now.saturating_duration_since(started_at);
                self.counters.handshake_micros += elapsed.as_micros() as u64;
                self.events.push_back(RoomEvent::Connected(peer.participant));
                peer.wake_at = now;
                self.wake_at = self.wake_at.min(now);
            }
            Some(DtlsOutcome::Closed) => {
                self.on_transport_lost(now, slot, DisconnectReason::Closed)
            }
            Some(DtlsOutcome::Failed) => {
                self.on_transport_lost(now, slot, DisconnectReason::HandshakeFailed)
            }
            None => {}
        }
    }

    /// Handles the end of a transport; its participant may offer again. When consent expires the transport is
    /// retained, since an ICE restart can revive it.
    pub(super) fn on_transport_lost(
        &mut self,
        now: Instant,
        slot: usize,
        reason: DisconnectReason,
    ) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let participant = peer.participant;
        match reason {
            DisconnectReason::ConsentExpired => {
                if let Some(transport) = &mut peer.transport {
                    transport.consent_expired = true;
                }
            }
            DisconnectReason::HandshakeFailed => {
                self.counters.handshakes_failed += 1;
                self.disconnect(now, slot);
            }
            DisconnectReason::Closed => self.disconnect(now, slot),
        }
        self.events.push_back(RoomEvent::Disconnected(participant, reason));
    }

    /// Sends `close_notify` and removes the transport with all its paths.
    pub(super) fn disconnect(&mut self, now: Instant, slot: usize) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let Some(mut transport) = peer.transport.take() else { return };
        let mut datagrams = Vec::new();
        if transport.srtp.is_some() {
            transport.dtls.close(now, &mut datagrams);
        }
        if let Some(path) = transport.selected_path {
            datagrams.iter().for_each(|datagram| self.control.push(path, datagram));
        }
        transport.paths().for_each(|path| self.forget_path(slot, path));
    }
}
