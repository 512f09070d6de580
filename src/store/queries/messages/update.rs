//! Actions on messages: each change takes the next revision under the conversation's row lock.

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};
use diesel::prelude::*;
use serde_json::json;

use super::super::visible::is_visible;
use super::super::{Conn, contacts, message_index};
use super::revisions::reserve_revisions;
use super::{erase, non_members, read};
use crate::rows::{
    Encryption, Kind, MemberRole, MessageAction, MessageActionLimits, MessageActionOutcome,
    MessageActionRequest, MessageRow,
};
use crate::schema::{conversations, hidden_messages, members, message_edits, messages, reactions};
use crate::types::Sql;

/// A locked conversation and the user who changes something in it.
struct LockedConversationScope {
    id: ConversationId,
    roster: i64,
    kind: Kind,
    encryption: Encryption,
    by: UserId,
    role: MemberRole,
    now: Timestamp,
}

impl LockedConversationScope {
    /// Whether the user may pin; both users of a direct conversation may.
    fn can_moderate(&self) -> bool {
        self.kind == Kind::Direct || self.role != MemberRole::Member
    }
}

/// The result of a validation step.
enum UpdateStep {
    /// The message changed, or will change.
    Change,
    /// There is nothing to change.
    Unchanged,
    /// The action is not allowed.
    Reject(Box<MessageActionOutcome>),
}

pub(crate) fn apply_action(
    c: &mut Conn,
    id: ConversationId,
    MessageActionRequest { by, message: target, action }: MessageActionRequest,
    limits: MessageActionLimits,
    now: Timestamp,
) -> QueryResult<MessageActionOutcome> {
    type Row = (i64, Kind, Encryption, Option<UserId>, Option<UserId>);
    let row = conversations::table.find(Sql(id)).select((
        conversations::roster,
        conversations::kind,
        conversations::encryption,
        conversations::direct_low,
        conversations::direct_high,
    ));
    let Some((roster, kind, encryption, low, high)) =
        for_update!(row).first::<Row>(c).optional()?
    else {
        return Ok(MessageActionOutcome::NotAMember);
    };
    let member: Option<(MemberRole, i64)> = members::table
        .find((Sql(id), Sql(by)))
        .select((members::role, members::visible_seq))
        .first(c)
        .optional()?;
    let Some((role, visible)) = member else { return Ok(MessageActionOutcome::NotAMember) };
    let found: Option<MessageRow> = messages::table
        .find(Sql(target))
        .filter(messages::conversation_id.eq(Sql(id)))
        .filter(messages::seq.gt(visible))
        .filter(is_visible!(by))
        .select(MessageRow::as_select())
        .first(c)
        .optional()?;
    let Some(message) = found.map(|message| message.at(now)) else {
        return Ok(MessageActionOutcome::NotFound);
    };
    let is_removal = matches!(action, MessageAction::Delete | MessageAction::Hide);
    if message.deleted_at.is_some() && !is_removal {
        return Ok(MessageActionOutcome::NotFound);
    }
    let scope = LockedConversationScope { id, roster, kind, encryption, by, role, now };
    if let (Some(pair), false) = (low.zip(high), is_removal) {
        let blockers = contacts::blockers(c, pair)?;
        if blockers.contains(&by) {
            return Ok(MessageActionOutcome::Blocked);
        }
        if !blockers.is_empty() && message.withheld_from.is_none() {
            return simulate(c, &scope, pair, |c| apply(c, &scope, message, action, limits));
        }
    }
    apply(c, &scope, message, action, limits)
}

/// A shadow-blocked user must not notice the block nor be noticed: to them the action looks done,
/// and all that happens is that one revision number is used.
fn simulate(
    c: &mut Conn,
    scope: &LockedConversationScope,
    pair: (UserId, UserId),
    action: impl FnOnce(&mut Conn) -> QueryResult<MessageActionOutcome>,
) -> QueryResult<MessageActionOutcome> {
    let simulated = contacts::simulate(c, action)?;
    let MessageActionOutcome::Done { roster, current, .. } = simulated else {
        return Ok(simulated);
    };
    let revision = reserve_revisions(c, scope.id, 1)?;
    Ok(MessageActionOutcome::Done { roster, revision, current, hidden_from: vec![pair.0, pair.1] })
}

fn apply(
    c: &mut Conn,
    scope: &LockedConversationScope,
    message: MessageRow,
    action: MessageAction,
    limits: MessageActionLimits,
) -> QueryResult<MessageActionOutcome> {
    let step = match &action {
        MessageAction::Edit { body, mentions } => {
            may_edit(c, scope, &message, body, mentions, limits)?
        }
        MessageAction::React(emoji) => react(c, scope, &message, emoji, limits)?,
        MessageAction::Unreact(emoji) => {
            let key = (Sql(message.id), Sql(scope.by), emoji);
            let deleted = diesel::delete(reactions::table.find(key)).execute(c)?;
            if deleted == 1 { UpdateStep::Change } else { UpdateStep::Unchanged }
        }
        MessageAction::Pin => may_pin(c, scope, &message, limits)?,
        MessageAction::Unpin if !scope.can_moderate() => reject(MessageActionOutcome::NotAllowed),
        MessageAction::Unpin if message.pinned_at.is_none() => UpdateStep::Unchanged,
        MessageAction::Unpin | MessageAction::Hide => UpdateStep::Change,
        MessageAction::Delete => may_delete(scope, &message, limits),
    };
    match step {
        UpdateStep::Reject(rejection) => return Ok(*rejection),
        UpdateStep::Unchanged => return unchanged(c, message, scope.now),
        UpdateStep::Change => {}
    }
    let revision = reserve_revisions(c, scope.id, 1)?;
    let message = write_change(c, scope, message, action, revision)?;
    let hidden_from = read::hidden_from(c, &message)?;
    let current = read::complete(c, vec![message], scope.now)?.pop();
    Ok(current.map_or(MessageActionOutcome::NotFound, |current| MessageActionOutcome::Done {
        roster: scope.roster,
        revision,
        current,
        hidden_from,
    }))
}

fn unchanged(
    c: &mut Conn,
    message: MessageRow,
    now: Timestamp,
) -> QueryResult<MessageActionOutcome> {
    let current = read::complete(c, vec![message], now)?.pop();
    Ok(current.map_or(MessageActionOutcome::NotFound, MessageActionOutcome::Unchanged))
}

fn reject(rejection: MessageActionOutcome) -> UpdateStep {
    UpdateStep::Reject(Box::new(rejection))
}

fn may_edit(
    c: &mut Conn,
    scope: &LockedConversationScope,
    message: &MessageRow,
    body: &str,
    mentions: &Option<Vec<UserId>>,
    limits: MessageActionLimits,
) -> QueryResult<UpdateStep> {
    let is_own = message.sender_id == scope.by && message.system.is_none();
    if !is_own || message.forwarded_from.is_some() {
        return Ok(reject(MessageActionOutcome::NotAllowed));
    }
    if scope.now > message.sent_at + limits.edit_window {
        return Ok(reject(MessageActionOutcome::TooLate));
    }
    let mentioned = mentions.iter().flatten().copied().collect();
    if !non_members(c, scope.id, mentioned)?.is_empty() {
        return Ok(reject(MessageActionOutcome::MentionNotFound));
    }
    if message.body == body && mentions.is_none() {
        return Ok(UpdateStep::Unchanged);
    }
    let edits = message_edits::table.filter(message_edits::message_id.eq(Sql(message.id)));
    if edits.count().get_result::<i64>(c)? >= limits.max_edits {
        return Ok(reject(MessageActionOutcome::EditLimitReached));
    }
    Ok(UpdateStep::Change)
}

fn react(
    c: &mut Conn,
    scope: &LockedConversationScope,
    message: &MessageRow,
    emoji: &str,
    limits: MessageActionLimits,
) -> QueryResult<UpdateStep> {
    if message.system.is_some() {
        return Ok(reject(MessageActionOutcome::NotAllowed));
    }
    let given: Vec<(UserId, String)> = reactions::table
        .filter(reactions::message_id.eq(Sql(message.id)))
        .filter(reactions::user_id.eq(Sql(scope.by)).or(reactions::emoji.eq(emoji)))
        .select((reactions::user_id, reactions::emoji))
        .load(c)?;
    if given.iter().any(|(user, given)| *user == scope.by && given == emoji) {
        return Ok(UpdateStep::Unchanged);
    }
    let own_count = given.iter().filter(|(user, _)| *user == scope.by).count();
    let is_known_emoji = given.iter().any(|(_, given)| given == emoji);
    let emoji_count: Vec<String> = reactions::table
        .filter(reactions::message_id.eq(Sql(message.id)))
        .select(reactions::emoji)
        .distinct()
        .load(c)?;
    let emoji_count = i64::try_from(emoji_count.len()).unwrap_or(i64::MAX);
    if i64::try_from(own_count).unwrap_or(i64::MAX) >= limits.max_emoji_per_user {
        return Ok(reject(MessageActionOutcome::ReactionLimitReached));
    }
    if !is_known_emoji && emoji_count >= limits.max_emoji {
        return Ok(reject(MessageActionOutcome::EmojiLimitReached));
    }
    diesel::insert_into(reactions::table)
        .values((
            reactions::message_id.eq(Sql(message.id)),
            reactions::user_id.eq(Sql(scope.by)),
            reactions::emoji.eq(emoji),
            reactions::reacted_at.eq(Sql(scope.now)),
        ))
        .execute(c)?;
    Ok(UpdateStep::Change)
}

fn may_pin(
    c: &mut Conn,
    scope: &LockedConversationScope,
    message: &MessageRow,
    limits: MessageActionLimits,
) -> QueryResult<UpdateStep> {
    if !scope.can_moderate() || message.system.is_some() {
        return Ok(reject(MessageActionOutcome::NotAllowed));
    }
    if message.pinned_at.is_some() {
        return Ok(UpdateStep::Unchanged);
    }
    let pinned: i64 = messages::table
        .filter(messages::conversation_id.eq(Sql(scope.id)))
        .filter(messages::pinned_at.is_not_null())
        .count()
        .get_result(c)?;
    Ok(if pinned >= limits.max_pins {
        reject(MessageActionOutcome::PinLimitReached)
    } else {
        UpdateStep::Change
    })
}

fn may_delete(
    scope: &LockedConversationScope,
    message: &MessageRow,
    limits: MessageActionLimits,
) -> UpdateStep {
    let is_own = message.sender_id == scope.by;
    let is_admin = scope.kind == Kind::Group && scope.can_moderate();
    if message.deleted_at.is_some() {
        UpdateStep::Unchanged
    } else if message.system.is_some() || !(is_own || is_admin) {
        reject(MessageActionOutcome::NotAllowed)
    } else if !is_admin && scope.now > message.sent_at + limits.delete_window {
        reject(MessageActionOutcome::TooLate)
    } else {
        UpdateStep::Change
    }
}

/// Writes a change; returns the message after it.
fn write_change(
    c: &mut Conn,
    scope: &LockedConversationScope,
    message: MessageRow,
    action: MessageAction,
    revision: i64,
) -> QueryResult<MessageRow> {
    let now = scope.now;
    let row = messages::table.find(Sql(message.id));
    let new_revision = messages::revision.eq(revision);
    let message = match action {
        MessageAction::Edit { body, mentions } => {
            diesel::insert_into(message_edits::table)
                .values((
                    message_edits::message_id.eq(Sql(message.id)),
                    message_edits::revision.eq(revision),
                    message_edits::body.eq(&message.body),
                    message_edits::edited_at.eq(Sql(now)),
                ))
                .execute(c)?;
            let mentions = match mentions {
                Some(people) => (!people.is_empty()).then(|| json!(people)),
                None => message.mentions,
            };
            let edited = diesel::update(row)
                .set((
                    new_revision,
                    messages::body.eq(body),
                    messages::edited_at.eq(Sql(now)),
                    messages::mentions.eq(mentions.map(Sql)),
                ))
                .returning(MessageRow::as_returning())
                .get_result(c)?;
            if scope.encryption == Encryption::None {
                message_index::update(c, &edited)?;
            }
            edited
        }
        MessageAction::React(_) | MessageAction::Unreact(_) => diesel::update(row)
            .set(new_revision)
            .returning(MessageRow::as_returning())
            .get_result(c)?,
        MessageAction::Pin | MessageAction::Unpin => {
            let at = matches!(action, MessageAction::Pin).then_some(Sql(now));
            diesel::update(row)
                .set((new_revision, messages::pinned_at.eq(at)))
                .returning(MessageRow::as_returning())
                .get_result(c)?
        }
        MessageAction::Delete => erase(c, &[(message.id, revision)], now)?.pop().unwrap_or(message),
        MessageAction::Hide => {
            diesel::insert_into(hidden_messages::table)
                .values((
                    hidden_messages::user_id.eq(Sql(scope.by)),
                    hidden_messages::message_id.eq(Sql(message.id)),
                    hidden_messages::conversation_id.eq(Sql(scope.id)),
                    hidden_messages::revision.eq(revision),
                ))
                .execute(c)?;
            message
        }
    };
    Ok(message.at(now))
}
