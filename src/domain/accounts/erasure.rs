//! Deletion of an account, by its owner or by an administrator.

use base::ids::{JobId, UserId};
use serde_json::json;
use store::{NewAudit, NewJob, UserChangeOutcome};

use super::{AccountError, AccountService, audit};
use crate::config::DeletedMessagePolicy;
use crate::domain::identity::Principal;
use crate::domain::job_kinds::ERASE_JOB_KIND;
use crate::protocol::accounts as wire;

impl AccountService {
    /// Deletes the caller's account. The caller of this method closes their sockets.
    ///
    /// # Errors
    /// [`AccountError::PasswordIncorrect`], [`AccountError::CodeInvalid`],
    /// [`AccountError::LastAdmin`], or a database error.
    pub async fn delete_own_account(
        &self,
        principal: &Principal,
        proof: wire::Reauthentication,
    ) -> Result<(), AccountError> {
        if let Some(factor) = self.reauthenticate(principal, proof).await?
            && !self.store.consume_second_factor(principal.user, factor).await?
        {
            return Err(AccountError::CodeInvalid);
        }
        // The IP address is not recorded: it would be a trace of a deleted user.
        let entry =
            audit(Some(principal.user), "account.deleted", principal.user.to_string(), None);
        self.end_account(principal.user, entry).await
    }

    pub(super) async fn end_account(
        &self,
        user: UserId,
        entry: NewAudit,
    ) -> Result<(), AccountError> {
        let job = NewJob {
            id: JobId::new(),
            kind: ERASE_JOB_KIND.to_owned(),
            user_id: Some(user),
            payload: json!({ "scrub": self.config.deleted_account_messages == DeletedMessagePolicy::Remove }),
        };
        let change = self.store.delete_user(user, job, entry, self.clock.now()).await?;
        self.apply_user_change(change).await
    }

    /// Drops cached identities of devices whose tokens or roles changed.
    pub(super) async fn apply_user_change(
        &self,
        change: UserChangeOutcome,
    ) -> Result<(), AccountError> {
        match change {
            UserChangeOutcome::Done(devices) => {
                self.evict_identities(&devices).await;
                Ok(())
            }
            UserChangeOutcome::UserNotFound => Err(AccountError::UserNotFound),
            UserChangeOutcome::LastAdmin => Err(AccountError::LastAdmin),
        }
    }
}
