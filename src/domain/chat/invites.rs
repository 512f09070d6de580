//! Links with which people join a group.

use std::time::Duration;

use base::ids::{ConversationId, InviteId, UserId};
use base::secret::Secret;
use store::JoinOutcome;

use super::{ChatError, ChatService, told, views};
use crate::domain::WithEvents;
use crate::domain::accounts::{Principal, hash};
use crate::protocol::Paginated;
use crate::protocol::chat::ConversationDetail;
use crate::protocol::invites as wire;

/// How long an invite is good if nothing is said, in seconds.
const WEEK: i64 = 7 * 86_400;

impl ChatService {
    /// Makes an invite into a group; its token is shown this once.
    ///
    /// # Errors
    /// [`ChatError::BadInvite`], [`ChatError::NotAllowed`], [`ChatError::NoSuchConversation`], or the
    /// database's.
    pub async fn invite(
        &self,
        me: UserId,
        group: ConversationId,
        new: wire::CreateInvite,
    ) -> Result<wire::CreatedInvite, ChatError> {
        let most = self.config.max_invite_ttl();
        let seconds = new.seconds.map_or(Ok(WEEK.unsigned_abs()), u64::try_from);
        let lasts = Duration::from_secs(seconds.map_err(|_| ChatError::BadInvite)?);
        let lasts = if new.seconds.is_none() { lasts.min(most) } else { lasts };
        let uses_fit = new.uses.is_none_or(|uses| (1..=100_000).contains(&uses));
        if lasts < Duration::from_secs(60) || lasts > most || !uses_fit {
            return Err(ChatError::BadInvite);
        }
        let (now, token) = (self.clock.now(), self.entropy.token());
        let row = store::NewInviteRow {
            id: InviteId::new(),
            hash: hash(&token),
            expires_at: now + lasts,
            uses: new.uses,
        };
        let made = allowed(self.store.create_invite(group, me, row, now).await?)?;
        Ok(wire::CreatedInvite { invite: views::invite(made), token: Secret::new(token) })
    }

    /// The invites of a group that are still good, without their tokens.
    ///
    /// # Errors
    /// [`ChatError::NotAllowed`], [`ChatError::NoSuchConversation`], or the database's.
    pub async fn invites(
        &self,
        me: UserId,
        group: ConversationId,
    ) -> Result<Paginated<wire::InviteView>, ChatError> {
        let rows = allowed(self.store.invites(group, me, self.clock.now()).await?)?;
        Ok(Paginated { items: rows.into_iter().map(views::invite).collect(), next: None })
    }

    /// Takes an invite back.
    ///
    /// # Errors
    /// [`ChatError::NoSuchInvite`], [`ChatError::NotAllowed`], [`ChatError::NoSuchConversation`], or the
    /// database's.
    pub async fn revoke_invite(
        &self,
        me: UserId,
        group: ConversationId,
        invite: InviteId,
    ) -> Result<(), ChatError> {
        let found = allowed(self.store.revoke_invite(group, me, invite).await?)?;
        if found { Ok(()) } else { Err(ChatError::NoSuchInvite) }
    }

    /// Joins a group with the token of an invite.
    ///
    /// # Errors
    /// [`ChatError::NoSuchInvite`], [`ChatError::TooManyMembers`], or the database's.
    pub async fn join(
        &self,
        me: &Principal,
        token: &str,
    ) -> Result<WithEvents<ConversationDetail>, ChatError> {
        let most = self.config.max_members;
        match self.store.join_by_invite(hash(token), me.user, most, self.clock.now()).await? {
            JoinOutcome::Joined(view, said) => Ok(told(view, said)),
            JoinOutcome::AlreadyMember(view) => {
                Ok(WithEvents::without_events(views::conversation(view)))
            }
            JoinOutcome::GroupFull => Err(ChatError::TooManyMembers(most)),
            JoinOutcome::NotFound => Err(ChatError::NoSuchInvite),
        }
    }
}

fn allowed<T>(answer: Option<Option<T>>) -> Result<T, ChatError> {
    answer.ok_or(ChatError::NoSuchConversation)?.ok_or(ChatError::NotAllowed)
}
