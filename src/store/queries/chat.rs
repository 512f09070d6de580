//! Conversations: opened, looked at, listed.

use std::collections::HashMap;

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};
use diesel::prelude::*;

use serde_json::Value;

use super::messages::is_visible;
use super::{Conn, contacts, user_admin};
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
    reach: InvitationRule,
    now: Timestamp,
) -> QueryResult<OpenDirect> {
    let me = new.created_by;
    if me == other {
        return Ok(OpenDirect::NotAllowed);
    }
    if !contacts::hold_pair(c, me, other)? {
        return Ok(OpenDirect::NoSuchUser);
    }
    let pair = (me.min(other), me.max(other));
    let existing = conversations::table
        .filter(conversations::direct_low.eq(Sql(pair.0)))
        .filter(conversations::direct_high.eq(Sql(pair.1)))
        .select(ConversationRow::as_select())
        .first(c)
        .optional()?;
    // Whoever is blocked finds it as it was, or makes one as with anybody within their reach.
    if let Some(conversation) = existing {
        return Ok(OpenDirect::Existing(view(c, conversation)?));
    }
    if contacts::is_blocked(c, me, other)? || !contacts::knows(c, me, &[other], reach)? {
        return Ok(OpenDirect::NotAllowed);
    }
    let conversation = insert(c, &new, Kind::Direct, Some(pair), now)?;
    for user in [me, other] {
        enter(c, &conversation, &[user], MemberRole::Member, now)?;
    }
    if contacts::is_blocked(c, other, me)? {
        let away = MemberSettingsPatch { archived: Some(true), ..MemberSettingsPatch::default() };
        keep(c, conversation.id, other, away, now)?;
        return Ok(OpenDirect::Unheard(view(c, conversation)?));
    }
    Ok(OpenDirect::Created(view(c, conversation)?))
}

pub(crate) fn open_group(
    c: &mut Conn,
    new: NewConversationRow,
    mut others: Vec<UserId>,
    reach: InvitationRule,
    now: Timestamp,
) -> QueryResult<OpenGroup> {
    let me = new.created_by;
    others.retain(|other| *other != me);
    others.sort_unstable();
    others.dedup();
    let all: Vec<UserId> = others.iter().copied().chain([me]).collect();
    if user_admin::hold_all(c, &all)?.len() != all.len() {
        return Ok(OpenGroup::NoSuchUser);
    }
    if !contacts::may_reach(c, me, &others, reach)? {
        return Ok(OpenGroup::NotAllowed);
    }
    let conversation = insert(c, &new, Kind::Group, None, now)?;
    enter(c, &conversation, &[me], MemberRole::Owner, now)?;
    enter(c, &conversation, &others, MemberRole::Member, now)?;
    Ok(OpenGroup::Created(view(c, conversation)?))
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

/// Makes somebody a member, whose devices are told of what comes from now on.
pub(super) fn enter(
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

/// Rows of one insert, so that a large group does not exceed what a statement may bind.
const INSERT_CHUNK_ROWS: usize = 200;

/// A conversation with its members. Given the row first: where statements see different states,
/// the members are newer than the roster says, and a cache asks once more than it must.
pub(super) fn view(
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
    let view = view(c, conversation)?;
    let present = view.members.iter().any(|member| member.user_id == viewer);
    Ok(present.then_some(view))
}

pub(crate) fn conversations_of(
    c: &mut Conn,
    me: UserId,
    after: Option<ConversationId>,
    limit: i64,
    now: Timestamp,
) -> QueryResult<Vec<ConversationSummaryRow>> {
    type Mine = (MemberRole, i64, i64, i64, i64, Option<Timestamp>, Option<Timestamp>);
    type Row = (ConversationRow, Mine, (Option<UserId>, Option<UserId>));
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
    let behind = rows.iter().filter(|row| row.1.4 < row.0.last_seq);
    let unread = unread(c, me, behind.map(|row| row.0.id).collect(), now)?;
    let summary = |(conversation, mine, pair): Row| {
        let peer = peer_of(&pair).and_then(|id| Some((id, names.get(&id)?.clone())));
        let (role, joined_seq, visible_seq, delivered_seq, read_seq, muted_until, archived_at) =
            mine;
        let (unread, unread_mentions) = unread.get(&conversation.id).copied().unwrap_or_default();
        ConversationSummaryRow {
            conversation,
            role,
            joined_seq,
            visible_seq,
            delivered_seq,
            read_seq,
            kept: MemberSettingsRow { muted_until, archived_at },
            unread,
            unread_mentions,
            peer,
        }
    };
    Ok(rows.into_iter().map(summary).collect())
}

/// Beyond this many messages nobody counts.
const MAX_UNREAD_COUNT: i64 = 1000;

/// How many messages of others somebody has not read, and how many of those mention them.
fn unread(
    c: &mut Conn,
    me: UserId,
    which: Vec<ConversationId>,
    now: Timestamp,
) -> QueryResult<HashMap<ConversationId, (i64, i64)>> {
    let mut all: HashMap<ConversationId, (i64, i64)> = HashMap::new();
    if which.is_empty() {
        return Ok(all);
    }
    let waiting = || {
        let lasts = messages::expires_at.gt(Sql(now)).assume_not_null();
        members::table
            .inner_join(conversations::table)
            .inner_join(messages::table.on(messages::conversation_id.eq(members::conversation_id)))
            .filter(members::user_id.eq(Sql(me)))
            .filter(members::conversation_id.eq_any(which.iter().copied().map(Sql)))
            .filter(messages::seq.gt(members::read_seq))
            .filter(messages::seq.gt(conversations::last_seq - MAX_UNREAD_COUNT))
            .filter(messages::sender_id.ne(Sql(me)))
            .filter(messages::system.is_null())
            .filter(messages::deleted_at.is_null())
            .filter(messages::expires_at.is_null().or(lasts))
            .filter(is_visible!(me))
    };
    let counted: Vec<(ConversationId, i64)> = waiting()
        .group_by(members::conversation_id)
        .select((members::conversation_id, diesel::dsl::count(messages::id)))
        .load(c)?;
    let mentions: Vec<(ConversationId, Value)> = waiting()
        .filter(messages::mentions.is_not_null())
        .select((members::conversation_id, messages::mentions.assume_not_null()))
        .load(c)?;
    all.extend(counted.into_iter().map(|(id, count)| (id, (count, 0))));
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

/// Changes how one member keeps a conversation; `None` if they are not in it.
pub(crate) fn keep(
    c: &mut Conn,
    id: ConversationId,
    me: UserId,
    keeping: MemberSettingsPatch,
    now: Timestamp,
) -> QueryResult<Option<MemberSettingsRow>> {
    let row = || members::table.find((Sql(id), Sql(me)));
    let columns = row().select((members::muted_until, members::archived_at));
    let Some(mut kept) = held!(columns).first::<MemberSettingsRow>(c).optional()? else {
        return Ok(None);
    };
    if let Some(until) = keeping.muted_until {
        kept.muted_until = until;
    }
    if let Some(archived) = keeping.archived {
        kept.archived_at = archived.then_some(kept.archived_at.unwrap_or(now));
    }
    diesel::update(row())
        .set((
            members::muted_until.eq(kept.muted_until.map(Sql)),
            members::archived_at.eq(kept.archived_at.map(Sql)),
        ))
        .execute(c)?;
    Ok(Some(kept))
}

/// Who hears what somebody does in a conversation beside speaking, such as typing and reading: the
/// others, and nobody where one of two blocks the other. `None` if they are not in it.
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

pub(crate) fn members_of(c: &mut Conn, id: ConversationId) -> QueryResult<RecipientSet> {
    // The roster first: see `view`.
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
