//! The media core of the SFU: a sans-I/O state machine. It has no clock, socket, task or lock: the caller passes
//! in datagrams and the time and takes out datagrams and events, so that a whole conference can be simulated in
//! a unit test.
//!
//! A media thread owns its [`SfuRoom`]s and calls, in a loop: [`SfuRoom::receive`] for every datagram received,
//! [`SfuRoom::timeout`] when [`SfuRoom::next_timeout`] is reached, then [`SfuRoom::transmit`] until it returns
//! false, and [`SfuRoom::event`] and [`SfuRoom::route`] until they return `None`. A datagram from an unknown
//! address goes to the room that [`room_of`] reads from it; if there is none, it is dropped. Framing of TCP
//! (RFC 4571) is the caller's job.

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
mod limits;
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
