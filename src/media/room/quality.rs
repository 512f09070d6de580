//! Quality reports: the transport quality of each participant, at a fixed interval.

use std::time::{Duration, Instant};

use super::SfuRoom;
use crate::api::{ConnectionQuality, RoomEvent};

impl SfuRoom {
    /// Reports the quality of a peer if that is due.
    pub(super) fn report_quality(&mut self, now: Instant, slot: usize) {
        let Self { peers, tracks, settings, counters, events, .. } = self;
        let Some(peer) = peers.get_mut(slot).filter(|peer| peer.quality_at <= now) else {
            return;
        };
        peer.quality_at = now + settings.quality_interval;
        if peer.transport.as_ref().is_none_or(|transport| !transport.can_carry_media()) {
            return;
        }
        let (mut up, mut down) = (MeanLoss::default(), MeanLoss::default());
        for track in peer.mid_slots.iter().filter_map(|mid_slot| mid_slot.published_slot) {
            let streams = tracks.get(track).map_or(&[][..], |track| &track.streams);
            for stream in streams.iter().filter(|stream| stream.is_active(now)) {
                up.add(stream.loss_fraction, stream.stats.jitter());
            }
        }
        let mut freezes = 0;
        for down_track in peer.down_tracks().filter(|down_track| down_track.packets_sent > 0) {
            down.add(down_track.reported_loss.0, down_track.reported_loss.1);
            freezes += std::mem::take(&mut down_track.freezes);
        }
        counters.freezes += u64::from(freezes);
        let quality = ConnectionQuality {
            round_trip: peer.round_trip.unwrap_or_default(),
            up_bps: peer.uplink.bitrate(now),
            down_bps: peer.downlink.bitrate(now),
            up_loss: up.loss(),
            down_loss: down.loss(),
            up_jitter: up.jitter,
            down_jitter: down.jitter,
            estimate_bps: peer.congestion.estimator.target_bps(now),
            freezes,
        };
        events.push_back(RoomEvent::Quality(peer.participant, quality));
    }
}

/// Over several streams: the mean loss and the highest jitter.
#[derive(Default)]
struct MeanLoss {
    sum: f32,
    count: u16,
    jitter: Duration,
}

impl MeanLoss {
    fn add(&mut self, loss: f32, jitter: Duration) {
        self.sum += loss;
        self.count += 1;
        self.jitter = self.jitter.max(jitter);
    }

    fn loss(&self) -> f32 {
        if self.count == 0 { 0.0 } else { self.sum / f32::from(self.count) }
    }
}
