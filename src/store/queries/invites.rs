//! Invite links of groups: created and revoked by those who may add members.

use base::clock::Timestamp;
use base::ids::{ConversationId, InviteId, UserId};
use diesel::prelude::*;

use super::{Conn, chat, contacts, group_members, messages, user_admin};
use crate::limits::MAX_INVITES_PER_CONVERSATION;
use crate::rows::{
    ConversationRow, InviteRow, JoinOutcome, Kind, MemberRole, NewInviteRow, SystemEventKind,
    SystemEventRow,
};
use crate::schema::{conversations, invites, members};
use crate::types::Sql;

/// Locks the group; whether a user may manage its invites: `None` if they are not a member.
fn may_invite(c: &mut Conn, id: ConversationId, user: UserId) -> QueryResult<Option<bool>> {
    let row = conversations::table.find(Sql(id)).select(ConversationRow::as_select());
    let Some(conversation) = for_update!(row).first(c).optional()? else { return Ok(None) };
    let role: Option<MemberRole> =
        members::table.find((Sql(id), Sql(user))).select(members::role).first(c).optional()?;
    Ok(role.map(|role| conversation.kind == Kind::Group && conversation.who_adds.admits(role)))
}

/// `None` if the caller is not in the group; `Some(None)` if they may not invite or there are too
/// many invites.
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
    let valid = invites::table
        .filter(invites::conversation_id.eq(Sql(id)))
        .filter(invites::expires_at.gt(Sql(now)))
        .filter(invites::uses_left.is_null().or(invites::uses_left.gt(0).assume_not_null()));
    if valid.count().get_result::<i64>(c)? >= MAX_INVITES_PER_CONVERSATION {
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

/// Lists invites, newest first; otherwise as [`create_invite`].
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

/// Revokes an invite, true if it existed; otherwise as [`create_invite`].
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

pub(crate) fn join_by_invite(
    c: &mut Conn,
    hash: [u8; 32],
    user: UserId,
    max_members: i64,
    now: Timestamp,
) -> QueryResult<JoinOutcome> {
    let find_invite = |c: &mut Conn| {
        invites::table
            .filter(invites::hash.eq(hash.to_vec()))
            .filter(invites::expires_at.gt(Sql(now)))
            .filter(invites::uses_left.is_null().or(invites::uses_left.gt(0).assume_not_null()))
            .select(InviteRow::as_select())
            .first(c)
            .optional()
    };
    let Some(invite) = find_invite(c)? else { return Ok(JoinOutcome::NotFound) };
    let id = invite.conversation_id;
    let row = conversations::table.find(Sql(id)).select(ConversationRow::as_select());
    let Some(conversation) = for_update!(row).first(c).optional()? else {
        return Ok(JoinOutcome::NotFound);
    };
    // Again under the group's lock: the last use may just have been made.
    let Some(invite) = find_invite(c)? else { return Ok(JoinOutcome::NotFound) };
    let view = chat::with_members(c, conversation.clone())?;
    if view.members.iter().any(|member| member.user_id == user) {
        return Ok(JoinOutcome::AlreadyMember(view));
    }
    let exists = user_admin::lock_user(c, user)?;
    // The invite's creator must still be a member, and neither may block the other.
    let creator_is_member = view.members.iter().any(|member| member.user_id == invite.created_by);
    if !exists || !creator_is_member || contacts::any_block(c, user, invite.created_by)? {
        return Ok(JoinOutcome::NotFound);
    }
    if i64::try_from(view.members.len()).unwrap_or(i64::MAX) >= max_members {
        return Ok(JoinOutcome::GroupFull);
    }
    diesel::update(invites::table.find(Sql(invite.id)))
        .set((invites::uses.eq(invites::uses + 1), invites::uses_left.eq(invites::uses_left - 1)))
        .execute(c)?;
    chat::add_members(c, &conversation, &[user], MemberRole::Member, now)?;
    let system_message = messages::append_system_event(
        c,
        id,
        user,
        &SystemEventRow::new(SystemEventKind::Joined),
        now,
    )?;
    Ok(JoinOutcome::Joined(
        group_members::bump_roster(c, id, now)?,
        system_message.into_iter().collect(),
    ))
}
