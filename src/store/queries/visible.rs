//! Which messages of a conversation are hidden from a user.

/// SQL condition: `viewer` has not hidden the message, and it is not withheld from them. Their
/// visible range (`visible_seq`) must be checked separately.
macro_rules! is_visible {
    ($viewer:expr) => {{
        let hidden = hidden_messages::table
            .filter(hidden_messages::user_id.eq(Sql($viewer)))
            .filter(hidden_messages::message_id.eq(messages::id));
        diesel::dsl::not(diesel::dsl::exists(hidden)).and(
            messages::withheld_from
                .is_null()
                .or(messages::withheld_from.ne(Sql($viewer)).assume_not_null()),
        )
    }};
}
pub(super) use is_visible;
