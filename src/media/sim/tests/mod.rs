//! Tests of rooms with simulated clients.

mod abuse;
mod congestion;
mod layers;
mod media;
mod negotiation;
mod transport;

use super::*;
