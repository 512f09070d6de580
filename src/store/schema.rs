//! The tables as the query builder sees them; `migrations/` creates them.

use diesel::{allow_tables_to_appear_in_same_query, joinable, table};

table! {
    use diesel::sql_types::{BigInt, Text};
    counters (name) { name -> Text, value -> BigInt }
}
table! {
    use diesel::sql_types::{Nullable, Text};
    use crate::types::{IdSql, TimeSql};
    users (id) {
        id -> IdSql, phone -> Text, name -> Text, role -> Text, password_hash -> Text,
        created_at -> TimeSql, suspended_at -> Nullable<TimeSql>,
        deleted_at -> Nullable<TimeSql>,
    }
}
table! {
    use diesel::sql_types::{Nullable, Text};
    use crate::types::{IdSql, TimeSql};
    devices (id) {
        id -> IdSql, user_id -> IdSql, name -> Text, platform -> Text,
        created_at -> TimeSql, last_seen_at -> TimeSql, revoked_at -> Nullable<TimeSql>,
        last_ip -> Nullable<Text>, user_agent -> Nullable<Text>,
    }
}
table! {
    use diesel::sql_types::{Binary, Nullable};
    use crate::types::{IdSql, TimeSql};
    refresh_tokens (hash) {
        hash -> Binary, device_id -> IdSql, successor -> Nullable<Binary>,
        created_at -> TimeSql, expires_at -> TimeSql, used_at -> Nullable<TimeSql>,
    }
}
table! {
    use diesel::sql_types::Binary;
    use crate::types::TimeSql;
    setup_links (hash) { hash -> Binary, created_at -> TimeSql, expires_at -> TimeSql }
}
table! {
    use diesel::sql_types::{Binary, Nullable, Text};
    use crate::types::{IdSql, JsonSql, TimeSql};
    api_tokens (id) {
        id -> IdSql, name -> Text, hash -> Binary, scopes -> JsonSql,
        created_by -> Nullable<IdSql>, created_at -> TimeSql, expires_at -> Nullable<TimeSql>,
        revoked_at -> Nullable<TimeSql>, last_used_at -> Nullable<TimeSql>,
    }
}
table! {
    use diesel::sql_types::{Binary, Nullable};
    use crate::types::{IdSql, TimeSql};
    signing_keys (id) {
        id -> IdSql, private -> Binary, public -> Binary,
        created_at -> TimeSql, retired_at -> Nullable<TimeSql>,
    }
}
table! {
    use diesel::sql_types::Text;
    use crate::types::{IdSql, TimeSql};
    contacts (user_id, other_id) {
        user_id -> IdSql, other_id -> IdSql, state -> Text, since -> TimeSql,
    }
}
table! {
    use crate::types::{IdSql, TimeSql};
    blocks (user_id, other_id) { user_id -> IdSql, other_id -> IdSql, since -> TimeSql }
}
table! {
    use diesel::sql_types::{BigInt, Nullable, Text};
    use crate::types::{IdSql, TimeSql};
    conversations (id) {
        id -> IdSql, kind -> Text, title -> Nullable<Text>, encryption -> Text,
        last_seq -> BigInt, roster -> BigInt, created_by -> IdSql,
        created_at -> TimeSql, updated_at -> TimeSql,
        direct_low -> Nullable<IdSql>, direct_high -> Nullable<IdSql>, revision -> BigInt,
        expires_in -> Nullable<BigInt>, history -> Text, who_writes -> Text, who_adds -> Text,
    }
}
table! {
    use diesel::sql_types::{BigInt, Nullable, Text};
    use crate::types::{IdSql, TimeSql};
    members (conversation_id, user_id) {
        conversation_id -> IdSql, user_id -> IdSql, role -> Text, joined_seq -> BigInt,
        delivered_seq -> BigInt, read_seq -> BigInt, joined_at -> TimeSql,
        visible_seq -> BigInt, muted_until -> Nullable<TimeSql>,
        archived_at -> Nullable<TimeSql>,
    }
}
table! {
    use diesel::sql_types::{BigInt, Nullable, Text};
    use crate::types::{IdSql, JsonSql, TimeSql};
    messages (id) {
        id -> IdSql, conversation_id -> IdSql, seq -> BigInt, sender_id -> IdSql,
        client_id -> Text, body -> Text, reply_to -> Nullable<IdSql>, sent_at -> TimeSql,
        revision -> BigInt, edited_at -> Nullable<TimeSql>, deleted_at -> Nullable<TimeSql>,
        expires_at -> Nullable<TimeSql>, pinned_at -> Nullable<TimeSql>,
        forwarded_from -> Nullable<IdSql>, mentions -> Nullable<JsonSql>,
        system -> Nullable<JsonSql>, withheld_from -> Nullable<IdSql>,
    }
}
table! {
    use diesel::sql_types::{BigInt, Text};
    use crate::types::{IdSql, TimeSql};
    message_edits (message_id, revision) {
        message_id -> IdSql, revision -> BigInt, body -> Text, edited_at -> TimeSql,
    }
}
table! {
    use diesel::sql_types::Text;
    use crate::types::{IdSql, TimeSql};
    reactions (message_id, user_id, emoji) {
        message_id -> IdSql, user_id -> IdSql, emoji -> Text, reacted_at -> TimeSql,
    }
}
table! {
    use diesel::sql_types::BigInt;
    use crate::types::IdSql;
    hidden_messages (user_id, message_id) {
        user_id -> IdSql, message_id -> IdSql, conversation_id -> IdSql, revision -> BigInt,
    }
}
table! {
    use diesel::sql_types::{BigInt, Binary, Nullable};
    use crate::types::{IdSql, TimeSql};
    invites (id) {
        id -> IdSql, conversation_id -> IdSql, hash -> Binary, created_by -> IdSql,
        created_at -> TimeSql, expires_at -> TimeSql, uses_left -> Nullable<BigInt>,
        uses -> BigInt,
    }
}
table! {
    use diesel::sql_types::{Nullable, Text};
    use crate::types::{IdSql, TimeSql};
    statuses (user_id) {
        user_id -> IdSql, state -> Text, text -> Text, last_seen_at -> Nullable<TimeSql>,
    }
}
table! {
    use diesel::sql_types::BigInt;
    use crate::types::IdSql;
    search_entries (id) { id -> BigInt, message_id -> IdSql }
}
table! {
    use diesel::sql_types::{BigInt, Text};
    use crate::types::{JsonSql, TimeSql};
    outbox (id) { id -> BigInt, topic -> Text, payload -> JsonSql, created_at -> TimeSql }
}
table! {
    use diesel::sql_types::{Nullable, Text};
    use crate::types::{IdSql, JsonSql, TimeSql};
    audit_entries (id) {
        id -> IdSql, at -> TimeSql, actor -> Nullable<IdSql>, action -> Text, subject -> Text,
        detail -> JsonSql, ip -> Nullable<Text>,
    }
}

table! {
    use diesel::sql_types::Text;
    use crate::types::{IdSql, TimeSql};
    nodes (id) {
        id -> IdSql, name -> Text, url -> Text, state -> Text, started_at -> TimeSql,
        renewed_at -> TimeSql, until -> TimeSql, server -> TimeSql,
    }
}
table! {
    use diesel::sql_types::{BigInt, Text};
    use crate::types::IdSql;
    leases (key) { key -> Text, owner -> IdSql, epoch -> BigInt, value -> Text }
}
table! {
    use diesel::sql_types::{Nullable, Text};
    use crate::types::{IdSql, JsonSql, TimeSql};
    calls (id) {
        id -> IdSql, conversation_id -> Nullable<IdSql>, session -> Nullable<Text>,
        created_by -> IdSql, media -> Text, node -> IdSql, started_at -> TimeSql,
        answered_at -> Nullable<TimeSql>, ended_at -> Nullable<TimeSql>,
        reason -> Nullable<Text>, state -> Nullable<JsonSql>,
    }
}
table! {
    use diesel::sql_types::{Bool, Nullable, Text};
    use crate::types::{IdSql, TimeSql};
    call_people (call_id, user_id) {
        call_id -> IdSql, user_id -> IdSql, outcome -> Text,
        joined_at -> Nullable<TimeSql>, left_at -> Nullable<TimeSql>, withheld -> Bool,
    }
}
table! {
    use diesel::sql_types::{BigInt, Binary, Nullable};
    use crate::types::{IdSql, TimeSql};
    second_factors (user_id) {
        user_id -> IdSql, secret -> Binary, created_at -> TimeSql,
        confirmed_at -> Nullable<TimeSql>, last_step -> Nullable<BigInt>,
    }
}
table! {
    use diesel::sql_types::Binary;
    use crate::types::IdSql;
    recovery_codes (user_id, hash) { user_id -> IdSql, hash -> Binary }
}
table! {
    use diesel::sql_types::{Binary, Bool};
    use crate::types::{IdSql, TimeSql};
    reset_links (hash) {
        hash -> Binary, user_id -> IdSql, drops_second_factor -> Bool,
        created_at -> TimeSql, expires_at -> TimeSql,
    }
}
table! {
    use diesel::sql_types::{BigInt, Nullable, Text};
    use crate::types::{IdSql, JsonSql, TimeSql};
    jobs (id) {
        id -> IdSql, kind -> Text, user_id -> Nullable<IdSql>, payload -> JsonSql, state -> Text,
        attempts -> BigInt, due_at -> TimeSql, failure -> Nullable<Text>,
        created_at -> TimeSql, ended_at -> Nullable<TimeSql>,
    }
}
table! {
    use diesel::sql_types::{BigInt, Nullable};
    use crate::types::{IdSql, TimeSql};
    exports (id) {
        id -> IdSql, user_id -> IdSql, size -> Nullable<BigInt>, created_at -> TimeSql,
        ready_at -> Nullable<TimeSql>, expires_at -> Nullable<TimeSql>,
    }
}
table! {
    use diesel::sql_types::{BigInt, Binary, Text};
    use crate::types::{IdSql, TimeSql};
    blobs (id) { id -> IdSql, hash -> Binary, size -> BigInt, state -> Text, since -> TimeSql }
}
table! {
    use diesel::sql_types::{BigInt, Nullable, Text};
    use crate::types::{IdSql, TimeSql};
    attachments (id) {
        id -> IdSql, owner_id -> IdSql, blob_id -> IdSql, thumbnail_id -> Nullable<IdSql>,
        name -> Text, content_type -> Text, size -> BigInt, width -> Nullable<BigInt>,
        height -> Nullable<BigInt>, created_at -> TimeSql, expires_at -> Nullable<TimeSql>,
        duration_ms -> Nullable<BigInt>,
    }
}
table! {
    use diesel::sql_types::BigInt;
    use crate::types::IdSql;
    message_attachments (message_id, position) {
        message_id -> IdSql, position -> BigInt, attachment_id -> IdSql,
    }
}
table! {
    use diesel::sql_types::{BigInt, Nullable, Text};
    use crate::types::{IdSql, TimeSql};
    uploads (id) {
        id -> IdSql, owner_id -> IdSql, purpose -> Text, name -> Text, size -> BigInt,
        attachment_id -> Nullable<IdSql>, created_at -> TimeSql, expires_at -> TimeSql,
    }
}

joinable!(devices -> users (user_id));
joinable!(refresh_tokens -> devices (device_id));
joinable!(contacts -> users (other_id));
joinable!(blocks -> users (other_id));
joinable!(members -> conversations (conversation_id));
joinable!(members -> users (user_id));
joinable!(calls -> users (created_by));
joinable!(call_people -> calls (call_id));
joinable!(call_people -> users (user_id));
joinable!(second_factors -> users (user_id));
joinable!(exports -> jobs (id));
joinable!(attachments -> blobs (blob_id));
joinable!(message_attachments -> messages (message_id));
joinable!(message_attachments -> attachments (attachment_id));
joinable!(invites -> conversations (conversation_id));
joinable!(search_entries -> messages (message_id));
joinable!(hidden_messages -> messages (message_id));

allow_tables_to_appear_in_same_query!(
    users,
    devices,
    refresh_tokens,
    contacts,
    blocks,
    conversations,
    members,
    messages,
    calls,
    call_people,
    second_factors,
    jobs,
    exports,
    blobs,
    attachments,
    message_attachments,
    uploads,
    message_edits,
    reactions,
    hidden_messages,
    invites,
    statuses,
    search_entries,
);
allow_tables_to_appear_in_same_query!(nodes, leases);
