//! Media threads: each has an ICE mux and the SFU rooms that run on it; packets are never actor
//! messages.

mod addresses;
mod batch;
mod dispatcher;
mod ice_mux;
mod lease;
mod metrics_export;
mod sockets;
mod tcp;

use std::net::IpAddr;
use std::sync::Arc;

pub use addresses::addresses;
pub use batch::{BATCH, DatagramBatch};
pub use dispatcher::RoomNotice;
pub use ice_mux::{IceMux, IceMuxConfig};
pub use lease::HostedRoomGuard;

/// Name of the pool of threads that forward media.
pub const MEDIA: &str = "media";

/// What all SFU rooms of a node share.
#[derive(Clone)]
pub struct MediaServiceConfig {
    /// The certificate of the DTLS handshakes (RFC 8827 §6.5).
    pub certificate: Arc<::media::DtlsCertificate>,
    /// Limits and tuning of a room.
    pub room: ::media::RoomConfig,
    /// The addresses under which clients reach the ICE muxes.
    pub addresses: Arc<[IpAddr]>,
}
