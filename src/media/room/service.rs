//! What happens by itself as time passes.

use std::time::{Duration, Instant};

use super::{Room, report};
use crate::signal::{Gone, Limit};

/// A subscriber that waits for a key frame asks for it so often.
const INSIST: Duration = Duration::from_millis(300);
/// The shortest sleep.
const TICK: Duration = Duration::from_millis(1);

impl Room {
    /// Does what is due.
    pub fn timeout(&mut self, now: Instant) {
        if now < self.wake {
            return;
        }
        let mut next = now + report::INTERVAL;
        for place in 0..self.members.end() {
            let due = self.members.get(place).map(|member| member.wake);
            if due.is_some_and(|due| due <= now) {
                self.serve(now, place);
            }
            if let Some(member) = self.members.get(place) {
                next = next.min(member.wake);
            }
        }
        self.wake = next.max(now + TICK);
    }

    fn serve(&mut self, now: Instant, place: usize) {
        self.keep_connection(now, place);
        let Some(member) = self.members.get_mut(place) else { return };
        let due = member.report <= now;
        if due {
            member.report = now + report::INTERVAL;
        }
        self.insist(now, place);
        self.requests(now, place);
        if due {
            self.adapt(now, place);
            self.reports(now, place);
        }
        let next = self.next_service(now, place);
        if let Some(member) = self.members.get_mut(place) {
            member.wake = next;
        }
    }

    /// Handshake, consent, paths.
    fn keep_connection(&mut self, now: Instant, place: usize) {
        let consent = self.settings.consent;
        let Some(member) = self.members.get_mut(place) else { return };
        let Some(connection) = &mut member.connection else { return };
        let mut repeated = Vec::new();
        let alive = connection.dtls.timeout(now, &mut repeated);
        if let Some(to) = connection.selected {
            repeated.iter().for_each(|datagram| self.control.push(to, datagram));
        }
        if !alive {
            return self.lose(now, place, Gone::Handshake);
        }
        let silent = !connection.silent && connection.is_silent(now, consent);
        for path in connection.expire(now, consent) {
            self.forget(place, path);
        }
        if silent {
            self.lose(now, place, Gone::Silent);
        }
    }

    /// Asks for the key frames without which something cannot be seen.
    fn insist(&mut self, now: Instant, place: usize) {
        let Some(member) = self.members.get_mut(place) else { return };
        if member.connection.as_ref().is_none_or(|connection| connection.keys.is_none()) {
            return;
        }
        let mut owners = Vec::new();
        for subscription in member.subscriptions() {
            let Some(track) = self.tracks.get_mut(subscription.place) else { continue };
            let Some(needed) = subscription.needs_key_frame(track) else { continue };
            if let Some(stream) = track.streams.get_mut(needed) {
                stream.requests.want();
                owners.push(track.member);
            }
        }
        if !owners.is_empty() {
            member.insists = Some(now + INSIST);
        }
        for owner in owners {
            if let Some(owner) = self.members.get_mut(owner) {
                owner.wake_by(now);
            }
        }
    }

    /// When a member is to be looked after again.
    fn next_service(&mut self, now: Instant, place: usize) -> Instant {
        let Some(member) = self.members.get_mut(place) else { return now + report::INTERVAL };
        let mut next = member.report;
        if let Some(again) = member.insists.filter(|at| *at > now) {
            next = next.min(again);
        }
        if let Some(connection) = &member.connection {
            next = connection.dtls.next_timeout().into_iter().fold(next, Instant::min);
            if !connection.silent {
                next = next.min(connection.next_expiry(self.settings.consent));
            }
        }
        for track in member.lines.iter().filter_map(|line| line.publishes) {
            let Some(track) = self.tracks.get(track) else { continue };
            for stream in &track.streams {
                let pause = self.settings.key_frame_pause;
                let due = [stream.missing.next(), stream.requests.next(pause)];
                next = due.into_iter().flatten().fold(next, Instant::min);
            }
        }
        next.max(now + TICK)
    }

    /// Chooses which stream of each track a member receives.
    pub(super) fn adapt(&mut self, now: Instant, place: usize) {
        let Some(member) = self.members.get_mut(place) else { return };
        for subscription in member.subscriptions() {
            let Some(track) = self.tracks.get(subscription.place) else { continue };
            let target = match subscription.limit {
                Limit::Off => None,
                Limit::Most(most) => {
                    let allowed = || {
                        let all = track.streams.iter().enumerate();
                        all.filter(|(at, _)| track.layer(*at) <= most || *at == 0)
                    };
                    let active = allowed().filter(|(_, stream)| stream.is_active(now)).last();
                    active.or_else(|| allowed().last()).map(|(at, _)| at)
                }
            };
            subscription.aim(target);
        }
        member.wake_by(now);
        self.wake = self.wake.min(now);
    }
}
