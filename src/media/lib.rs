//! The media core as values: bytes go in, decisions come out. No clock, no socket, no task, no lock,
//! so that a whole conference can be replayed in a unit test.
//!
//! A thread owns its [`SfuRoom`]s and calls, in a loop: [`SfuRoom::receive`] for every datagram that came,
//! [`SfuRoom::timeout`] when [`SfuRoom::next_timeout`] has come, then [`SfuRoom::transmit`] until it is false,
//! [`SfuRoom::event`] and [`SfuRoom::route`] until they are empty. A datagram of an unknown address is for
//! the room that [`room_of`] reads from it, or for none. Framing of TCP is the thread's.

mod allocation;
mod api;
mod bandwidth;
mod codec;
mod congestion;
mod connection;
mod counters;
mod dtls;
#[cfg(test)]
mod fuzz_corpus_tests;
#[cfg(any(test, fuzzing))]
pub mod fuzz_targets;
mod ice;
mod member;
mod nack;
mod packet_cache;
pub mod path;
mod reception;
mod red;
mod room;
mod rtcp;
mod rtp;
mod rtp_munger;
mod sdp;
mod settings;
#[cfg(test)]
mod sim;
mod slots;
mod speaker;
mod srtp;
mod ssrc_table;
mod stream;
mod subscription;
#[cfg(any(test, feature = "test-peer"))]
pub mod test_peer;
mod track;
mod twcc;
#[cfg(test)]
mod virtual_time;

pub use api::{
    ConnectionQuality, DisconnectReason, LayerLimit, LocalCandidate, MediaKind, OfferError,
    ParticipantId, PublishOffer, RoomEvent, SimulcastLayer, TrackId, TrackInfo, TrackSource,
};
pub use counters::RoomCounters;
pub use dtls::{DtlsCertificate, DtlsCertificateError};
pub use ice::room_of;
pub use path::{NetworkPath, TransmitBuffer, TransmitDatagram, TransportProtocol};
pub use room::{RouteUpdate, SfuRoom};
pub use settings::RoomConfig;
