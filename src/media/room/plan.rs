//! The purpose of each section of an offer, validated before anything is changed.

use std::collections::BTreeSet;

use super::SfuRoom;
use crate::api::{MediaKind, OfferError, PublishOffer, TrackId, TrackSource};
use crate::sdp::{RemoteOffer, RemoteSection};

/// The purpose of one section.
pub(super) struct SectionPlan {
    /// Source of the track published in it.
    pub(super) publish: Option<TrackSource>,
    /// The track received in it.
    pub(super) receive: Option<TrackId>,
}

impl SfuRoom {
    /// The purpose of each section, in order.
    pub(super) fn plan_sections(
        &self,
        offer: &PublishOffer,
        remote: &RemoteOffer,
    ) -> Result<Vec<SectionPlan>, OfferError> {
        let mut received = BTreeSet::new();
        let mut plans = Vec::with_capacity(remote.sections.len());
        for section in &remote.sections {
            let receive = self.received_track(offer, section)?;
            if receive.is_some_and(|track| !received.insert(track)) {
                return Err(OfferError::InvalidDescription("a track is received in two sections"));
            }
            plans.push(SectionPlan { publish: published_source(offer, section)?, receive });
        }
        let published_count = plans.iter().filter(|plan| plan.publish.is_some()).count();
        if published_count > self.settings.max_published_tracks {
            return Err(OfferError::LimitReached);
        }
        Ok(plans)
    }

    /// The track received in a section; `None` if the client cannot decode it.
    fn received_track(
        &self,
        offer: &PublishOffer,
        section: &RemoteSection,
    ) -> Result<Option<TrackId>, OfferError> {
        let Some(&id) = offer.receive.get(&section.mid) else { return Ok(None) };
        let track = self.tracks.iter().map(|(_, track)| track).find(|track| track.id == id);
        let track = track.ok_or(OfferError::TrackNotFound(id))?;
        let is_compatible = section.kind == Some(track.kind)
            && section.is_receiving
            && section.compatible_format(&track.format).is_some();
        Ok(is_compatible.then_some(id))
    }
}

/// The source published in a section; `None` if it does not send.
fn published_source(
    offer: &PublishOffer,
    section: &RemoteSection,
) -> Result<Option<TrackSource>, OfferError> {
    let Some(kind) = section.kind.filter(|_| section.is_sending) else { return Ok(None) };
    let source = offer.publish.get(&section.mid).copied().unwrap_or(match kind {
        MediaKind::Audio => TrackSource::Microphone,
        MediaKind::Video => TrackSource::Camera,
    });
    let source_kind = match source {
        TrackSource::Microphone | TrackSource::ScreenAudio => MediaKind::Audio,
        TrackSource::Camera | TrackSource::Screen => MediaKind::Video,
    };
    if source_kind == kind {
        Ok(Some(source))
    } else {
        Err(OfferError::InvalidDescription("the source does not match the media kind"))
    }
}
