//! The end of an account, by its owner or by an administrator.

use base::ids::{JobId, UserId};
use serde_json::json;
use store::{NewAudit, NewJob, UserChangeOutcome};

use super::{AccountError, AccountService, Principal, audit};
use crate::config::DeletedMessagePolicy;
use crate::domain::erasure::KIND;
use crate::protocol::accounts as wire;

impl AccountService {
    /// Ends the person's account; their sockets are to be closed.
    ///
    /// # Errors
    /// [`AccountError::WrongPassword`], [`AccountError::WrongCode`], [`AccountError::LastAdmin`], or the database's.
    pub async fn delete_me(
        &self,
        me: &Principal,
        proof: wire::Reauthentication,
    ) -> Result<(), AccountError> {
        if let Some(factor) = self.prove_both(me, proof).await?
            && !self.store.consume_second_factor(me.user, factor).await?
        {
            return Err(AccountError::WrongCode);
        }
        // From where is not kept: it would be a trace of somebody who is gone.
        let entry = audit(Some(me.user), "account.deleted", me.user.to_string(), None);
        self.end_account(me.user, entry).await
    }

    pub(super) async fn end_account(
        &self,
        user: UserId,
        entry: NewAudit,
    ) -> Result<(), AccountError> {
        let rest = NewJob {
            id: JobId::new(),
            kind: KIND.to_owned(),
            user_id: Some(user),
            payload: json!({ "scrub": self.config.deleted_account_messages == DeletedMessagePolicy::Remove }),
        };
        let change = self.store.delete_user(user, rest, entry, self.clock.now()).await?;
        self.changed(change).await
    }

    /// What was known of devices whose tokens or rights changed is forgotten.
    pub(super) async fn changed(&self, change: UserChangeOutcome) -> Result<(), AccountError> {
        match change {
            UserChangeOutcome::Done(devices) => {
                self.forget_all(&devices).await;
                Ok(())
            }
            UserChangeOutcome::UserNotFound => Err(AccountError::NoSuchPerson),
            UserChangeOutcome::LastAdmin => Err(AccountError::LastAdmin),
        }
    }
}
