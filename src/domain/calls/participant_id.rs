//! Identifiers of participants, and the epochs of a room.

/// Formats a participant number as the wire's `participant_id`.
pub fn format_participant_id(number: u32) -> String {
    format!("p{number}")
}

/// Participant number of a `participant_id`.
pub fn parse_participant_id(name: &str) -> Option<u32> {
    name.strip_prefix('p')?.parse().ok()
}

/// First epoch of a room under `lease`. The low 20 bits count restarts of the room and the high
/// bits are the lease, so epochs of earlier owners are always lower. The value must stay below 2⁵³
/// for JavaScript.
pub(super) const fn first_epoch(lease: u64) -> u64 {
    (lease << 20) + 1
}
