//! What happens by itself as time passes.

use std::time::{Duration, Instant};

use super::{SfuRoom, report};
use crate::api::{DisconnectReason, MediaKind, RoomEvent};

/// A subscriber that waits for a key frame asks for it so often.
const KEY_FRAME_RETRY_INTERVAL: Duration = Duration::from_millis(300);
/// How often it is decided who speaks.
const SPEAKER_UPDATE_INTERVAL: Duration = Duration::from_millis(100);
/// The shortest sleep.
const MIN_TIMER_INTERVAL: Duration = Duration::from_millis(1);

impl SfuRoom {
    /// Does what is due.
    pub fn timeout(&mut self, now: Instant) {
        if now < self.wake {
            return;
        }
        self.listen(now);
        self.stir(now);
        for place in 0..self.members.end() {
            let due = self.members.get(place).map(|member| member.wake);
            if due.is_some_and(|due| due <= now) {
                self.serve(now, place);
            }
        }
        // Members wake each other, so this is known only now.
        let next = self.members.iter().map(|(_, member)| member.wake).chain(self.listen).min();
        self.wake = next.unwrap_or(now + report::INTERVAL).max(now + MIN_TIMER_INTERVAL);
    }

    /// Chooses anew for those who receive a track of which a layer began to be sent.
    fn stir(&mut self, now: Instant) {
        if self.stirred.is_empty() {
            return;
        }
        for place in 0..self.members.end() {
            let member = self.members.get(place);
            let concerned = |track: &usize| member.is_some_and(|it| it.route(*track).is_some());
            if self.stirred.iter().any(concerned) {
                self.adapt(now, place);
            }
        }
        self.stirred.clear();
    }

    /// Looks who speaks; as long as anybody makes a sound.
    fn listen(&mut self, now: Instant) {
        if self.listen.is_none_or(|at| at > now) {
            return;
        }
        if let Some(speakers) = self.speakers.tick(now) {
            self.events.push_back(RoomEvent::Speakers(speakers.to_vec()));
        }
        self.choose_heard(now);
        let voices = self.speakers.loudest(1).next().is_some();
        self.listen = voices.then_some(now + SPEAKER_UPDATE_INTERVAL);
    }

    fn serve(&mut self, now: Instant, place: usize) {
        self.keep_connection(now, place);
        let Some(member) = self.members.get_mut(place) else { return };
        let due = member.report <= now;
        if due {
            member.report = now + report::INTERVAL;
        }
        if due || member.congestion.again.is_some_and(|again| again <= now) {
            self.adapt(now, place);
        }
        if due {
            self.reports(now, place);
            self.review_published(now, place);
        }
        self.insist(now, place);
        self.requests(now, place);
        self.tell_arrivals(now, place);
        self.tell_quality(now, place);
        let probing = self.probe(now, place);
        let next = self.next_service(now, place);
        let next = probing.map_or(next, |probing| probing.min(next));
        if let Some(member) = self.members.get_mut(place) {
            member.wake = next;
        }
    }

    /// Handshake, consent, paths.
    fn keep_connection(&mut self, now: Instant, place: usize) {
        let consent = self.settings.consent_timeout;
        let Some(member) = self.members.get_mut(place) else { return };
        let Some(connection) = &mut member.connection else { return };
        let mut repeated = Vec::new();
        let alive = connection.dtls.timeout(now, &mut repeated);
        if let Some(to) = connection.selected {
            repeated.iter().for_each(|datagram| self.control.push(to, datagram));
        }
        if !alive {
            return self.lose(now, place, DisconnectReason::Handshake);
        }
        let silent = !connection.silent && connection.is_silent(now, consent);
        for path in connection.expire(now, consent) {
            self.forget(place, path);
        }
        if silent {
            self.lose(now, place, DisconnectReason::Silent);
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
            member.insists = Some(now + KEY_FRAME_RETRY_INTERVAL);
        }
        for owner in owners {
            if let Some(owner) = self.members.get_mut(owner) {
                owner.wake_by(now);
            }
        }
    }

    fn review_published(&mut self, now: Instant, place: usize) {
        let Some(member) = self.members.get(place) else { return };
        let published: Vec<usize> = member.lines.iter().filter_map(|it| it.publishes).collect();
        for place in published {
            if let Some(track) = self.tracks.get_mut(place) {
                track.find_refused(now);
            }
            self.review(now, place);
        }
    }

    /// When a member is to be looked after again.
    fn next_service(&mut self, now: Instant, place: usize) -> Instant {
        let Some(member) = self.members.get_mut(place) else { return now + report::INTERVAL };
        let mut next = member.report;
        next = member.congestion.again.into_iter().fold(next, Instant::min);
        if let Some(again) = member.insists.filter(|at| *at > now) {
            next = next.min(again);
        }
        if let Some(connection) = &member.connection {
            next = connection.dtls.next_timeout().into_iter().fold(next, Instant::min);
            if !connection.silent {
                next = next.min(connection.next_expiry(self.settings.consent_timeout));
            }
        }
        next = member.congestion.arrivals.next().into_iter().fold(next, Instant::min);
        if member.connection.as_ref().is_none_or(|connection| !connection.flows()) {
            return next.max(now + MIN_TIMER_INTERVAL);
        }
        for track in member.lines.iter().filter_map(|line| line.publishes) {
            let track = self.tracks.get(track).filter(|track| track.kind == MediaKind::Video);
            let Some(track) = track else { continue };
            for stream in &track.streams {
                let pause = stream.pause(now, self.settings.min_key_frame_interval);
                let due = [stream.missing.next(), stream.requests.next(pause)];
                next = due.into_iter().flatten().fold(next, Instant::min);
            }
        }
        next.max(now + MIN_TIMER_INTERVAL)
    }
}
