//! What of a conversation somebody is not shown.

/// Whether `viewer` may see a message that came after they may see anything.
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
pub(in super::super) use is_visible;
