//! What people do to messages: each change takes the next number under the conversation's row.

use base::clock::Timestamp;
use base::ids::{ConversationId, UserId};
use diesel::prelude::*;
use serde_json::json;

use super::super::{Conn, contacts, search};
use super::{erase, is_visible, read, strangers};
use crate::rows::{
    Encryption, Kind, MemberRole, MessageAction, MessageActionLimits, MessageActionOutcome,
    MessageActionRequest, MessageRow,
};
use crate::schema::{conversations, hidden_messages, members, message_edits, messages, reactions};
use crate::types::Sql;

/// A conversation that is held, and whoever changes something in it.
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
    /// In a conversation of two both are equal.
    fn governs(&self) -> bool {
        self.kind == Kind::Direct || self.role != MemberRole::Member
    }
}

/// What a step came to, if not to a change of the message.
enum UpdateStep {
    /// The message changed, or will.
    Change,
    /// There is nothing to change.
    Same,
    /// It may not be.
    Refuse(Box<MessageActionOutcome>),
}

pub(crate) fn alter(
    c: &mut Conn,
    id: ConversationId,
    MessageActionRequest { by, message: target, deed }: MessageActionRequest,
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
    let Some((roster, kind, encryption, low, high)) = held!(row).first::<Row>(c).optional()? else {
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
    let taking = matches!(deed, MessageAction::Delete | MessageAction::Hide);
    if message.deleted_at.is_some() && !taking {
        return Ok(MessageActionOutcome::NotFound);
    }
    let scene = LockedConversationScope { id, roster, kind, encryption, by, role, now };
    if let (Some(pair), false) = (low.zip(high), taking) {
        let blockers = contacts::blockers(c, pair)?;
        if blockers.contains(&by) {
            return Ok(MessageActionOutcome::Blocked);
        }
        if !blockers.is_empty() && message.withheld_from.is_none() {
            return pretend(c, &scene, pair, |c| apply(c, &scene, message, deed, limits));
        }
    }
    apply(c, &scene, message, deed, limits)
}

/// Whoever is blocked is not to notice, nor to be noticed: it looks done to whoever asks, and all
/// that happens is that the number of a change passes.
fn pretend(
    c: &mut Conn,
    scene: &LockedConversationScope,
    pair: (UserId, UserId),
    deed: impl FnOnce(&mut Conn) -> QueryResult<MessageActionOutcome>,
) -> QueryResult<MessageActionOutcome> {
    let altered = contacts::for_show(c, deed)?;
    let MessageActionOutcome::Done { roster, shown, .. } = altered else { return Ok(altered) };
    let revision = next(c, scene.id, 1)?;
    Ok(MessageActionOutcome::Done { roster, revision, shown, unseen: vec![pair.0, pair.1] })
}

fn apply(
    c: &mut Conn,
    scene: &LockedConversationScope,
    message: MessageRow,
    deed: MessageAction,
    limits: MessageActionLimits,
) -> QueryResult<MessageActionOutcome> {
    let step = match &deed {
        MessageAction::Edit { body, mentions } => {
            may_edit(c, scene, &message, body, mentions, limits)?
        }
        MessageAction::React(emoji) => react(c, scene, &message, emoji, limits)?,
        MessageAction::Unreact(emoji) => {
            let key = (Sql(message.id), Sql(scene.by), emoji);
            let gone = diesel::delete(reactions::table.find(key)).execute(c)?;
            if gone == 1 { UpdateStep::Change } else { UpdateStep::Same }
        }
        MessageAction::Pin => may_pin(c, scene, &message, limits)?,
        MessageAction::Unpin if !scene.governs() => refuse(MessageActionOutcome::NotAllowed),
        MessageAction::Unpin if message.pinned_at.is_none() => UpdateStep::Same,
        MessageAction::Unpin | MessageAction::Hide => UpdateStep::Change,
        MessageAction::Delete => may_delete(scene, &message, limits),
    };
    match step {
        UpdateStep::Refuse(refusal) => return Ok(*refusal),
        UpdateStep::Same => return same(c, message, scene.now),
        UpdateStep::Change => {}
    }
    let revision = next(c, scene.id, 1)?;
    let message = write(c, scene, message, deed, revision)?;
    let unseen = read::unseen(c, &message)?;
    let shown = read::complete(c, vec![message], scene.now)?.pop();
    Ok(shown.map_or(MessageActionOutcome::NotFound, |shown| MessageActionOutcome::Done {
        roster: scene.roster,
        revision,
        shown,
        unseen,
    }))
}

fn same(c: &mut Conn, message: MessageRow, now: Timestamp) -> QueryResult<MessageActionOutcome> {
    let shown = read::complete(c, vec![message], now)?.pop();
    Ok(shown.map_or(MessageActionOutcome::NotFound, MessageActionOutcome::Nothing))
}

fn refuse(refusal: MessageActionOutcome) -> UpdateStep {
    UpdateStep::Refuse(Box::new(refusal))
}

/// The number of the newest of so many changes.
pub(in super::super) fn next(c: &mut Conn, id: ConversationId, by: i64) -> QueryResult<i64> {
    diesel::update(conversations::table.find(Sql(id)))
        .set(conversations::revision.eq(conversations::revision + by))
        .returning(conversations::revision)
        .get_result(c)
}

fn may_edit(
    c: &mut Conn,
    scene: &LockedConversationScope,
    message: &MessageRow,
    body: &str,
    mentions: &Option<Vec<UserId>>,
    limits: MessageActionLimits,
) -> QueryResult<UpdateStep> {
    let own = message.sender_id == scene.by && message.system.is_none();
    if !own || message.forwarded_from.is_some() {
        return Ok(refuse(MessageActionOutcome::NotAllowed));
    }
    if scene.now > message.sent_at + limits.edit {
        return Ok(refuse(MessageActionOutcome::TooLate));
    }
    let named = mentions.iter().flatten().copied().collect();
    if !strangers(c, scene.id, named)?.is_empty() {
        return Ok(refuse(MessageActionOutcome::NoSuchMention));
    }
    if message.body == body && mentions.is_none() {
        return Ok(UpdateStep::Same);
    }
    let edits = message_edits::table.filter(message_edits::message_id.eq(Sql(message.id)));
    if edits.count().get_result::<i64>(c)? >= limits.edits {
        return Ok(refuse(MessageActionOutcome::TooMany));
    }
    Ok(UpdateStep::Change)
}

fn react(
    c: &mut Conn,
    scene: &LockedConversationScope,
    message: &MessageRow,
    emoji: &str,
    limits: MessageActionLimits,
) -> QueryResult<UpdateStep> {
    if message.system.is_some() {
        return Ok(refuse(MessageActionOutcome::NotAllowed));
    }
    let given: Vec<(UserId, String)> = reactions::table
        .filter(reactions::message_id.eq(Sql(message.id)))
        .filter(reactions::user_id.eq(Sql(scene.by)).or(reactions::emoji.eq(emoji)))
        .select((reactions::user_id, reactions::emoji))
        .load(c)?;
    if given.iter().any(|(user, given)| *user == scene.by && given == emoji) {
        return Ok(UpdateStep::Same);
    }
    let each = given.iter().filter(|(user, _)| *user == scene.by).count();
    let known = given.iter().any(|(_, given)| given == emoji);
    let kinds: Vec<String> = reactions::table
        .filter(reactions::message_id.eq(Sql(message.id)))
        .select(reactions::emoji)
        .distinct()
        .load(c)?;
    let kinds = i64::try_from(kinds.len()).unwrap_or(i64::MAX);
    let many = i64::try_from(each).unwrap_or(i64::MAX) >= limits.emoji_each;
    if many || (!known && kinds >= limits.emoji) {
        return Ok(refuse(MessageActionOutcome::TooMany));
    }
    diesel::insert_into(reactions::table)
        .values((
            reactions::message_id.eq(Sql(message.id)),
            reactions::user_id.eq(Sql(scene.by)),
            reactions::emoji.eq(emoji),
            reactions::reacted_at.eq(Sql(scene.now)),
        ))
        .execute(c)?;
    Ok(UpdateStep::Change)
}

fn may_pin(
    c: &mut Conn,
    scene: &LockedConversationScope,
    message: &MessageRow,
    limits: MessageActionLimits,
) -> QueryResult<UpdateStep> {
    if !scene.governs() || message.system.is_some() {
        return Ok(refuse(MessageActionOutcome::NotAllowed));
    }
    if message.pinned_at.is_some() {
        return Ok(UpdateStep::Same);
    }
    let pinned: i64 = messages::table
        .filter(messages::conversation_id.eq(Sql(scene.id)))
        .filter(messages::pinned_at.is_not_null())
        .count()
        .get_result(c)?;
    Ok(if pinned >= limits.pins {
        refuse(MessageActionOutcome::TooMany)
    } else {
        UpdateStep::Change
    })
}

fn may_delete(
    scene: &LockedConversationScope,
    message: &MessageRow,
    limits: MessageActionLimits,
) -> UpdateStep {
    let own = message.sender_id == scene.by;
    let admin = scene.kind == Kind::Group && scene.governs();
    if message.deleted_at.is_some() {
        UpdateStep::Same
    } else if message.system.is_some() || !(own || admin) {
        refuse(MessageActionOutcome::NotAllowed)
    } else if !admin && scene.now > message.sent_at + limits.delete {
        refuse(MessageActionOutcome::TooLate)
    } else {
        UpdateStep::Change
    }
}

/// Writes a change down; the message as it is then.
fn write(
    c: &mut Conn,
    scene: &LockedConversationScope,
    message: MessageRow,
    deed: MessageAction,
    revision: i64,
) -> QueryResult<MessageRow> {
    let now = scene.now;
    let row = messages::table.find(Sql(message.id));
    let number = messages::revision.eq(revision);
    let message = match deed {
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
                    number,
                    messages::body.eq(body),
                    messages::edited_at.eq(Sql(now)),
                    messages::mentions.eq(mentions.map(Sql)),
                ))
                .returning(MessageRow::as_returning())
                .get_result(c)?;
            if scene.encryption == Encryption::None {
                search::index_again(c, &edited)?;
            }
            edited
        }
        MessageAction::React(_) | MessageAction::Unreact(_) => {
            diesel::update(row).set(number).returning(MessageRow::as_returning()).get_result(c)?
        }
        MessageAction::Pin | MessageAction::Unpin => {
            let at = matches!(deed, MessageAction::Pin).then_some(Sql(now));
            diesel::update(row)
                .set((number, messages::pinned_at.eq(at)))
                .returning(MessageRow::as_returning())
                .get_result(c)?
        }
        MessageAction::Delete => erase(c, &[(message.id, revision)], now)?.pop().unwrap_or(message),
        MessageAction::Hide => {
            diesel::insert_into(hidden_messages::table)
                .values((
                    hidden_messages::user_id.eq(Sql(scene.by)),
                    hidden_messages::message_id.eq(Sql(message.id)),
                    hidden_messages::conversation_id.eq(Sql(scene.id)),
                    hidden_messages::revision.eq(revision),
                ))
                .execute(c)?;
            message
        }
    };
    Ok(message.at(now))
}
