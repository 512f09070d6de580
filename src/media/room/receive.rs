//! Takes datagrams apart (RFC 7983): checks, handshakes, media.

use std::time::Instant;

use super::{RouteUpdate, SfuRoom};
use crate::api::{DisconnectReason, ParticipantId, RoomEvent};
use crate::connection::{DropReason, SrtpKeyingMaterial};
use crate::dtls::DtlsOutcome;
use crate::ice::participant_of;
use crate::path::NetworkPath;

impl SfuRoom {
    /// Takes a datagram; media are decrypted where they lie.
    pub fn receive(&mut self, now: Instant, path: NetworkPath, datagram: &mut [u8]) {
        self.counters.packets_in += 1;
        self.counters.bytes_in += datagram.len() as u64;
        let first = datagram.first().copied().unwrap_or(u8::MAX);
        if first <= 3 {
            return self.check(now, path, datagram);
        }
        let Some(&place) = self.paths.get(&path) else {
            self.counters.dropped_unknown += 1;
            return;
        };
        if let Some(member) = self.members.get_mut(place) {
            member.up.add(now, datagram.len());
        }
        match (first, datagram.get(1)) {
            (20..=63, _) => self.handshake(now, place, path, datagram),
            (128..=191, Some(192..=223)) => self.control_packet(now, place, datagram),
            (128..=191, Some(_)) => self.media_packet(now, place, datagram),
            _ => self.counters.dropped_malformed += 1,
        }
    }

    /// Counts why a packet was dropped.
    pub(super) fn dropped(&mut self, why: DropReason) {
        match why {
            DropReason::Malformed => self.counters.dropped_malformed += 1,
            DropReason::Forged => self.counters.dropped_forged += 1,
            DropReason::Replayed => self.counters.dropped_replayed += 1,
        }
    }

    fn check(&mut self, now: Instant, path: NetworkPath, datagram: &[u8]) {
        let place = participant_of(datagram).and_then(|it| self.places.get(&ParticipantId(it)));
        let found = place.copied().and_then(|at| Some((at, self.members.get_mut(at)?)));
        let Some((place, member)) = found else {
            self.counters.dropped_unknown += 1;
            return;
        };
        let Some(connection) = &mut member.connection else {
            self.counters.dropped_unknown += 1;
            return;
        };
        let Some(checked) = connection.check(now, path, datagram, &self.identity) else {
            self.counters.dropped_forged += 1;
            return;
        };
        // Checks that come again tell the participant's owner that it is back.
        if connection.silent && connection.selected.is_some() {
            connection.silent = false;
            if connection.keys.is_some() {
                self.events.push_back(RoomEvent::Connected(member.participant));
            }
        }
        self.control.push(path, &checked.reply);
        if !checked.usable {
            return;
        }
        // Whoever proved himself last has the path: an address may pass from one client to another,
        // and one that was taken wrongly comes back with its owner's next check.
        if self.paths.insert(path, place).is_none() {
            self.routes.push_back(RouteUpdate::Learned(path));
        }
        if let Some(path) = checked.forgotten {
            self.forget(place, path);
        }
    }

    /// A path leads to nobody, unless another member has taken it over.
    pub(super) fn forget(&mut self, place: usize, path: NetworkPath) {
        if self.paths.get(&path) == Some(&place) {
            self.paths.remove(&path);
            self.routes.push_back(RouteUpdate::Forgotten(path));
        }
    }

    fn handshake(&mut self, now: Instant, place: usize, path: NetworkPath, datagram: &[u8]) {
        let Some(member) = self.members.get_mut(place) else { return };
        let Some(connection) = &mut member.connection else { return };
        let began = *connection.began.get_or_insert(now);
        let mut replies = Vec::new();
        let outcome = connection.dtls.read(now, datagram, &mut replies);
        replies.iter().for_each(|reply| self.control.push(path, reply));
        let next = connection.dtls.next_timeout().unwrap_or(member.wake);
        member.wake = member.wake.min(next);
        self.wake = self.wake.min(next);
        match outcome {
            Some(DtlsOutcome::Connected(keys)) => {
                let (incoming, outgoing) = *keys;
                connection.keys = Some(SrtpKeyingMaterial { incoming, outgoing });
                self.counters.handshakes += 1;
                let took = now.saturating_duration_since(began);
                self.counters.handshake_micros += took.as_micros() as u64;
                self.events.push_back(RoomEvent::Connected(member.participant));
                member.wake = now;
                self.wake = self.wake.min(now);
            }
            Some(DtlsOutcome::Closed) => self.lose(now, place, DisconnectReason::Closed),
            Some(DtlsOutcome::Failed) => self.lose(now, place, DisconnectReason::Handshake),
            None => {}
        }
    }

    /// A connection is no more; its participant may offer again. For want of checks only its paths are
    /// lost: an ICE restart brings it back.
    pub(super) fn lose(&mut self, now: Instant, place: usize, why: DisconnectReason) {
        let Some(member) = self.members.get_mut(place) else { return };
        let participant = member.participant;
        match why {
            DisconnectReason::Silent => {
                if let Some(connection) = &mut member.connection {
                    connection.silent = true;
                }
            }
            DisconnectReason::Handshake => {
                self.counters.handshakes_failed += 1;
                self.disconnect(now, place);
            }
            DisconnectReason::Closed => self.disconnect(now, place),
        }
        self.events.push_back(RoomEvent::Gone(participant, why));
    }

    /// Says goodbye and forgets the connection with all its paths.
    pub(super) fn disconnect(&mut self, now: Instant, place: usize) {
        let Some(member) = self.members.get_mut(place) else { return };
        let Some(mut connection) = member.connection.take() else { return };
        let mut goodbye = Vec::new();
        if connection.keys.is_some() {
            connection.dtls.close(now, &mut goodbye);
        }
        if let Some(to) = connection.selected {
            goodbye.iter().for_each(|datagram| self.control.push(to, datagram));
        }
        connection.paths().for_each(|path| self.forget(place, path));
    }
}
