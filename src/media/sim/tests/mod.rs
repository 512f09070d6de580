//! What people do in a room, and what they see of each other.

mod abuse;
mod congestion;
mod layers;
mod media;
mod negotiation;
mod transport;

use super::*;
