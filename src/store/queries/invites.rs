//! Links with which people join a group: made and taken back by those who may add people.

use base::clock::Timestamp;
use base::ids::{ConversationId, InviteId, UserId};
use diesel::prelude::*;

use super::{Conn, chat, contacts, group_members, messages, user_admin};
use crate::rows::{
    ConversationRow, Happened, InviteRow, JoinOutcome, Kind, MemberRole, NewInviteRow,
    SystemEventRow,
};
use crate::schema::{conversations, invites, members};
use crate::types::Sql;

/// How many invites that are still good a group has at most.
const MAX_INVITES_PER_CONVERSATION: i64 = 100;

/// What a member may do with the invites of a group: `None` if they are not in it, false if
/// nothing.
fn may_invite(c: &mut Conn, id: ConversationId, user: UserId) -> QueryResult<Option<bool>> {
    let row = conversations::table.find(Sql(id)).select(ConversationRow::as_select());
    let Some(conversation) = held!(row).first(c).optional()? else { return Ok(None) };
    let role: Option<MemberRole> =
        members::table.find((Sql(id), Sql(user))).select(members::role).first(c).optional()?;
    Ok(role.map(|role| conversation.kind == Kind::Group && conversation.who_adds.admits(role)))
}

/// `None` if whoever asks is not in the group; `Some(None)` if they may not, or there are many.
pub(crate) fn create_invite(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
    new: NewInviteRow,
    now: Timestamp,
) -> QueryResult<Option<Option<InviteRow>>> {
    match may_invite(c, id, by)? {
        None => return Ok(None),
        Some(false) => return Ok(Some(None)),
        Some(true) => {}
    }
    let there = invites::table
        .filter(invites::conversation_id.eq(Sql(id)))
        .filter(invites::expires_at.gt(Sql(now)))
        .filter(invites::uses_left.is_null().or(invites::uses_left.gt(0).assume_not_null()));
    if there.count().get_result::<i64>(c)? >= MAX_INVITES_PER_CONVERSATION {
        return Ok(Some(None));
    }
    diesel::insert_into(invites::table)
        .values((
            invites::id.eq(Sql(new.id)),
            invites::conversation_id.eq(Sql(id)),
            invites::hash.eq(new.hash.to_vec()),
            invites::created_by.eq(Sql(by)),
            invites::created_at.eq(Sql(now)),
            invites::expires_at.eq(Sql(new.expires_at)),
            invites::uses_left.eq(new.uses),
            invites::uses.eq(0),
        ))
        .returning(InviteRow::as_returning())
        .get_result(c)
        .map(|invite| Some(Some(invite)))
}

/// As [`create_invite`]; the newest first.
pub(crate) fn invites(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
    now: Timestamp,
) -> QueryResult<Option<Option<Vec<InviteRow>>>> {
    match may_invite(c, id, by)? {
        None => Ok(None),
        Some(false) => Ok(Some(None)),
        Some(true) => invites::table
            .filter(invites::conversation_id.eq(Sql(id)))
            .filter(invites::expires_at.gt(Sql(now)))
            .order(invites::id.desc())
            .select(InviteRow::as_select())
            .load(c)
            .map(|all| Some(Some(all))),
    }
}

/// As [`create_invite`]; whether there was one.
pub(crate) fn revoke_invite(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
    invite: InviteId,
) -> QueryResult<Option<Option<bool>>> {
    match may_invite(c, id, by)? {
        None => Ok(None),
        Some(false) => Ok(Some(None)),
        Some(true) => {
            let one = invites::table.find(Sql(invite)).filter(invites::conversation_id.eq(Sql(id)));
            Ok(Some(Some(diesel::delete(one).execute(c)? == 1)))
        }
    }
}

pub(crate) fn join(
    c: &mut Conn,
    hash: [u8; 32],
    user: UserId,
    most: i64,
    now: Timestamp,
) -> QueryResult<JoinOutcome> {
    let found = |c: &mut Conn| {
        invites::table
            .filter(invites::hash.eq(hash.to_vec()))
            .filter(invites::expires_at.gt(Sql(now)))
            .filter(invites::uses_left.is_null().or(invites::uses_left.gt(0).assume_not_null()))
            .select(InviteRow::as_select())
            .first(c)
            .optional()
    };
    let Some(invite) = found(c)? else { return Ok(JoinOutcome::NotFound) };
    let id = invite.conversation_id;
    let row = conversations::table.find(Sql(id)).select(ConversationRow::as_select());
    let Some(conversation) = held!(row).first(c).optional()? else {
        return Ok(JoinOutcome::NotFound);
    };
    // Again, now that the group is held: the last use may just have been made.
    let Some(invite) = found(c)? else { return Ok(JoinOutcome::NotFound) };
    let view = chat::view(c, conversation.clone())?;
    if view.members.iter().any(|member| member.user_id == user) {
        return Ok(JoinOutcome::Already(view));
    }
    let there = user_admin::hold(c, user)?;
    // Whoever made it must still be there, and neither may block the other.
    let host = view.members.iter().any(|member| member.user_id == invite.created_by);
    if !there || !host || contacts::any_block(c, user, invite.created_by)? {
        return Ok(JoinOutcome::NotFound);
    }
    if i64::try_from(view.members.len()).unwrap_or(i64::MAX) >= most {
        return Ok(JoinOutcome::Full);
    }
    diesel::update(invites::table.find(Sql(invite.id)))
        .set((invites::uses.eq(invites::uses + 1), invites::uses_left.eq(invites::uses_left - 1)))
        .execute(c)?;
    chat::enter(c, &conversation, &[user], MemberRole::Member, now)?;
    let said = messages::happened(c, id, user, &SystemEventRow::new(Happened::Joined), now)?;
    Ok(JoinOutcome::Joined(group_members::touch(c, id, now)?, said.into_iter().collect()))
}
