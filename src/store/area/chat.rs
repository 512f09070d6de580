//! Conversations: opened, looked at, listed.

use std::collections::HashMap;

use base::clock::Time;
use base::ids::{ConversationId, UserId};
use diesel::prelude::*;

use super::{Conn, contacts};
use crate::model::{
    Audience, Conversation, ConversationView, Kind, Member, MemberRole, NewConversation,
    OpenDirect, OpenGroup, Reach, Summary,
};
use crate::schema::{conversations, members, users};
use crate::types::Sql;

pub(crate) fn open_direct(
    c: &mut Conn,
    new: NewConversation,
    other: UserId,
    reach: Reach,
    now: Time,
) -> QueryResult<OpenDirect> {
    let me = new.created_by;
    if me == other {
        return Ok(OpenDirect::NotAllowed);
    }
    if !contacts::hold_pair(c, me, other)? {
        return Ok(OpenDirect::NoSuchUser);
    }
    if contacts::any_block(c, me, other)? {
        return Ok(OpenDirect::NotAllowed);
    }
    let pair = (me.min(other), me.max(other));
    let existing = conversations::table
        .filter(conversations::direct_low.eq(Sql(pair.0)))
        .filter(conversations::direct_high.eq(Sql(pair.1)))
        .select(Conversation::as_select())
        .first(c)
        .optional()?;
    if let Some(conversation) = existing {
        return Ok(OpenDirect::Existing(view(c, conversation)?));
    }
    if !contacts::may_reach(c, me, &[other], reach)? {
        return Ok(OpenDirect::NotAllowed);
    }
    let conversation = insert(c, &new, Kind::Direct, Some(pair), now)?;
    for user in [me, other] {
        enter(c, &conversation, &[user], MemberRole::Member, now)?;
    }
    Ok(OpenDirect::Created(view(c, conversation)?))
}

pub(crate) fn open_group(
    c: &mut Conn,
    new: NewConversation,
    mut others: Vec<UserId>,
    reach: Reach,
    now: Time,
) -> QueryResult<OpenGroup> {
    let me = new.created_by;
    others.retain(|other| *other != me);
    others.sort_unstable();
    others.dedup();
    let everybody =
        users::table.filter(users::id.eq_any(others.iter().copied().chain([me]).map(Sql)));
    let known: i64 = everybody.filter(users::deleted_at.is_null()).count().get_result(c)?;
    if usize::try_from(known) != Ok(others.len() + 1) {
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
    new: &NewConversation,
    kind: Kind,
    pair: Option<(UserId, UserId)>,
    now: Time,
) -> QueryResult<Conversation> {
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
        .returning(Conversation::as_returning())
        .get_result(c)
}

/// Makes somebody a member, who sees what comes from now on.
pub(super) fn enter(
    c: &mut Conn,
    conversation: &Conversation,
    users: &[UserId],
    role: MemberRole,
    now: Time,
) -> QueryResult<()> {
    let row = |user: &UserId| {
        (
            members::conversation_id.eq(Sql(conversation.id)),
            members::user_id.eq(Sql(*user)),
            members::role.eq(role),
            members::joined_seq.eq(conversation.last_seq),
            members::delivered_seq.eq(conversation.last_seq),
            members::read_seq.eq(conversation.last_seq),
            members::joined_at.eq(Sql(now)),
        )
    };
    for users in users.chunks(ROWS) {
        let rows: Vec<_> = users.iter().map(row).collect();
        diesel::insert_into(members::table).values(&rows).execute(c)?;
    }
    Ok(())
}

/// Rows of one insert, so that a large group does not exceed what a statement may bind.
const ROWS: usize = 200;

/// A conversation with its members. Given the row first: where statements see different states,
/// the members are newer than the roster says, and a cache asks once more than it must.
pub(super) fn view(c: &mut Conn, conversation: Conversation) -> QueryResult<ConversationView> {
    let members: Vec<Member> = members::table
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
    Ok(ConversationView { conversation, members })
}

pub(crate) fn conversation(
    c: &mut Conn,
    id: ConversationId,
    viewer: UserId,
) -> QueryResult<Option<ConversationView>> {
    let found =
        conversations::table.find(Sql(id)).select(Conversation::as_select()).first(c).optional()?;
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
) -> QueryResult<Vec<Summary>> {
    type Row = (Conversation, (MemberRole, i64, i64, i64), (Option<UserId>, Option<UserId>));
    let mut query = members::table
        .inner_join(conversations::table)
        .filter(members::user_id.eq(Sql(me)))
        .select((
            Conversation::as_select(),
            (members::role, members::joined_seq, members::delivered_seq, members::read_seq),
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
    let summary = |(conversation, (role, joined_seq, delivered_seq, read_seq), pair): Row| {
        let peer = peer_of(&pair).and_then(|id| Some((id, names.get(&id)?.clone())));
        Summary { conversation, role, joined_seq, delivered_seq, read_seq, peer }
    };
    Ok(rows.into_iter().map(summary).collect())
}

pub(crate) fn positions(c: &mut Conn, me: UserId) -> QueryResult<Vec<(ConversationId, i64, i64)>> {
    members::table
        .inner_join(conversations::table)
        .filter(members::user_id.eq(Sql(me)))
        .select((conversations::id, conversations::last_seq, members::joined_seq))
        .order(members::conversation_id)
        .load(c)
}

pub(crate) fn members_of(c: &mut Conn, id: ConversationId) -> QueryResult<Audience> {
    // The roster first: see `view`.
    let row: Option<(i64, i64)> = conversations::table
        .find(Sql(id))
        .select((conversations::roster, conversations::last_seq))
        .first(c)
        .optional()?;
    let (roster, last_seq) = row.unwrap_or_default();
    let members = members::table
        .filter(members::conversation_id.eq(Sql(id)))
        .order(members::user_id)
        .select(members::user_id)
        .load(c)?;
    Ok(Audience { roster, last_seq, members })
}
