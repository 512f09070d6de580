//! How each participant's media travel, told every few seconds.

use std::time::{Duration, Instant};

use super::SfuRoom;
use crate::api::{ConnectionQuality, RoomEvent};

impl SfuRoom {
    /// Tells the quality of a member if it is time to.
    pub(super) fn tell_quality(&mut self, now: Instant, place: usize) {
        let Self { members, tracks, settings, counters, events, .. } = self;
        let Some(member) = members.get_mut(place).filter(|member| member.quality <= now) else {
            return;
        };
        member.quality = now + settings.quality_interval;
        if member.connection.as_ref().is_none_or(|connection| !connection.flows()) {
            return;
        }
        let (mut up, mut down) = (MeanLoss::default(), MeanLoss::default());
        for track in member.lines.iter().filter_map(|line| line.publishes) {
            let streams = tracks.get(track).map_or(&[][..], |track| &track.streams);
            for stream in streams.iter().filter(|stream| stream.is_active(now)) {
                up.add(stream.lost, stream.reception.jitter());
            }
        }
        let mut freezes = 0;
        for subscription in member.subscriptions().filter(|sub| sub.packets > 0) {
            down.add(subscription.suffers.0, subscription.suffers.1);
            freezes += std::mem::take(&mut subscription.freezes);
        }
        counters.freezes += u64::from(freezes);
        let quality = ConnectionQuality {
            round_trip: member.round_trip.unwrap_or_default(),
            up_bitrate: member.up.rate(now),
            down_bitrate: member.down.rate(now),
            up_loss: up.loss(),
            down_loss: down.loss(),
            up_jitter: up.jitter,
            down_jitter: down.jitter,
            estimate: member.congestion.estimator.target(now),
            freezes,
        };
        events.push_back(RoomEvent::Quality(member.participant, quality));
    }
}

/// Over several streams: the mean loss, and the jitter of the worst one.
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
