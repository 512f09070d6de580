//! The media core as values: bytes go in, decisions come out. No clock, no socket, no task, no lock,
//! so that a whole conference can be replayed in a unit test.
//!
//! A thread owns its [`Room`]s and calls, in a loop: [`Room::receive`] for every datagram that came,
//! [`Room::timeout`] when [`Room::next_timeout`] has come, then [`Room::transmit`] until it is false,
//! [`Room::event`] and [`Room::route`] until they are empty. A datagram of an unknown address is for
//! the room that [`room_of`] reads from it, or for none. Framing of TCP is the thread's.

mod allocation;
mod bandwidth;
pub mod client;
mod codec;
mod congestion;
mod connection;
mod counters;
mod dtls;
mod history;
#[doc(hidden)]
pub mod hostile;
mod ice;
mod member;
mod missing;
pub mod path;
mod reception;
mod red;
mod rewrite;
mod room;
mod rtcp;
mod rtp;
mod sdp;
mod settings;
mod signal;
mod slots;
mod sources;
mod speaker;
mod srtp;
mod stream;
mod subscription;
mod track;
#[cfg(test)]
mod trial;
mod twcc;
#[cfg(test)]
mod virtual_time;

pub use counters::Counters;
pub use dtls::{Identity, IdentityError};
pub use ice::room_of;
pub use path::{Datagram, Outbound, Path, Transport};
pub use room::{Room, Route};
pub use settings::Settings;
pub use signal::{
    Candidate, Event, Gone, Kind, Layer, Limit, Offer, OfferError, Participant, Quality, Source,
    TrackId, TrackInfo,
};
