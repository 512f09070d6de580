//! Invite links to groups.

use std::time::Duration;

use base::ids::{ConversationId, InviteId, UserId};
use base::secret::Secret;
use store::JoinOutcome;

use super::{ChatError, ChatService, views, with_change_events};
use crate::domain::WithEvents;
use crate::domain::identity::Principal;
use crate::domain::token_hash::hash_token;
use crate::protocol::chat::ConversationDetail;
use crate::protocol::{Paginated, invites as wire};

/// Default validity of an invite, in seconds.
const DEFAULT_INVITE_SECONDS: i64 = 7 * 86_400;

impl ChatService {
    /// Creates an invite to a group. Its token is returned only once.
    ///
    /// # Errors
    /// [`ChatError::InvalidInvite`], [`ChatError::NotAllowed`],
    /// [`ChatError::ConversationNotFound`], or a database error.
    pub async fn invite(
        &self,
        caller: UserId,
        group: ConversationId,
        new: wire::CreateInvite,
    ) -> Result<wire::CreatedInvite, ChatError> {
        let max_validity = self.config.max_invite_ttl();
        let seconds = new.seconds.map_or(Ok(DEFAULT_INVITE_SECONDS.unsigned_abs()), u64::try_from);
        let validity = Duration::from_secs(seconds.map_err(|_| ChatError::InvalidInvite)?);
        let validity = if new.seconds.is_none() { validity.min(max_validity) } else { validity };
        let uses_valid = new.uses.is_none_or(|uses| (1..=100_000).contains(&uses));
        if validity < Duration::from_secs(60) || validity > max_validity || !uses_valid {
            return Err(ChatError::InvalidInvite);
        }
        let (now, token) = (self.clock.now(), self.entropy.token());
        let row = store::NewInviteRow {
            id: InviteId::new(),
            hash: hash_token(&token),
            expires_at: now + validity,
            uses: new.uses,
        };
        let created = check_permission(self.store.create_invite(group, caller, row, now).await?)?;
        Ok(wire::CreatedInvite { invite: views::invite(created), token: Secret::new(token) })
    }

    /// The valid invites of a group, without their tokens.
    ///
    /// # Errors
    /// [`ChatError::NotAllowed`], [`ChatError::ConversationNotFound`], or a database error.
    pub async fn invites(
        &self,
        caller: UserId,
        group: ConversationId,
    ) -> Result<Paginated<wire::InviteView>, ChatError> {
        let rows = check_permission(self.store.invites(group, caller, self.clock.now()).await?)?;
        Ok(Paginated { items: rows.into_iter().map(views::invite).collect(), next: None })
    }

    /// Revokes an invite.
    ///
    /// # Errors
    /// [`ChatError::InviteNotFound`], [`ChatError::NotAllowed`],
    /// [`ChatError::ConversationNotFound`], or a database error.
    pub async fn revoke_invite(
        &self,
        caller: UserId,
        group: ConversationId,
        invite: InviteId,
    ) -> Result<(), ChatError> {
        let found = check_permission(self.store.revoke_invite(group, caller, invite).await?)?;
        if found { Ok(()) } else { Err(ChatError::InviteNotFound) }
    }

    /// Joins a group with the token of an invite.
    ///
    /// # Errors
    /// [`ChatError::InviteNotFound`], [`ChatError::MemberLimitReached`], or a database error.
    pub async fn join(
        &self,
        principal: &Principal,
        token: &str,
    ) -> Result<WithEvents<ConversationDetail>, ChatError> {
        let max_members = self.config.max_members;
        match self
            .store
            .join_by_invite(hash_token(token), principal.user, max_members, self.clock.now())
            .await?
        {
            JoinOutcome::Joined(view, system_messages) => {
                Ok(with_change_events(view, system_messages))
            }
            JoinOutcome::AlreadyMember(view) => {
                Ok(WithEvents::without_events(views::conversation(view)))
            }
            JoinOutcome::GroupFull => Err(ChatError::MemberLimitReached(max_members)),
            JoinOutcome::NotFound => Err(ChatError::InviteNotFound),
        }
    }
}

fn check_permission<T>(result: Option<Option<T>>) -> Result<T, ChatError> {
    result.ok_or(ChatError::ConversationNotFound)?.ok_or(ChatError::NotAllowed)
}
