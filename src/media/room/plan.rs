//! What an offer asks for, checked before anything is changed.

use std::collections::BTreeSet;

use super::SfuRoom;
use crate::api::{MediaKind, OfferError, PublishOffer, TrackId, TrackSource};
use crate::sdp::{RemoteOffer, RemoteSection};

/// What one section is for.
pub(super) struct SectionPlan {
    /// What is published in it.
    pub(super) publish: Option<TrackSource>,
    /// What is received in it.
    pub(super) receive: Option<TrackId>,
}

impl SfuRoom {
    /// What each section is for, in their order.
    pub(super) fn plan(
        &self,
        offer: &PublishOffer,
        session: &RemoteOffer,
    ) -> Result<Vec<SectionPlan>, OfferError> {
        let mut received = BTreeSet::new();
        let mut plans = Vec::with_capacity(session.sections.len());
        for section in &session.sections {
            let receive = self.received(offer, section)?;
            if receive.is_some_and(|track| !received.insert(track)) {
                return Err(OfferError::Unusable("a track that is received twice"));
            }
            plans.push(SectionPlan { publish: published(offer, section)?, receive });
        }
        let publishing = plans.iter().filter(|plan| plan.publish.is_some()).count();
        if publishing > self.settings.max_published_tracks {
            return Err(OfferError::TooMuch);
        }
        Ok(plans)
    }

    /// The track that is received in a section; none if the client cannot decode it.
    fn received(
        &self,
        offer: &PublishOffer,
        section: &RemoteSection,
    ) -> Result<Option<TrackId>, OfferError> {
        let Some(&id) = offer.receive.get(&section.mid) else { return Ok(None) };
        let track = self.tracks.iter().map(|(_, track)| track).find(|track| track.id == id);
        let track = track.ok_or(OfferError::NoSuchTrack(id))?;
        let fits = section.kind == Some(track.kind)
            && section.receives
            && section.fitting(&track.format).is_some();
        Ok(fits.then_some(id))
    }
}

fn published(
    offer: &PublishOffer,
    section: &RemoteSection,
) -> Result<Option<TrackSource>, OfferError> {
    let Some(kind) = section.kind.filter(|_| section.sends) else { return Ok(None) };
    let source = offer.publish.get(&section.mid).copied().unwrap_or(match kind {
        MediaKind::Audio => TrackSource::Microphone,
        MediaKind::Video => TrackSource::Camera,
    });
    let of_kind = match source {
        TrackSource::Microphone | TrackSource::ScreenAudio => MediaKind::Audio,
        TrackSource::Camera | TrackSource::Screen => MediaKind::Video,
    };
    if of_kind == kind {
        Ok(Some(source))
    } else {
        Err(OfferError::Unusable("a picture for sound, or sound for a picture"))
    }
}
