//! Media threads: each has a port and the rooms that live on it; no packet is a message.

mod addresses;
mod batch;
mod dispatcher;
mod ice_mux;
mod lease;
mod metrics_export;
mod tcp;

pub use addresses::addresses;
pub use batch::{BATCH, DatagramBatch};
pub use dispatcher::RoomNotice;
pub use ice_mux::{IceMux, IceMuxConfig as PortPlace};
pub use lease::HostedRoomGuard;

use std::net::IpAddr;
use std::sync::Arc;

/// The pool of threads that forward media.
pub const MEDIA: &str = "media";

/// What all rooms of a node share.
#[derive(Clone)]
pub struct MediaServiceConfig {
    /// The certificate of its DTLS (RFC 8827 §6.5).
    pub identity: Arc<::media::DtlsCertificate>,
    /// Limits and tuning of a room.
    pub room: ::media::RoomConfig,
    /// Under which addresses clients reach the ports.
    pub addresses: Arc<[IpAddr]>,
}
