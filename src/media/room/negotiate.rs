//! Answers offers: the first one, those that change something, ICE restarts, clients that begin anew.

use std::time::Instant;

use super::plan::SectionPlan;
use super::{RouteUpdate, SfuRoom};
use crate::api::{
    MediaKind, OfferError, ParticipantId, PublishOffer, RoomEvent, TrackId, TrackSource,
};
use crate::congestion::CongestionController;
use crate::connection::PeerTransport;
use crate::ice::IceCredentials;
use crate::member::MidSlot;
use crate::sdp::{
    AnswerBuilder, AnswerSection, PayloadFormat, RemoteOffer, RemoteSection, SendSection,
};
use crate::speaker::DtxGate;
use crate::stream::LayerStream;
use crate::subscription::DownTrack;
use crate::track::{self, PublishedTrack};

/// Entries of the history of sound, which is hardly ever sent again.
const SOUND: usize = 64;

/// An offer that is being answered.
#[derive(Clone, Copy)]
struct OfferContext {
    now: Instant,
    /// Where the member is.
    place: usize,
    /// The client begins anew.
    anew: bool,
}

impl SfuRoom {
    /// Answers an offer of a participant. Sections keep their tracks as long as they publish the same
    /// thing in the same codec; whatever else changed is unpublished and published.
    ///
    /// # Errors
    /// [`OfferError`]; nothing has changed then.
    pub fn offer(
        &mut self,
        now: Instant,
        participant: ParticipantId,
        offer: &PublishOffer,
    ) -> Result<String, OfferError> {
        let place = *self.places.get(&participant).ok_or(OfferError::NoSuchParticipant)?;
        let session = RemoteOffer::parse(&offer.sdp, self.settings.max_sections)?;
        let plans = self.plan(offer, &session)?;
        let anew = self.transport(now, place, &session)?;
        self.reuse_lines(place, &session, anew);
        let call = OfferContext { now, place, anew };
        for (at, (section, plan)) in session.sections.iter().zip(&plans).enumerate() {
            self.publish(call, at, section, plan);
        }
        for (at, (section, plan)) in session.sections.iter().zip(&plans).enumerate() {
            self.subscribe(place, at, section, plan);
        }
        let answer = self.answer(place, &session).ok_or(OfferError::NoSuchParticipant)?;
        if let Some(member) = self.members.get_mut(place) {
            member.index();
            member.offered = Some(now);
            member.wake_by(now);
        }
        self.choose_heard(now);
        self.adapt(now, place);
        Ok(answer)
    }

    /// Fits the transport to the offer. True if the client begins anew: all it knows is forgotten.
    fn transport(
        &mut self,
        now: Instant,
        place: usize,
        session: &RemoteOffer,
    ) -> Result<bool, OfferError> {
        let member = self.members.get_mut(place).ok_or(OfferError::NoSuchParticipant)?;
        let remote = (session.fragment.clone(), session.password.clone());
        // Another peer connection of the client, or another certificate: another DTLS association.
        let kept = member.connection.as_mut().filter(|connection| {
            connection.session == session.id && connection.dtls.expected() == session.fingerprint
        });
        if kept.as_ref().is_some_and(|connection| connection.remote == remote) {
            return Ok(false);
        }
        let credentials =
            IceCredentials::generate(self.number, member.participant.0, self.identity.provider())
                .map_err(|_| OfferError::Unusable("no randomness for an answer"))?;
        if let Some(connection) = kept {
            connection.remote = remote;
            connection.former = Some(std::mem::replace(&mut connection.local, credentials));
            return Ok(false);
        }
        member.congestion = CongestionController::new(now, &self.settings);
        let fresh = PeerTransport::new(now, credentials, self.identity.clone(), session);
        if let Some(old) = member.connection.replace(fresh) {
            for path in old.paths() {
                self.paths.remove(&path);
                self.routes.push_back(RouteUpdate::Forgotten(path));
            }
        }
        Ok(true)
    }

    /// Ends what is in sections that now have another name, or are there no more.
    fn reuse_lines(&mut self, place: usize, session: &RemoteOffer, anew: bool) {
        let Some(member) = self.members.get_mut(place) else { return };
        let names = session.sections.iter().map(|section| section.mid.as_str());
        let mut ended = Vec::new();
        for (at, line) in member.lines.iter_mut().enumerate() {
            if anew {
                line.receives = None; // counters begin anew, under new keys
            }
            let same = session.sections.get(at).is_some_and(|section| section.mid == line.mid);
            if !same {
                line.receives = None;
                ended.extend(line.publishes.take());
            }
        }
        member.lines.truncate(session.sections.len());
        for (at, name) in names.enumerate() {
            match member.lines.get_mut(at) {
                Some(line) => line.mid = name.to_owned(),
                None => member.lines.push(MidSlot {
                    mid: name.to_owned(),
                    publishes: None,
                    receives: None,
                }),
            }
        }
        ended.into_iter().for_each(|track| self.unpublish(track));
    }

    /// Publishes, keeps or ends what one section publishes.
    fn publish(
        &mut self,
        call: OfferContext,
        at: usize,
        section: &RemoteSection,
        plan: &SectionPlan,
    ) {
        let place = call.place;
        let Some(member) = self.members.get(place) else { return };
        let current = member.lines.get(at).and_then(|line| line.publishes);
        let wanted = plan.publish.and_then(|source| Some((source, section.preferred()?)));
        let layers = track::ordered(section.layers.clone());
        let kept = current.zip(wanted).is_some_and(|(track, (source, format))| {
            self.tracks.get(track).is_some_and(|track| {
                let rids = track.streams.iter().filter_map(|stream| stream.rid.as_ref());
                track.source == source && track.format.fits(format) && rids.eq(&layers)
            })
        });
        if kept {
            if let (Some(track), Some((_, format))) = (current, wanted) {
                self.republish(call, track, section, format);
            }
            return;
        }
        if let Some(track) = current {
            self.unpublish(track);
        }
        let published =
            wanted.map(|(source, format)| self.add_track(call, section, source, format, &layers));
        if let Some(line) = self.members.get_mut(place).and_then(|member| member.lines.get_mut(at))
        {
            line.publishes = published;
        }
    }

    fn add_track(
        &mut self,
        call: OfferContext,
        section: &RemoteSection,
        source: TrackSource,
        format: &PayloadFormat,
        layers: &[String],
    ) -> usize {
        let place = call.place;
        let owner = self.members.get(place).map_or(ParticipantId(0), |member| member.participant);
        let rids: Vec<Option<String>> =
            if layers.is_empty() { vec![None] } else { layers.iter().cloned().map(Some).collect() };
        let streams = rids.into_iter().map(|rid| self.stream(call.now, rid, format)).collect();
        let kind = section.kind.unwrap_or(MediaKind::Audio);
        let muted = self.members.get(place).is_some_and(|member| member.is_muted(kind));
        let muted = muted && source.is_person();
        // A client sends everything until it is told that nobody watches.
        let count = layers.len().max(1);
        let wanted = (0..count).map(|at| track::layer(at, count)).collect();
        let track = PublishedTrack {
            id: TrackId(self.next_track),
            owner,
            member: place,
            mid: section.mid.clone(),
            source,
            kind,
            format: format.clone(),
            redundant: section.redundant().cloned(),
            ids: section.ids,
            streams,
            wanted,
            unwanted_since: None,
            muted,
            unheard: false,
            forwarded: None,
            silence: DtxGate::default(),
            unseen: true,
        };
        self.next_track += 1;
        self.events.push_back(RoomEvent::Published(track.info()));
        let at = self.tracks.insert(track);
        self.announce(at, section);
        at
    }

    fn stream(&mut self, now: Instant, rid: Option<String>, format: &PayloadFormat) -> LayerStream {
        let clock = format.codec.clock_rate();
        let history = if clock == 48_000 { SOUND } else { self.settings.packet_history };
        let mut stream = LayerStream::new(self.source(), rid, clock, history);
        stream.asked = Some(now);
        stream
    }

    /// The same track in a later offer; of a client that begins anew with new streams.
    fn republish(
        &mut self,
        call: OfferContext,
        at: usize,
        section: &RemoteSection,
        format: &PayloadFormat,
    ) {
        let Some(track) = self.tracks.get_mut(at) else { return };
        track.mid.clone_from(&section.mid);
        track.format = format.clone();
        track.redundant = section.redundant().cloned();
        track.ids = section.ids;
        if call.anew {
            let rids: Vec<_> = track.streams.iter().map(|stream| stream.rid.clone()).collect();
            let streams = rids.into_iter().map(|rid| self.stream(call.now, rid, format)).collect();
            if let Some(track) = self.tracks.get_mut(at) {
                track.streams = streams;
            }
        }
        self.announce(at, section);
    }

    /// Takes over the SSRCs that an offer announces.
    fn announce(&mut self, at: usize, section: &RemoteSection) {
        let Some(track) = self.tracks.get_mut(at) else { return };
        if let ([only], Some(ssrc)) = (&mut track.streams[..], section.ssrc)
            && only.ssrc.is_none()
        {
            (only.ssrc, only.repair_ssrc) = (Some(ssrc), section.repair_ssrc);
        }
    }

    /// Begins, keeps or ends what one section receives.
    fn subscribe(&mut self, place: usize, at: usize, section: &RemoteSection, plan: &SectionPlan) {
        let found = plan.receive.and_then(|id| {
            let (track_at, track) = self.tracks.iter().find(|(_, track)| track.id == id)?;
            let redundant = track.redundant.as_ref().and_then(|red| section.fitting(red));
            Some((track_at, section.fitting(&track.format)?.clone(), redundant.cloned()))
        });
        let (ssrc, repair) = (self.ssrc(), self.ssrc());
        let start = (self.identity.number() & 0x3fff) as u16 + 1;
        let Some(member) = self.members.get_mut(place) else { return };
        let limits = &member.limits;
        let Some(line) = member.lines.get_mut(at) else { return };
        let Some((track_at, format, redundant)) = found else { return line.receives = None };
        let Some(track) = self.tracks.get(track_at) else { return };
        let kept = line.receives.take().filter(|sub| sub.track == track.id);
        let mut subscription = kept.unwrap_or_else(|| {
            let repair_ssrc = format.repair.map(|_| repair);
            let (owner, id) = (track.owner.0, track.id.0);
            let sending = SendSection { ssrc, repair_ssrc, owner, track: id };
            Box::new(DownTrack::new(track, track_at, format.clone(), sending, start))
        });
        subscription.format = format;
        subscription.redundant = redundant;
        subscription.ids = section.ids;
        if let Some(limit) = limits.get(&track.id) {
            subscription.limit = *limit;
        }
        line.receives = Some(subscription);
    }

    fn answer(&mut self, place: usize, session: &RemoteOffer) -> Option<String> {
        let member = self.members.get_mut(place)?;
        member.answers += 1;
        let mut replies = Vec::with_capacity(session.sections.len());
        for (section, line) in session.sections.iter().zip(&member.lines) {
            let track = line.publishes.and_then(|track| self.tracks.get(track));
            replies.push(reply(section, line, track, self.settings.use_dtx));
        }
        let answer = AnswerBuilder {
            version: member.answers,
            id: u64::from(self.number) << 32 | u64::from(member.participant.0),
            credentials: &member.connection.as_ref()?.local,
            fingerprint: self.identity.fingerprint(),
            candidates: &self.candidates,
        };
        Some(answer.write(session, &replies))
    }
}

/// The formats of what is published come first, since a client sends with the first one.
fn reply<'a>(
    section: &'a RemoteSection,
    line: &'a MidSlot,
    track: Option<&'a PublishedTrack>,
    saves_silence: bool,
) -> AnswerSection<'a> {
    if section.kind.is_none() {
        return AnswerSection::default();
    }
    let publishing = track.map(|track| [track.redundant.as_ref(), Some(&track.format)]);
    let receiving = line.receives.as_ref().map(|sub| [sub.redundant.as_ref(), Some(&sub.format)]);
    let mut formats: Vec<&PayloadFormat> = Vec::new();
    for format in publishing.into_iter().chain(receiving).flatten().flatten() {
        if !formats.iter().any(|known| known.payload_type == format.payload_type) {
            formats.push(format);
        }
    }
    if formats.is_empty() {
        formats.extend(section.preferred());
    }
    let layers = match track {
        Some(track) if track.streams.len() > 1 => &section.layers[..],
        _ => &[],
    };
    AnswerSection {
        formats,
        sending: line.receives.as_ref().map(|sub| sub.sending),
        receives: track.is_some(),
        layers,
        saves_silence: saves_silence
            && track.is_some_and(|track| track.source == TrackSource::Microphone),
    }
}
