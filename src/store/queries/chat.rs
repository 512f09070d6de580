//! Conversations: created, read, listed.

use std::collections::HashMap;

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};
use diesel::prelude::*;
use serde_json::Value;

use super::visible::is_visible;
use super::{Conn, contacts, user_admin};
use crate::limits::MAX_UNREAD_COUNT;
use crate::rows::{
    ConversationPosition, ConversationRow, ConversationSummaryRow, ConversationWithMembers,
    History, InvitationRule, Kind, MemberRole, MemberRow, MemberSettingsPatch, MemberSettingsRow,
    NewConversationRow, OpenDirect, OpenGroup, RecipientSet,
};
use crate::schema::{conversations, hidden_messages, members, messages, users};
use crate::types::Sql;

pub(crate) fn open_direct(
    c: &mut Conn,
    new: NewConversationRow,
    other: UserId,
    rule: InvitationRule,
    now: Timestamp,
) -> QueryResult<OpenDirect> {
    let me = new.created_by;
    if me == other {
        return Ok(OpenDirect::NotAllowed);
    }
    if !contacts::lock_pair(c, me, other)? {
        return Ok(OpenDirect::UserNotFound);
    }
    let pair = (me.min(other), me.max(other));
    let existing = conversations::table
        .filter(conversations::direct_low.eq(Sql(pair.0)))
        .filter(conversations::direct_high.eq(Sql(pair.1)))
        .select(ConversationRow::as_select())
        .first(c)
        .optional()?;
    // A blocked user finds the conversation as it was, or creates one as with anyone within their
    // reach.
    if let Some(conversation) = existing {
        return Ok(OpenDirect::Existing(with_members(c, conversation)?));
    }
    if contacts::is_blocked(c, me, other)? || !contacts::is_within_reach(c, me, &[other], rule)? {
        return Ok(OpenDirect::NotAllowed);
    }
    let conversation = insert(c, &new, Kind::Direct, Some(pair), now)?;
    for user in [me, other] {
        add_members(c, &conversation, &[user], MemberRole::Member, now)?;
    }
    if contacts::is_blocked(c, other, me)? {
        let archived =
            MemberSettingsPatch { archived: Some(true), ..MemberSettingsPatch::default() };
        update_member_settings(c, conversation.id, other, archived, now)?;
        return Ok(OpenDirect::ShadowBlocked(with_members(c, conversation)?));
    }
    Ok(OpenDirect::Created(with_members(c, conversation)?))
}

pub(crate) fn open_group(
    c: &mut Conn,
    new: NewConversationRow,
    mut others: Vec<UserId>,
    rule: InvitationRule,
    now: Timestamp,
) -> QueryResult<OpenGroup> {
    let me = new.created_by;
    others.retain(|other| *other != me);
    others.sort_unstable();
    others.dedup();
    let all: Vec<UserId> = others.iter().copied().chain([me]).collect();
    if user_admin::lock_users(c, &all)?.len() != all.len() {
        return Ok(OpenGroup::UserNotFound);
    }
    if !contacts::can_invite(c, me, &others, rule)? {
        return Ok(OpenGroup::NotAllowed);
    }
    let conversation = insert(c, &new, Kind::Group, None, now)?;
    add_members(c, &conversation, &[me], MemberRole::Owner, now)?;
    add_members(c, &conversation, &others, MemberRole::Member, now)?;
    Ok(OpenGroup::Created(with_members(c, conversation)?))
}

fn insert(
    c: &mut Conn,
    new: &NewConversationRow,
    kind: Kind,
    pair: Option<(UserId, UserId)>,
    now: Timestamp,
) -> QueryResult<ConversationRow> {
    diesel::insert_into(conversations::table)
        .values((
            conversations::id.eq(Sql(new.id)),
            conversations::kind.eq(kind),
            conversations::title.eq(new.title.as_deref()),
            conversations::encryption.eq(new.encryption),
            conversations::last_seq.eq(0),
            conversations::roster.eq(1),
            conversations::created_by.eq(Sql(new.created_by)),
            conversations::created_at.eq(Sql(now)),
            conversations::updated_at.eq(Sql(now)),
            conversations::direct_low.eq(pair.map(|pair| Sql(pair.0))),
            conversations::direct_high.eq(pair.map(|pair| Sql(pair.1))),
        ))
        .returning(ConversationRow::as_returning())
        .get_result(c)
}

/// Adds members; their devices are notified of what comes from now on.
pub(super) fn add_members(
    c: &mut Conn,
    conversation: &ConversationRow,
    users: &[UserId],
    role: MemberRole,
    now: Timestamp,
) -> QueryResult<()> {
    let visible = match conversation.history {
        History::All => 0,
        History::SinceJoining => conversation.last_seq,
    };
    let row = |user: &UserId| {
        (
            members::conversation_id.eq(Sql(conversation.id)),
            members::user_id.eq(Sql(*user)),
            members::role.eq(role),
            members::joined_seq.eq(conversation.last_seq),
            members::visible_seq.eq(visible),
            members::delivered_seq.eq(conversation.last_seq),
            members::read_seq.eq(conversation.last_seq),
            members::joined_at.eq(Sql(now)),
        )
    };
    for users in users.chunks(INSERT_CHUNK_ROWS) {
        let rows: Vec<_> = users.iter().map(row).collect();
        diesel::insert_into(members::table).values(&rows).execute(c)?;
    }
    Ok(())
}

/// Rows per INSERT, so that a large group does not exceed the number of values a statement may
/// bind.
const INSERT_CHUNK_ROWS: usize = 200;

/// A conversation with its members. The row is read first: if the statements see different
/// snapshots, the members are newer than its membership version, and a cache reloads once more than
/// necessary.
pub(super) fn with_members(
    c: &mut Conn,
    conversation: ConversationRow,
) -> QueryResult<ConversationWithMembers> {
    let members: Vec<MemberRow> = members::table
        .inner_join(users::table)
        .filter(members::conversation_id.eq(Sql(conversation.id)))
        .select((
            members::user_id,
            users::name,
            members::role,
            members::joined_seq,
            members::delivered_seq,
            members::read_seq,
            members::joined_at,
        ))
        .order((members::joined_at, members::user_id))
        .load(c)?;
    Ok(ConversationWithMembers { conversation, members })
}

pub(crate) fn conversation(
    c: &mut Conn,
    id: ConversationId,
    viewer: UserId,
) -> QueryResult<Option<ConversationWithMembers>> {
    let found = conversations::table
        .find(Sql(id))
        .select(ConversationRow::as_select())
        .first(c)
        .optional()?;
    let Some(conversation) = found else { return Ok(None) };
    let view = with_members(c, conversation)?;
    let is_member = view.members.iter().any(|member| member.user_id == viewer);
    Ok(is_member.then_some(view))
}

pub(crate) fn user_conversations(
    c: &mut Conn,
    me: UserId,
    after: Option<ConversationId>,
    limit: i64,
    now: Timestamp,
) -> QueryResult<Vec<ConversationSummaryRow>> {
    type MemberColumns = (MemberRole, i64, i64, i64, i64, Option<Timestamp>, Option<Timestamp>);
    type Row = (ConversationRow, MemberColumns, (Option<UserId>, Option<UserId>));
    let mut query = members::table
        .inner_join(conversations::table)
        .filter(members::user_id.eq(Sql(me)))
        .select((
            ConversationRow::as_select(),
            (
                members::role,
                members::joined_seq,
                members::visible_seq,
                members::delivered_seq,
                members::read_seq,
                members::muted_until,
                members::archived_at,
            ),
            (conversations::direct_low, conversations::direct_high),
        ))
        .order(members::conversation_id.desc())
        .limit(limit)
        .into_boxed();
    if let Some(after) = after {
        query = query.filter(members::conversation_id.lt(Sql(after)));
    }
    let rows: Vec<Row> = query.load(c)?;
    let peer_of = |pair: &(Option<UserId>, Option<UserId>)| {
        if pair.0 == Some(me) { pair.1 } else { pair.0 }
    };
    let peers: Vec<UserId> = rows.iter().filter_map(|row| peer_of(&row.2)).collect();
    let names: HashMap<UserId, String> = users::table
        .filter(users::id.eq_any(peers.into_iter().map(Sql)))
        .select((users::id, users::name))
        .load(c)?
        .into_iter()
        .collect();
    let with_unread = rows.iter().filter(|row| row.1.4 < row.0.last_seq);
    let unread = unread(c, me, with_unread.map(|row| row.0.id).collect(), now)?;
    let summary = |(conversation, member, pair): Row| {
        let peer = peer_of(&pair).and_then(|id| Some((id, names.get(&id)?.clone())));
        let (role, joined_seq, visible_seq, delivered_seq, read_seq, muted_until, archived_at) =
            member;
        let (unread, unread_mentions) = unread.get(&conversation.id).copied().unwrap_or_default();
        ConversationSummaryRow {
            conversation,
            role,
            joined_seq,
            visible_seq,
            delivered_seq,
            read_seq,
            settings: MemberSettingsRow { muted_until, archived_at },
            unread,
            unread_mentions,
            peer,
        }
    };
    Ok(rows.into_iter().map(summary).collect())
}

/// For each of these conversations, the number of unread messages of others, and how many of those
/// mention the user.
fn unread(
    c: &mut Conn,
    me: UserId,
    conversation_ids: Vec<ConversationId>,
    now: Timestamp,
) -> QueryResult<HashMap<ConversationId, (i64, i64)>> {
    let mut all: HashMap<ConversationId, (i64, i64)> = HashMap::new();
    if conversation_ids.is_empty() {
        return Ok(all);
    }
    let unread_messages = || {
        let not_expired = messages::expires_at.gt(Sql(now)).assume_not_null();
        members::table
            .inner_join(conversations::table)
            .inner_join(messages::table.on(messages::conversation_id.eq(members::conversation_id)))
            .filter(members::user_id.eq(Sql(me)))
            .filter(members::conversation_id.eq_any(conversation_ids.iter().copied().map(Sql)))
            .filter(messages::seq.gt(members::read_seq))
            .filter(messages::seq.gt(conversations::last_seq - MAX_UNREAD_COUNT))
            .filter(messages::sender_id.ne(Sql(me)))
            .filter(messages::system.is_null())
            .filter(messages::deleted_at.is_null())
            .filter(messages::expires_at.is_null().or(not_expired))
            .filter(is_visible!(me))
    };
    let counts: Vec<(ConversationId, i64)> = unread_messages()
        .group_by(members::conversation_id)
        .select((members::conversation_id, diesel::dsl::count(messages::id)))
        .load(c)?;
    let mentions: Vec<(ConversationId, Value)> = unread_messages()
        .filter(messages::mentions.is_not_null())
        .select((members::conversation_id, messages::mentions.assume_not_null()))
        .load(c)?;
    all.extend(counts.into_iter().map(|(id, count)| (id, (count, 0))));
    let mine = Value::String(me.to_string());
    for (id, people) in mentions {
        if people.as_array().is_some_and(|people| people.contains(&mine)) {
            all.entry(id).or_default().1 += 1;
        }
    }
    Ok(all)
}

pub(crate) fn positions(c: &mut Conn, me: UserId) -> QueryResult<Vec<ConversationPosition>> {
    members::table
        .inner_join(conversations::table)
        .filter(members::user_id.eq(Sql(me)))
        .select((
            conversations::id,
            conversations::last_seq,
            conversations::revision,
            members::joined_seq,
        ))
        .order(members::conversation_id)
        .load(c)
}

/// Changes one member's settings of a conversation; `None` if they are not a member.
pub(crate) fn update_member_settings(
    c: &mut Conn,
    id: ConversationId,
    me: UserId,
    patch: MemberSettingsPatch,
    now: Timestamp,
) -> QueryResult<Option<MemberSettingsRow>> {
    let row = || members::table.find((Sql(id), Sql(me)));
    let columns = row().select((members::muted_until, members::archived_at));
    let Some(mut settings) = for_update!(columns).first::<MemberSettingsRow>(c).optional()? else {
        return Ok(None);
    };
    if let Some(until) = patch.muted_until {
        settings.muted_until = until;
    }
    if let Some(archived) = patch.archived {
        settings.archived_at = archived.then_some(settings.archived_at.unwrap_or(now));
    }
    diesel::update(row())
        .set((
            members::muted_until.eq(settings.muted_until.map(Sql)),
            members::archived_at.eq(settings.archived_at.map(Sql)),
        ))
        .execute(c)?;
    Ok(Some(settings))
}

/// The recipients of a user's typing and read events in a conversation: the other members, or
/// nobody if one of a direct conversation's two blocks the other. `None` if the user is not a
/// member.
pub(crate) fn recipients(
    c: &mut Conn,
    id: ConversationId,
    user: UserId,
) -> QueryResult<Option<Vec<UserId>>> {
    let mut all: Vec<UserId> = members::table
        .filter(members::conversation_id.eq(Sql(id)))
        .order(members::user_id)
        .select(members::user_id)
        .load(c)?;
    if !all.contains(&user) {
        return Ok(None);
    }
    if !contacts::blockers_in(c, id)?.is_empty() {
        return Ok(Some(Vec::new()));
    }
    all.retain(|other| *other != user);
    Ok(Some(all))
}

pub(crate) fn recipient_set(c: &mut Conn, id: ConversationId) -> QueryResult<RecipientSet> {
    // The membership version first: see `with_members`.
    let row: Option<(i64, i64, i64)> = conversations::table
        .find(Sql(id))
        .select((conversations::roster, conversations::last_seq, conversations::revision))
        .first(c)
        .optional()?;
    let (roster, last_seq, revision) = row.unwrap_or_default();
    let members = members::table
        .filter(members::conversation_id.eq(Sql(id)))
        .order(members::user_id)
        .select(members::user_id)
        .load(c)?;
    Ok(RecipientSet { roster, last_seq, revision, members })
}
