//! Changes to a conversation: its settings, its members and their roles.

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};
use diesel::prelude::*;

use super::{Conn, chat, contacts, messages, user_admin};
use crate::rows::{
    ConversationChangeOutcome, ConversationRow, ConversationWithMembers, GroupSettingsPatch,
    InvitationRule, Kind, MemberRole, MessageRow, SystemEventKind, SystemEventRow,
};
use crate::schema::{conversations, members};
use crate::types::Sql;

/// A conversation, locked until the transaction ends, and the role of `by` in it.
fn lock_for_update(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
) -> QueryResult<Option<(ConversationRow, MemberRole)>> {
    let query = conversations::table.find(Sql(id)).select(ConversationRow::as_select());
    let Some(conversation) = for_update!(query).first(c).optional()? else { return Ok(None) };
    Ok(role(c, id, by)?.map(|role| (conversation, role)))
}

fn role(c: &mut Conn, id: ConversationId, user: UserId) -> QueryResult<Option<MemberRole>> {
    members::table.find((Sql(id), Sql(user))).select(members::role).first(c).optional()
}

fn set_role(c: &mut Conn, id: ConversationId, user: UserId, role: MemberRole) -> QueryResult<()> {
    diesel::update(members::table.find((Sql(id), Sql(user))))
        .set(members::role.eq(role))
        .execute(c)?;
    Ok(())
}

/// Appends system events for a membership change; returns the conversation after it and the stored
/// messages.
fn finish_change(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
    events: Vec<SystemEventRow>,
    now: Timestamp,
) -> QueryResult<ConversationChangeOutcome> {
    let mut system_messages = Vec::with_capacity(events.len());
    for event in events {
        system_messages.extend(messages::append_system_event(c, id, by, &event, now)?);
    }
    Ok(ConversationChangeOutcome::Done(bump_roster(c, id, now)?, system_messages))
}

/// Advances the membership version and returns the conversation.
pub(super) fn bump_roster(
    c: &mut Conn,
    id: ConversationId,
    now: Timestamp,
) -> QueryResult<ConversationWithMembers> {
    let conversation = diesel::update(conversations::table.find(Sql(id)))
        .set((
            conversations::roster.eq(conversations::roster + 1),
            conversations::updated_at.eq(Sql(now)),
        ))
        .returning(ConversationRow::as_returning())
        .get_result(c)?;
    chat::with_members(c, conversation)
}

pub(crate) fn update_conversation(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
    new: GroupSettingsPatch,
    now: Timestamp,
) -> QueryResult<ConversationChangeOutcome> {
    let Some((old, role)) = lock_for_update(c, id, by)? else {
        return Ok(ConversationChangeOutcome::NotFound);
    };
    let only_expiry =
        GroupSettingsPatch { expires_in: new.expires_in, ..GroupSettingsPatch::default() } == new;
    let allowed = match old.kind {
        Kind::Direct => only_expiry, // in a direct conversation both decide how long messages last
        Kind::Group => role != MemberRole::Member,
    };
    if !allowed {
        return Ok(ConversationChangeOutcome::NotAllowed);
    }
    let blockers = contacts::blockers_in(c, id)?;
    if blockers.contains(&by) {
        return Ok(ConversationChangeOutcome::NotReachable);
    }
    if blockers.is_empty() {
        let (view, system_messages) = apply_settings(c, old, by, new, now)?;
        return Ok(ConversationChangeOutcome::Done(view, system_messages));
    }
    let last_seq = old.last_seq;
    let (mut view, _) = contacts::simulate(c, |c| apply_settings(c, old, by, new, now))?;
    view.conversation.last_seq = last_seq;
    Ok(ConversationChangeOutcome::ShadowBlocked(view))
}

/// Stores settings; returns the conversation after it and the system messages.
fn apply_settings(
    c: &mut Conn,
    old: ConversationRow,
    by: UserId,
    new: GroupSettingsPatch,
    now: Timestamp,
) -> QueryResult<(ConversationWithMembers, Vec<MessageRow>)> {
    let id = old.id;
    let title = new.title.or_else(|| old.title.clone());
    let mut events = Vec::new();
    if title != old.title {
        events.push(SystemEventRow {
            title: title.clone(),
            ..SystemEventRow::new(SystemEventKind::Renamed)
        });
    }
    let expires_in = new.expires_in.unwrap_or(old.expires_in);
    let settings = (
        expires_in,
        new.history.unwrap_or(old.history),
        new.who_writes.unwrap_or(old.who_writes),
        new.who_adds.unwrap_or(old.who_adds),
    );
    if settings != (old.expires_in, old.history, old.who_writes, old.who_adds) {
        events.push(SystemEventRow::new(SystemEventKind::Settings));
    }
    let mut system_messages = Vec::new();
    for event in events {
        system_messages.extend(messages::append_system_event(c, id, by, &event, now)?);
    }
    let conversation = diesel::update(conversations::table.find(Sql(id)))
        .set((
            conversations::title.eq(title),
            conversations::expires_in.eq(settings.0),
            conversations::history.eq(settings.1),
            conversations::who_writes.eq(settings.2),
            conversations::who_adds.eq(settings.3),
            conversations::updated_at.eq(Sql(now)),
        ))
        .returning(ConversationRow::as_returning())
        .get_result(c)?;
    Ok((chat::with_members(c, conversation)?, system_messages))
}

pub(crate) fn add_member(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
    user: UserId,
    rule: InvitationRule,
    now: Timestamp,
) -> QueryResult<ConversationChangeOutcome> {
    let Some((conversation, own_role)) = lock_for_update(c, id, by)? else {
        return Ok(ConversationChangeOutcome::NotFound);
    };
    if conversation.kind == Kind::Direct || !conversation.who_adds.admits(own_role) {
        return Ok(ConversationChangeOutcome::NotAllowed);
    }
    if role(c, id, user)?.is_some() {
        return Ok(ConversationChangeOutcome::Done(
            chat::with_members(c, conversation)?,
            Vec::new(),
        ));
    }
    if !user_admin::lock_user(c, user)? {
        return Ok(ConversationChangeOutcome::UserNotFound);
    }
    if !contacts::can_invite(c, by, &[user], rule)? {
        return Ok(ConversationChangeOutcome::NotReachable);
    }
    chat::add_members(c, &conversation, &[user], MemberRole::Member, now)?;
    finish_change(c, id, by, vec![SystemEventRow::about_user(SystemEventKind::Added, user)], now)
}

pub(crate) fn remove_member(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
    user: UserId,
    now: Timestamp,
) -> QueryResult<ConversationChangeOutcome> {
    let Some((conversation, own_role)) = lock_for_update(c, id, by)? else {
        return Ok(ConversationChangeOutcome::NotFound);
    };
    if conversation.kind == Kind::Direct {
        return Ok(ConversationChangeOutcome::NotAllowed);
    }
    let Some(target_role) = role(c, id, user)? else {
        return Ok(ConversationChangeOutcome::NotFound);
    };
    let allowed = match own_role {
        MemberRole::Owner => true,
        MemberRole::Admin => by == user || target_role == MemberRole::Member,
        MemberRole::Member => by == user,
    };
    if !allowed {
        return Ok(ConversationChangeOutcome::NotAllowed);
    }
    diesel::delete(members::table.find((Sql(id), Sql(user)))).execute(c)?;
    let mut events = vec![if by == user {
        SystemEventRow::new(SystemEventKind::Left)
    } else {
        SystemEventRow::about_user(SystemEventKind::Removed, user)
    }];
    if target_role == MemberRole::Owner
        && let Some(successor) = find_successor(c, id)?
    {
        set_role(c, id, successor, MemberRole::Owner)?;
        events.push(role_changed(successor, MemberRole::Owner));
    }
    finish_change(c, id, by, events, now)
}

fn role_changed(user: UserId, role: MemberRole) -> SystemEventRow {
    SystemEventRow { role: Some(role), ..SystemEventRow::about_user(SystemEventKind::Role, user) }
}

/// The owner of a group after its owner left: the earliest admin, or else the earliest member.
fn find_successor(c: &mut Conn, id: ConversationId) -> QueryResult<Option<UserId>> {
    let remaining: Vec<(UserId, MemberRole)> = members::table
        .filter(members::conversation_id.eq(Sql(id)))
        .order((members::joined_at, members::user_id))
        .select((members::user_id, members::role))
        .load(c)?;
    let admin = remaining.iter().find(|(_, role)| *role == MemberRole::Admin);
    Ok(admin.or(remaining.first()).map(|(user, _)| *user))
}

pub(crate) fn set_member_role(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
    user: UserId,
    new: MemberRole,
    now: Timestamp,
) -> QueryResult<ConversationChangeOutcome> {
    let Some((conversation, own_role)) = lock_for_update(c, id, by)? else {
        return Ok(ConversationChangeOutcome::NotFound);
    };
    if conversation.kind == Kind::Direct || own_role != MemberRole::Owner {
        return Ok(ConversationChangeOutcome::NotAllowed);
    }
    let Some(old) = role(c, id, user)? else { return Ok(ConversationChangeOutcome::NotFound) };
    if old == new {
        return Ok(ConversationChangeOutcome::Done(
            chat::with_members(c, conversation)?,
            Vec::new(),
        ));
    }
    if by == user {
        // An owner stops being one by making somebody else the owner, or by leaving.
        return Ok(ConversationChangeOutcome::NotAllowed);
    }
    if new == MemberRole::Owner {
        set_role(c, id, by, MemberRole::Admin)?;
    }
    set_role(c, id, user, new)?;
    finish_change(c, id, by, vec![role_changed(user, new)], now)
}
