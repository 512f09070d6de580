//! A room's stage: the part of a call that forwards media, on the thread on which the room lives.

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
use crate::domain::calls::{CallError, EventTarget, Seat, format_participant_id};
use crate::protocol::calls as wire;
use crate::protocol::server::CallServerEvent;
use crate::telemetry::metrics::{
    CALL_BITRATE, CALL_CONNECTIONS, CALL_FIRST_MEDIA_SECONDS, CALL_JITTER_SECONDS, CALL_LOSS,
    CALL_ROUND_TRIP_SECONDS,
};

/// A place for media; gone when it is dropped.
pub(super) type MediaSession = HostedRoomGuard;

/// What happened on the stage.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct MediaEvents(Vec<RoomEvent>);

/// The stage has failed: what the panic said.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct MediaFailed(Box<dyn Any + Send>);

impl CallRoom {
    /// Builds a stage and takes everybody onto it.
    pub(super) fn start_sfu(&mut self, ctx: &mut SupervisedContext<Self>) {
        let myself = ctx.self_ref();
        let ears = move |heard| {
            // A room that is gone has no ears, and its stage goes with it.
            let _ = match heard {
                RoomNotice::Events(events) => myself.tell_control(MediaEvents(events)),
                RoomNotice::Failed(panic) => myself.tell_control(MediaFailed(panic)),
            };
        };
        let stage = HostedRoomGuard::new(&self.seed.media, ears);
        for (number, who) in self.call.participants() {
            stage.with(|room, now| {
                room.join(now, ParticipantId(number));
                room.set_muted(now, ParticipantId(number), MediaKind::Audio, !who.audio);
            });
        }
        self.stage = Some(stage);
    }

    pub(super) fn enter(&self, number: u32) {
        if let Some(stage) = &self.stage {
            stage.with(|room, now| room.join(now, ParticipantId(number)));
        }
    }

    pub(super) fn exit(&self, number: u32) {
        if let Some(stage) = &self.stage {
            stage.with(|room, now| room.leave(now, ParticipantId(number)));
        }
    }

    pub(super) fn switch(&self, number: u32, what: wire::CallMedia, on: bool) {
        let kind = match what {
            wire::CallMedia::Audio => MediaKind::Audio,
            wire::CallMedia::Video => MediaKind::Video,
        };
        if let Some(stage) = &self.stage {
            stage.with(|room, now| room.set_muted(now, ParticipantId(number), kind, !on));
        }
    }

    /// Answers an offer to the server. In a call between two devices it asks for the server.
    pub(super) fn answer_offer(
        &mut self,
        number: u32,
        seat: Seat,
        offer: wire::OfferRequest,
    ) -> Result<(), CallError> {
        let receive = offer.receive.into_iter().map(|(mid, track)| {
            Ok((mid, self.track_number(&track).ok_or(CallError::TrackNotFound)?))
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
        let stage = self.stage()?;
        if !stage.is_reachable() {
            return Err(CallError::Unavailable);
        }
        let answer = stage.with(|room, now| room.offer(now, ParticipantId(number), &offer));
        let sdp = answer.map_err(|error| match error {
            OfferError::InvalidDescription(why) => CallError::InvalidOffer(why.into()),
            OfferError::ParticipantNotFound => CallError::NotInCall,
            OfferError::TrackNotFound(_) => CallError::TrackNotFound,
            OfferError::LimitReached => {
                CallError::InvalidOffer("it has more sections than one may have".into())
            }
        })?;
        let (call_id, epoch) = (self.call.id(), self.call.epoch());
        let answer = wire::ServerAnswer { call_id, epoch, sdp };
        self.seed.tell(&EventTarget::Participant(seat), CallServerEvent::ServerAnswer(answer));
        Ok(())
    }

    /// The most that a participant wants of a track.
    pub(super) fn limit(&self, session: SessionId, set: &wire::SetLayer) -> Result<(), CallError> {
        let number = self.call.participant_with_session(session).ok_or(CallError::NotInCall)?;
        let track = self.track_number(&set.track_id).ok_or(CallError::TrackNotFound)?;
        let limit = match set.max {
            wire::RequestedLayer::High => LayerLimit::UpTo(SimulcastLayer::High),
            wire::RequestedLayer::Medium => LayerLimit::UpTo(SimulcastLayer::Medium),
            wire::RequestedLayer::Low => LayerLimit::UpTo(SimulcastLayer::Low),
            wire::RequestedLayer::Off => LayerLimit::Off,
        };
        let stage = self.stage()?;
        let known = stage.with(|room, now| {
            let known = room.tracks().iter().any(|info| info.id == track);
            room.set_layer_limit(now, ParticipantId(number), track, limit);
            known
        });
        if known { Ok(()) } else { Err(CallError::TrackNotFound) }
    }

    /// What can be received; whoever has just gone may still be on the stage.
    pub(super) fn tracks(&self) -> Vec<wire::TrackView> {
        let tracks = self.stage.as_ref().map(|stage| stage.with(|room, _| room.tracks()));
        let present = |owner: ParticipantId| self.call.participants().any(|(n, _)| n == owner.0);
        let tracks = tracks.unwrap_or_default().into_iter().filter(|info| present(info.owner));
        tracks.map(|info| self.track(&info)).collect()
    }

    /// A track's name tells the life of the room: those of an earlier one are unknown.
    fn track_name(&self, id: TrackId) -> String {
        format!("t{}-{}", self.call.epoch(), id.0)
    }

    fn track_number(&self, name: &str) -> Option<TrackId> {
        let (epoch, number) = name.strip_prefix('t')?.split_once('-')?;
        (epoch.parse() == Ok(self.call.epoch())).then_some(TrackId(number.parse().ok()?))
    }

    fn track(&self, info: &sfu::TrackInfo) -> wire::TrackView {
        wire::TrackView {
            track_id: self.track_name(info.id),
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
            layers: info.layers.iter().map(|layer| layer_word(*layer)).collect(),
        }
    }

    fn tell_one(&self, number: u32, news: CallServerEvent) {
        let seat =
            self.call.participants().find(|(n, _)| *n == number).map(|(_, who)| who.location);
        if let Some(seat) = seat {
            self.seed.tell(&EventTarget::Participant(seat), news);
        }
    }

    fn on_stage(&mut self, event: RoomEvent, ctx: &mut SupervisedContext<Self>) {
        let call_id = self.call.id();
        if self.keep.is_moving() {
            // The new room tells of itself; what is wanted of a connection that goes is no news.
            if let RoomEvent::Disconnected(who, _) = event {
                self.farewell(who.0, ctx);
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
                let news = wire::TrackPublished { call_id, track };
                self.tell_participants(Some(info.owner.0), &CallServerEvent::TrackPublished(news));
            }
            RoomEvent::Unpublished(id, owner) => {
                let news = wire::TrackUnpublished {
                    call_id,
                    track_id: self.track_name(id),
                    participant_id: format_participant_id(owner.0),
                };
                self.tell_participants(Some(owner.0), &CallServerEvent::TrackUnpublished(news));
            }
            RoomEvent::Speakers(speakers) => {
                let names = speakers.iter().map(|who| format_participant_id(who.0)).collect();
                let news = wire::ActiveSpeaker { call_id, participant_ids: names };
                self.tell_participants(None, &CallServerEvent::ActiveSpeaker(news));
            }
            RoomEvent::LayersRequested(owner, id, layers) => {
                let layers = layers.into_iter().map(layer_word).collect();
                let news = wire::TrackWanted { call_id, track_id: self.track_name(id), layers };
                self.tell_one(owner.0, CallServerEvent::TrackWanted(news));
            }
            RoomEvent::Quality(who, quality) => {
                measure(&quality);
                let quality = quality_of(&quality);
                self.quality.insert(who.0, quality.clone());
                let news = wire::CallQuality { call_id, quality };
                self.tell_one(who.0, CallServerEvent::CallQuality(news));
            }
        }
    }
}

const fn layer_word(layer: SimulcastLayer) -> wire::RequestedLayer {
    match layer {
        SimulcastLayer::Low => wire::RequestedLayer::Low,
        SimulcastLayer::Medium => wire::RequestedLayer::Medium,
        SimulcastLayer::High => wire::RequestedLayer::High,
    }
}

fn measure(quality: &sfu::ConnectionQuality) {
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

fn quality_of(quality: &sfu::ConnectionQuality) -> wire::ParticipantQuality {
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
            self.on_stage(event, ctx);
        }
    }
}

/// A panic among packets is the room's own: its supervisor hears of it and starts it anew.
impl Handler<MediaFailed> for CallRoom {
    type Result = ();

    fn handle(&mut self, MediaFailed(panic): MediaFailed, _: &mut Self::Context) {
        std::panic::resume_unwind(panic);
    }
}
