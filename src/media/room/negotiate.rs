//! SDP offer/answer (RFC 8829): initial offers, renegotiation, ICE restarts and restarts of clients.

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

/// Packet cache size of an audio track, which is rarely retransmitted.
const AUDIO_CACHE_PACKETS: usize = 64;

/// The offer that is being answered.
#[derive(Clone, Copy)]
struct OfferContext {
    now: Instant,
    /// Slot of the peer.
    slot: usize,
    /// The client starts over with a new transport.
    is_restart: bool,
}

impl SfuRoom {
    /// Answers an offer of a participant. A section keeps its track as long as it publishes the same source and
    /// layers in the same codec; otherwise the old track is unpublished and a new one published.
    ///
    /// # Errors
    /// [`OfferError`]; the room is unchanged.
    pub fn offer(
        &mut self,
        now: Instant,
        participant: ParticipantId,
        offer: &PublishOffer,
    ) -> Result<String, OfferError> {
        let slot = *self.peer_slots.get(&participant).ok_or(OfferError::ParticipantNotFound)?;
        let remote = RemoteOffer::parse(&offer.sdp, self.settings.max_sections)?;
        let plans = self.plan_sections(offer, &remote)?;
        let is_restart = self.update_transport(now, slot, &remote)?;
        self.recycle_sections(slot, &remote, is_restart);
        let context = OfferContext { now, slot, is_restart };
        for (index, (section, plan)) in remote.sections.iter().zip(&plans).enumerate() {
            self.update_publication(context, index, section, plan);
        }
        for (index, (section, plan)) in remote.sections.iter().zip(&plans).enumerate() {
            self.update_subscription(slot, index, section, plan);
        }
        let answer = self.build_answer(slot, &remote).ok_or(OfferError::ParticipantNotFound)?;
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.rebuild_index();
            peer.offered_at = Some(now);
            peer.wake_by(now);
        }
        self.update_last_n(now);
        self.reallocate(now, slot);
        Ok(answer)
    }

    /// Creates or updates the transport. True if the client starts over: the old transport is discarded.
    fn update_transport(
        &mut self,
        now: Instant,
        slot: usize,
        remote: &RemoteOffer,
    ) -> Result<bool, OfferError> {
        let peer = self.peers.get_mut(slot).ok_or(OfferError::ParticipantNotFound)?;
        let remote_credentials = (remote.ufrag.clone(), remote.password.clone());
        // Another session id or certificate means another peer connection, hence another DTLS association.
        let retained = peer.transport.as_mut().filter(|transport| {
            transport.session_id == remote.session_id
                && transport.dtls.expected_fingerprint() == remote.fingerprint
        });
        if retained
            .as_ref()
            .is_some_and(|transport| transport.remote_credentials == remote_credentials)
        {
            return Ok(false);
        }
        let credentials =
            IceCredentials::generate(self.room_id, peer.participant.0, self.certificate.provider())
                .map_err(|_| OfferError::InvalidDescription("random number generator failed"))?;
        if let Some(transport) = retained {
            transport.remote_credentials = remote_credentials;
            transport.previous_credentials =
                Some(std::mem::replace(&mut transport.local_credentials, credentials));
            return Ok(false);
        }
        peer.congestion = CongestionController::new(now, &self.settings);
        let transport = PeerTransport::new(now, credentials, self.certificate.clone(), remote);
        if let Some(old) = peer.transport.replace(transport) {
            for path in old.paths() {
                self.peer_by_path.remove(&path);
                self.routes.push_back(RouteUpdate::Removed(path));
            }
        }
        Ok(true)
    }

    /// Ends the tracks of sections that were recycled under another `mid` or are absent.
    fn recycle_sections(&mut self, slot: usize, remote: &RemoteOffer, is_restart: bool) {
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let mids = remote.sections.iter().map(|section| section.mid.as_str());
        let mut ended = Vec::new();
        for (index, mid_slot) in peer.mid_slots.iter_mut().enumerate() {
            if is_restart {
                mid_slot.down_track = None; // sequence numbers start over under new keys
            }
            let is_same =
                remote.sections.get(index).is_some_and(|section| section.mid == mid_slot.mid);
            if !is_same {
                mid_slot.down_track = None;
                ended.extend(mid_slot.published_slot.take());
            }
        }
        peer.mid_slots.truncate(remote.sections.len());
        for (index, mid) in mids.enumerate() {
            match peer.mid_slots.get_mut(index) {
                Some(mid_slot) => mid_slot.mid = mid.to_owned(),
                None => peer.mid_slots.push(MidSlot {
                    mid: mid.to_owned(),
                    published_slot: None,
                    down_track: None,
                }),
            }
        }
        ended.into_iter().for_each(|track| self.unpublish(track));
    }

    /// Publishes, keeps or unpublishes the track of one section.
    fn update_publication(
        &mut self,
        context: OfferContext,
        index: usize,
        section: &RemoteSection,
        plan: &SectionPlan,
    ) {
        let slot = context.slot;
        let Some(peer) = self.peers.get(slot) else { return };
        let current = peer.mid_slots.get(index).and_then(|mid_slot| mid_slot.published_slot);
        let requested = plan.publish.and_then(|source| Some((source, section.preferred_format()?)));
        let layers = track::order_rids(section.rids.clone());
        let retained = current.zip(requested).is_some_and(|(track, (source, format))| {
            self.tracks.get(track).is_some_and(|track| {
                let rids = track.streams.iter().filter_map(|stream| stream.rid.as_ref());
                track.source == source && track.format.is_compatible(format) && rids.eq(&layers)
            })
        });
        if retained {
            if let (Some(track), Some((_, format))) = (current, requested) {
                self.update_track(context, track, section, format);
            }
            return;
        }
        if let Some(track) = current {
            self.unpublish(track);
        }
        let published = requested
            .map(|(source, format)| self.add_track(context, section, source, format, &layers));
        if let Some(mid_slot) =
            self.peers.get_mut(slot).and_then(|peer| peer.mid_slots.get_mut(index))
        {
            mid_slot.published_slot = published;
        }
    }

    fn add_track(
        &mut self,
        context: OfferContext,
        section: &RemoteSection,
        source: TrackSource,
        format: &PayloadFormat,
        layers: &[String],
    ) -> usize {
        let slot = context.slot;
        let owner = self.peers.get(slot).map_or(ParticipantId(0), |peer| peer.participant);
        let rids: Vec<Option<String>> =
            if layers.is_empty() { vec![None] } else { layers.iter().cloned().map(Some).collect() };
        let streams =
            rids.into_iter().map(|rid| self.new_stream(context.now, rid, format)).collect();
        let kind = section.kind.unwrap_or(MediaKind::Audio);
        let is_muted = self.peers.get(slot).is_some_and(|peer| peer.is_muted(kind));
        let is_muted = is_muted && source.is_person();
        // A client sends all layers until it learns that nobody watches.
        let count = layers.len().max(1);
        let requested = (0..count).map(|position| track::layer_at(position, count)).collect();
        let track = PublishedTrack {
            id: TrackId(self.next_track_id),
            owner,
            owner_slot: slot,
            mid: section.mid.clone(),
            source,
            kind,
            format: format.clone(),
            red_format: section.preferred_red().cloned(),
            extension_ids: section.extension_ids,
            streams,
            requested_layers: requested,
            unwanted_since: None,
            is_muted,
            is_outside_last_n: false,
            last_forwarded: None,
            dtx_gate: DtxGate::default(),
            is_never_forwarded: true,
        };
        self.next_track_id += 1;
        self.events.push_back(RoomEvent::Published(track.info()));
        let track_slot = self.tracks.insert(track);
        self.apply_announced_ssrcs(track_slot, section);
        track_slot
    }

    fn new_stream(
        &mut self,
        now: Instant,
        rid: Option<String>,
        format: &PayloadFormat,
    ) -> LayerStream {
        let clock_rate = format.codec.clock_rate();
        let cache_packets = if clock_rate == 48_000 {
            AUDIO_CACHE_PACKETS
        } else {
            self.settings.packet_cache_packets
        };
        let mut stream =
            LayerStream::new(self.allocate_stream_id(), rid, clock_rate, cache_packets);
        stream.requested_at = Some(now);
        stream
    }

    /// Updates a track from a later offer; a client that starts over gets new streams.
    fn update_track(
        &mut self,
        context: OfferContext,
        track_slot: usize,
        section: &RemoteSection,
        format: &PayloadFormat,
    ) {
        let Some(track) = self.tracks.get_mut(track_slot) else { return };
        track.mid.clone_from(&section.mid);
        track.format = format.clone();
        track.red_format = section.preferred_red().cloned();
        track.extension_ids = section.extension_ids;
        if context.is_restart {
            let rids: Vec<_> = track.streams.iter().map(|stream| stream.rid.clone()).collect();
            let streams =
                rids.into_iter().map(|rid| self.new_stream(context.now, rid, format)).collect();
            if let Some(track) = self.tracks.get_mut(track_slot) {
                track.streams = streams;
            }
        }
        self.apply_announced_ssrcs(track_slot, section);
    }

    /// Stores the SSRCs that an offer announces.
    fn apply_announced_ssrcs(&mut self, track_slot: usize, section: &RemoteSection) {
        let Some(track) = self.tracks.get_mut(track_slot) else { return };
        if let ([stream], Some(ssrc)) = (&mut track.streams[..], section.ssrc)
            && stream.ssrc.is_none()
        {
            (stream.ssrc, stream.rtx_ssrc) = (Some(ssrc), section.rtx_ssrc);
        }
    }

    /// Starts, keeps or ends the down track of one section.
    fn update_subscription(
        &mut self,
        slot: usize,
        index: usize,
        section: &RemoteSection,
        plan: &SectionPlan,
    ) {
        let source = plan.receive.and_then(|id| {
            let (track_slot, track) = self.tracks.iter().find(|(_, track)| track.id == id)?;
            let red_format =
                track.red_format.as_ref().and_then(|red| section.compatible_format(red));
            Some((
                track_slot,
                section.compatible_format(&track.format)?.clone(),
                red_format.cloned(),
            ))
        });
        let (ssrc, rtx_ssrc) = (self.allocate_ssrc(), self.allocate_ssrc());
        let start_sequence = (self.certificate.random_u32() & 0x3fff) as u16 + 1;
        let Some(peer) = self.peers.get_mut(slot) else { return };
        let limits = &peer.layer_limits;
        let Some(mid_slot) = peer.mid_slots.get_mut(index) else { return };
        let Some((track_slot, format, red_format)) = source else {
            return mid_slot.down_track = None;
        };
        let Some(track) = self.tracks.get(track_slot) else { return };
        let retained = mid_slot.down_track.take().filter(|down_track| down_track.track == track.id);
        let mut down_track = retained.unwrap_or_else(|| {
            let rtx_ssrc = format.rtx_payload_type.map(|_| rtx_ssrc);
            let (owner, id) = (track.owner.0, track.id.0);
            let section_to_send = SendSection { ssrc, rtx_ssrc, owner, track: id };
            Box::new(DownTrack::new(
                track,
                track_slot,
                format.clone(),
                section_to_send,
                start_sequence,
            ))
        });
        down_track.format = format;
        down_track.red_format = red_format;
        down_track.extension_ids = section.extension_ids;
        if let Some(limit) = limits.get(&track.id) {
            down_track.limit = *limit;
        }
        mid_slot.down_track = Some(down_track);
    }

    fn build_answer(&mut self, slot: usize, remote: &RemoteOffer) -> Option<String> {
        let peer = self.peers.get_mut(slot)?;
        peer.answer_count += 1;
        let mut sections = Vec::with_capacity(remote.sections.len());
        for (section, mid_slot) in remote.sections.iter().zip(&peer.mid_slots) {
            let track = mid_slot.published_slot.and_then(|track| self.tracks.get(track));
            sections.push(answer_section(section, mid_slot, track, self.settings.use_dtx));
        }
        let answer = AnswerBuilder {
            version: peer.answer_count,
            session_id: u64::from(self.room_id) << 32 | u64::from(peer.participant.0),
            credentials: &peer.transport.as_ref()?.local_credentials,
            fingerprint: self.certificate.fingerprint(),
            candidates: &self.candidates,
        };
        Some(answer.write(remote, &sections))
    }
}

/// The answer to one section. The formats of the published track come first, since a client sends with the
/// first one.
fn answer_section<'a>(
    section: &'a RemoteSection,
    mid_slot: &'a MidSlot,
    track: Option<&'a PublishedTrack>,
    use_dtx: bool,
) -> AnswerSection<'a> {
    if section.kind.is_none() {
        return AnswerSection::default();
    }
    let published = track.map(|track| [track.red_format.as_ref(), Some(&track.format)]);
    let received = mid_slot
        .down_track
        .as_ref()
        .map(|down_track| [down_track.red_format.as_ref(), Some(&down_track.format)]);
    let mut formats: Vec<&PayloadFormat> = Vec::new();
    for format in published.into_iter().chain(received).flatten().flatten() {
        if !formats.iter().any(|listed| listed.payload_type == format.payload_type) {
            formats.push(format);
        }
    }
    if formats.is_empty() {
        formats.extend(section.preferred_format());
    }
    let layers = match track {
        Some(track) if track.streams.len() > 1 => &section.rids[..],
        _ => &[],
    };
    AnswerSection {
        formats,
        send: mid_slot.down_track.as_ref().map(|down_track| down_track.section),
        receives_media: track.is_some(),
        rids: layers,
        use_dtx: use_dtx && track.is_some_and(|track| track.source == TrackSource::Microphone),
    }
}
