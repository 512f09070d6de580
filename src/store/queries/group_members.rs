//! Changes to a conversation: its title, who is in it, and what they may do.

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};
use diesel::prelude::*;

use super::{Conn, chat, contacts, messages, user_admin};
use crate::rows::{
    ConversationChangeOutcome, ConversationRow, ConversationWithMembers, GroupSettingsPatch,
    Happened, InvitationRule, Kind, MemberRole, MessageRow, SystemEventRow,
};
use crate::schema::{conversations, members};
use crate::types::Sql;

/// A conversation that is held until the transaction ends, and what the asker is in it.
fn lock_for_update(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
) -> QueryResult<Option<(ConversationRow, MemberRole)>> {
    let query = conversations::table.find(Sql(id)).select(ConversationRow::as_select());
    let Some(conversation) = held!(query).first(c).optional()? else { return Ok(None) };
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

/// The conversation after a change of who is in it or what they may do, and what is said of it.
fn changed(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
    what: Vec<SystemEventRow>,
    now: Timestamp,
) -> QueryResult<ConversationChangeOutcome> {
    let mut said = Vec::with_capacity(what.len());
    for what in what {
        said.extend(messages::happened(c, id, by, &what, now)?);
    }
    Ok(ConversationChangeOutcome::Done(touch(c, id, now)?, said))
}

/// The conversation, whose roster has changed.
pub(super) fn touch(
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
    chat::view(c, conversation)
}

pub(crate) fn set_up_conversation(
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
        Kind::Direct => only_expiry, // of two, both decide how long words last
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
        let (view, said) = set_up(c, old, by, new, now)?;
        return Ok(ConversationChangeOutcome::Done(view, said));
    }
    let last_seq = old.last_seq;
    let (mut view, _) = contacts::for_show(c, |c| set_up(c, old, by, new, now))?;
    view.conversation.last_seq = last_seq;
    Ok(ConversationChangeOutcome::Unheard(view))
}

/// Writes settings down; gives the conversation then, and what was said of it.
fn set_up(
    c: &mut Conn,
    old: ConversationRow,
    by: UserId,
    new: GroupSettingsPatch,
    now: Timestamp,
) -> QueryResult<(ConversationWithMembers, Vec<MessageRow>)> {
    let id = old.id;
    let title = new.title.or_else(|| old.title.clone());
    let mut what = Vec::new();
    if title != old.title {
        what.push(SystemEventRow {
            title: title.clone(),
            ..SystemEventRow::new(Happened::Renamed)
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
        what.push(SystemEventRow::new(Happened::Settings));
    }
    let mut said = Vec::new();
    for what in what {
        said.extend(messages::happened(c, id, by, &what, now)?);
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
    Ok((chat::view(c, conversation)?, said))
}

pub(crate) fn add_member(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
    user: UserId,
    reach: InvitationRule,
    now: Timestamp,
) -> QueryResult<ConversationChangeOutcome> {
    let Some((conversation, rights)) = lock_for_update(c, id, by)? else {
        return Ok(ConversationChangeOutcome::NotFound);
    };
    if conversation.kind == Kind::Direct || !conversation.who_adds.admits(rights) {
        return Ok(ConversationChangeOutcome::NotAllowed);
    }
    if role(c, id, user)?.is_some() {
        return Ok(ConversationChangeOutcome::Done(chat::view(c, conversation)?, Vec::new()));
    }
    if !user_admin::hold(c, user)? {
        return Ok(ConversationChangeOutcome::NoSuchUser);
    }
    if !contacts::may_reach(c, by, &[user], reach)? {
        return Ok(ConversationChangeOutcome::NotReachable);
    }
    chat::enter(c, &conversation, &[user], MemberRole::Member, now)?;
    changed(c, id, by, vec![SystemEventRow::to(Happened::Added, user)], now)
}

pub(crate) fn remove_member(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
    user: UserId,
    now: Timestamp,
) -> QueryResult<ConversationChangeOutcome> {
    let Some((conversation, rights)) = lock_for_update(c, id, by)? else {
        return Ok(ConversationChangeOutcome::NotFound);
    };
    if conversation.kind == Kind::Direct {
        return Ok(ConversationChangeOutcome::NotAllowed);
    }
    let Some(theirs) = role(c, id, user)? else { return Ok(ConversationChangeOutcome::NotFound) };
    let allowed = match rights {
        MemberRole::Owner => true,
        MemberRole::Admin => by == user || theirs == MemberRole::Member,
        MemberRole::Member => by == user,
    };
    if !allowed {
        return Ok(ConversationChangeOutcome::NotAllowed);
    }
    diesel::delete(members::table.find((Sql(id), Sql(user)))).execute(c)?;
    let mut what = vec![if by == user {
        SystemEventRow::new(Happened::Left)
    } else {
        SystemEventRow::to(Happened::Removed, user)
    }];
    if theirs == MemberRole::Owner
        && let Some(heir) = heir(c, id)?
    {
        set_role(c, id, heir, MemberRole::Owner)?;
        what.push(promoted(heir, MemberRole::Owner));
    }
    changed(c, id, by, what, now)
}

fn promoted(user: UserId, role: MemberRole) -> SystemEventRow {
    SystemEventRow { role: Some(role), ..SystemEventRow::to(Happened::Role, user) }
}

/// Who owns a group after its owner left: the admin who came first, or else the member who did.
fn heir(c: &mut Conn, id: ConversationId) -> QueryResult<Option<UserId>> {
    let rest: Vec<(UserId, MemberRole)> = members::table
        .filter(members::conversation_id.eq(Sql(id)))
        .order((members::joined_at, members::user_id))
        .select((members::user_id, members::role))
        .load(c)?;
    let admin = rest.iter().find(|(_, role)| *role == MemberRole::Admin);
    Ok(admin.or(rest.first()).map(|(user, _)| *user))
}

pub(crate) fn set_member_role(
    c: &mut Conn,
    id: ConversationId,
    by: UserId,
    user: UserId,
    new: MemberRole,
    now: Timestamp,
) -> QueryResult<ConversationChangeOutcome> {
    let Some((conversation, rights)) = lock_for_update(c, id, by)? else {
        return Ok(ConversationChangeOutcome::NotFound);
    };
    if conversation.kind == Kind::Direct || rights != MemberRole::Owner {
        return Ok(ConversationChangeOutcome::NotAllowed);
    }
    let Some(old) = role(c, id, user)? else { return Ok(ConversationChangeOutcome::NotFound) };
    if old == new {
        return Ok(ConversationChangeOutcome::Done(chat::view(c, conversation)?, Vec::new()));
    }
    if by == user {
        // An owner stops being one by making somebody else the owner, or by leaving.
        return Ok(ConversationChangeOutcome::NotAllowed);
    }
    if new == MemberRole::Owner {
        set_role(c, id, by, MemberRole::Admin)?;
    }
    set_role(c, id, user, new)?;
    changed(c, id, by, vec![promoted(user, new)], now)
}
