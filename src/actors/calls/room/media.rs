//! The SFU room of a call: media forwarding on the thread on which the room runs.

use std::any::Any;

use ::media::{
    self as sfu, LayerLimit, MediaKind, OfferError, ParticipantId, RoomEvent, SimulcastLayer,
    TrackId,
};
use actix::{Handler, Message};
use base::ids::SessionId;
use metrics::{counter, histogram};

use super::CallRoom;
use crate::actors::media::{HostedRoomGuard, RoomNotice};
use crate::actors::supervision::SupervisedContext;
use crate::domain::calls::{CallError, EventTarget, ParticipantLocation, format_participant_id};
use crate::protocol::calls as wire;
use crate::protocol::server::CallServerEvent;
use crate::telemetry::metrics::{
    CALL_BITRATE, CALL_CONNECTIONS, CALL_FIRST_MEDIA_SECONDS, CALL_JITTER_SECONDS, CALL_LOSS,
    CALL_ROUND_TRIP_SECONDS,
};

/// An SFU room; removed when it is dropped.
pub(super) type MediaSession = HostedRoomGuard;

/// Events of the SFU room.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct MediaEvents(Vec<RoomEvent>);

/// The SFU room has panicked, with this payload.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct MediaFailed(Box<dyn Any + Send>);

impl CallRoom {
    /// Creates the SFU room and adds all participants to it.
    pub(super) fn start_sfu(&mut self, ctx: &mut SupervisedContext<Self>) {
        let room_ref = ctx.self_ref();
        let on_notice = move |notice| {
            // If the room has ended, its SFU room ends with it.
            let _ = match notice {
                RoomNotice::Events(events) => room_ref.tell_control(MediaEvents(events)),
                RoomNotice::Failed(panic) => room_ref.tell_control(MediaFailed(panic)),
            };
        };
        let sfu_room = HostedRoomGuard::new(&self.context.media, on_notice);
        for (number, who) in self.call.participants() {
            sfu_room.with(|room, now| {
                room.join(now, ParticipantId(number));
                room.set_muted(now, ParticipantId(number), MediaKind::Audio, !who.audio);
            });
        }
        self.sfu_room = Some(sfu_room);
    }

    pub(super) fn add_to_sfu(&self, number: u32) {
        if let Some(sfu_room) = &self.sfu_room {
            sfu_room.with(|room, now| room.join(now, ParticipantId(number)));
        }
    }

    pub(super) fn remove_from_sfu(&self, number: u32) {
        if let Some(sfu_room) = &self.sfu_room {
            sfu_room.with(|room, now| room.leave(now, ParticipantId(number)));
        }
    }

    pub(super) fn set_media_enabled(&self, number: u32, command: wire::CallMedia, on: bool) {
        let kind = match command {
            wire::CallMedia::Audio => MediaKind::Audio,
            wire::CallMedia::Video => MediaKind::Video,
        };
        if let Some(sfu_room) = &self.sfu_room {
            sfu_room.with(|room, now| room.set_muted(now, ParticipantId(number), kind, !on));
        }
    }

    /// Answers an offer to the server. In a call between two devices this is the request to switch
    /// to the SFU.
    pub(super) fn answer_offer(
        &mut self,
        number: u32,
        location: ParticipantLocation,
        offer: wire::OfferRequest,
    ) -> Result<(), CallError> {
        let receive = offer.receive.into_iter().map(|(mid, track)| {
            Ok((mid, self.parse_track_id(&track).ok_or(CallError::TrackNotFound)?))
        });
        let publish = offer.publish.into_iter().map(|(mid, publish)| {
            let source = match publish.source {
                wire::PublishSource::Microphone => sfu::TrackSource::Microphone,
                wire::PublishSource::Camera => sfu::TrackSource::Camera,
                wire::PublishSource::Screen => sfu::TrackSource::Screen,
                wire::PublishSource::ScreenAudio => sfu::TrackSource::ScreenAudio,
            };
            (mid, source)
        });
        let offer = sfu::PublishOffer {
            sdp: offer.sdp,
            publish: publish.collect(),
            receive: receive.collect::<Result<_, CallError>>()?,
        };
        let sfu_room = self.sfu_room()?;
        if !sfu_room.is_reachable() {
            return Err(CallError::Unavailable);
        }
        let reply = sfu_room.with(|room, now| room.offer(now, ParticipantId(number), &offer));
        let sdp = reply.map_err(|error| match error {
            OfferError::InvalidDescription(why) => CallError::InvalidOffer(why.into()),
            OfferError::ParticipantNotFound => CallError::NotInCall,
            OfferError::TrackNotFound(_) => CallError::TrackNotFound,
            OfferError::LimitReached => {
                CallError::InvalidOffer("it has more sections than one may have".into())
            }
        })?;
        let (call_id, epoch) = (self.call.id(), self.call.epoch());
        let reply = wire::ServerAnswer { call_id, epoch, sdp };
        self.context
            .publish(&EventTarget::Participant(location), CallServerEvent::ServerAnswer(reply));
        Ok(())
    }

    /// Sets the highest layer that a participant wants to receive of a track.
    pub(super) fn set_layer_limit(
        &self,
        session: SessionId,
        set: &wire::SetLayer,
    ) -> Result<(), CallError> {
        let number = self.call.participant_with_session(session).ok_or(CallError::NotInCall)?;
        let track = self.parse_track_id(&set.track_id).ok_or(CallError::TrackNotFound)?;
        let limit = match set.max {
            wire::RequestedLayer::High => LayerLimit::UpTo(SimulcastLayer::High),
            wire::RequestedLayer::Medium => LayerLimit::UpTo(SimulcastLayer::Medium),
            wire::RequestedLayer::Low => LayerLimit::UpTo(SimulcastLayer::Low),
            wire::RequestedLayer::Off => LayerLimit::Off,
        };
        let sfu_room = self.sfu_room()?;
        let is_known = sfu_room.with(|room, now| {
            let is_known = room.tracks().iter().any(|info| info.id == track);
            room.set_layer_limit(now, ParticipantId(number), track, limit);
            is_known
        });
        if is_known { Ok(()) } else { Err(CallError::TrackNotFound) }
    }

    /// The tracks that can be received; a participant who has just left may still be in the SFU
    /// room.
    pub(super) fn tracks(&self) -> Vec<wire::TrackView> {
        let tracks = self.sfu_room.as_ref().map(|sfu_room| sfu_room.with(|room, _| room.tracks()));
        let present = |owner: ParticipantId| self.call.participants().any(|(n, _)| n == owner.0);
        let tracks = tracks.unwrap_or_default().into_iter().filter(|info| present(info.owner));
        tracks.map(|info| self.track(&info)).collect()
    }

    /// A track id contains the epoch: ids from before a restart are unknown.
    fn track_id(&self, id: TrackId) -> String {
        format!("t{}-{}", self.call.epoch(), id.0)
    }

    fn parse_track_id(&self, name: &str) -> Option<TrackId> {
        let (epoch, number) = name.strip_prefix('t')?.split_once('-')?;
        (epoch.parse() == Ok(self.call.epoch())).then_some(TrackId(number.parse().ok()?))
    }

    fn track(&self, info: &sfu::TrackInfo) -> wire::TrackView {
        wire::TrackView {
            track_id: self.track_id(info.id),
            participant_id: format_participant_id(info.owner.0),
            kind: match info.kind {
                MediaKind::Audio => wire::CallMedia::Audio,
                MediaKind::Video => wire::CallMedia::Video,
            },
            source: match info.source {
                sfu::TrackSource::Microphone => wire::PublishSource::Microphone,
                sfu::TrackSource::Camera => wire::PublishSource::Camera,
                sfu::TrackSource::Screen => wire::PublishSource::Screen,
                sfu::TrackSource::ScreenAudio => wire::PublishSource::ScreenAudio,
            },
            layers: info.layers.iter().map(|layer| wire_layer(*layer)).collect(),
        }
    }

    fn publish_to(&self, number: u32, event: CallServerEvent) {
        let location =
            self.call.participants().find(|(n, _)| *n == number).map(|(_, who)| who.location);
        if let Some(location) = location {
            self.context.publish(&EventTarget::Participant(location), event);
        }
    }

    fn on_sfu_event(&mut self, event: RoomEvent, ctx: &mut SupervisedContext<Self>) {
        let call_id = self.call.id();
        if self.persistence.is_moving() {
            // The new room reports its own events; only disconnections matter to the old one.
            if let RoomEvent::Disconnected(who, _) = event {
                self.on_peer_left(who.0, ctx);
            }
            return;
        }
        match event {
            RoomEvent::Connected(_) => {
                counter!(CALL_CONNECTIONS, "outcome" => "connected").increment(1);
            }
            RoomEvent::Disconnected(_, why) => {
                let outcome = match why {
                    sfu::DisconnectReason::Closed => "closed",
                    sfu::DisconnectReason::ConsentExpired => "silent",
                    sfu::DisconnectReason::HandshakeFailed => "failed",
                };
                counter!(CALL_CONNECTIONS, "outcome" => outcome).increment(1);
            }
            RoomEvent::FirstMedia(_, after) => {
                histogram!(CALL_FIRST_MEDIA_SECONDS).record(after.as_secs_f64());
            }
            RoomEvent::Published(info) => {
                let track = self.track(&info);
                let event = wire::TrackPublished { call_id, track };
                self.publish_to_participants(
                    Some(info.owner.0),
                    &CallServerEvent::TrackPublished(event),
                );
            }
            RoomEvent::Unpublished(id, owner) => {
                let event = wire::TrackUnpublished {
                    call_id,
                    track_id: self.track_id(id),
                    participant_id: format_participant_id(owner.0),
                };
                self.publish_to_participants(
                    Some(owner.0),
                    &CallServerEvent::TrackUnpublished(event),
                );
            }
            RoomEvent::Speakers(speakers) => {
                let names = speakers.iter().map(|who| format_participant_id(who.0)).collect();
                let event = wire::ActiveSpeaker { call_id, participant_ids: names };
                self.publish_to_participants(None, &CallServerEvent::ActiveSpeaker(event));
            }
            RoomEvent::LayersRequested(owner, id, layers) => {
                let layers = layers.into_iter().map(wire_layer).collect();
                let event = wire::TrackWanted { call_id, track_id: self.track_id(id), layers };
                self.publish_to(owner.0, CallServerEvent::TrackWanted(event));
            }
            RoomEvent::Quality(who, quality) => {
                record_quality_metrics(&quality);
                let quality = wire_quality(&quality);
                self.quality.insert(who.0, quality.clone());
                let event = wire::CallQuality { call_id, quality };
                self.publish_to(who.0, CallServerEvent::CallQuality(event));
            }
        }
    }
}

const fn wire_layer(layer: SimulcastLayer) -> wire::RequestedLayer {
    match layer {
        SimulcastLayer::Low => wire::RequestedLayer::Low,
        SimulcastLayer::Medium => wire::RequestedLayer::Medium,
        SimulcastLayer::High => wire::RequestedLayer::High,
    }
}

fn record_quality_metrics(quality: &sfu::ConnectionQuality) {
    if !quality.round_trip.is_zero() {
        histogram!(CALL_ROUND_TRIP_SECONDS).record(quality.round_trip.as_secs_f64());
    }
    let up = (quality.up_loss, quality.up_jitter, quality.up_bps);
    let down = (quality.down_loss, quality.down_jitter, quality.down_bps);
    for (direction, (loss, jitter, bitrate)) in [("up", up), ("down", down)] {
        if bitrate > 0 {
            histogram!(CALL_LOSS, "direction" => direction).record(f64::from(loss));
            histogram!(CALL_JITTER_SECONDS, "direction" => direction).record(jitter.as_secs_f64());
            #[expect(clippy::cast_precision_loss, reason = "no bitrate needs 53 bits")]
            histogram!(CALL_BITRATE, "direction" => direction).record(bitrate as f64);
        }
    }
}

fn wire_quality(quality: &sfu::ConnectionQuality) -> wire::ParticipantQuality {
    wire::ParticipantQuality {
        rtt_ms: quality.round_trip.as_secs_f64() * 1e3,
        up_bps: quality.up_bps,
        down_bps: quality.down_bps,
        up_loss: f64::from(quality.up_loss),
        down_loss: f64::from(quality.down_loss),
        up_jitter_ms: quality.up_jitter.as_secs_f64() * 1e3,
        down_jitter_ms: quality.down_jitter.as_secs_f64() * 1e3,
        estimate_bps: quality.estimate_bps,
        freezes: quality.freezes.into(),
    }
}

impl Handler<MediaEvents> for CallRoom {
    type Result = ();

    fn handle(&mut self, MediaEvents(events): MediaEvents, ctx: &mut Self::Context) {
        for event in events {
            self.on_sfu_event(event, ctx);
        }
    }
}

/// A panic in media processing is one of the room: its supervisor restarts it.
impl Handler<MediaFailed> for CallRoom {
    type Result = ();

    fn handle(&mut self, MediaFailed(panic): MediaFailed, _: &mut Self::Context) {
        std::panic::resume_unwind(panic);
    }
}
