//! New passwords: chosen by their owner, or with a link that an administrator gave.

use std::net::IpAddr;

use base::ids::{DeviceId, UserId};
use base::secret::Secret;

use super::{AccountError, AccountService, Principal, audit, hash};
use crate::protocol::accounts as wire;

impl AccountService {
    /// Changes the person's password; gives the other devices, which are signed out.
    ///
    /// # Errors
    /// [`AccountError::WrongPassword`], [`AccountError::BadPassword`], or the database's.
    pub async fn change_password(
        &self,
        me: &Principal,
        change: wire::ChangePassword,
        ip: Option<IpAddr>,
    ) -> Result<Vec<DeviceId>, AccountError> {
        let old = self.prove(me, change.old_password).await?;
        let new = self.hash_new(change.new_password).await?;
        let audit = audit(Some(me.user), "password.changed", me.user.to_string(), ip);
        let now = self.clock.now();
        let ended = self.store.change_password(me.user, old, new, me.device, audit, now).await?;
        let ended = ended.ok_or(AccountError::WrongPassword)?; // another one won
        self.forget_all(&ended).await;
        Ok(ended)
    }

    /// Sets a new password with a link; gives whose it is, who is signed out everywhere.
    ///
    /// # Errors
    /// [`AccountError::InvalidReset`], [`AccountError::BadPassword`], or the database's.
    pub async fn reset_password(
        &self,
        reset: wire::ResetPassword,
        ip: Option<IpAddr>,
    ) -> Result<UserId, AccountError> {
        let link = hash(reset.reset_token.expose());
        // Asked before anything is hashed: guesses should cost us little.
        let user = self.store.reset_link_user(link, self.clock.now()).await?;
        let user = user.ok_or(AccountError::InvalidReset)?;
        let new = self.hash_new(reset.password).await?;
        let audit = audit(Some(user), "password.reset", user.to_string(), ip);
        let ended = self.store.reset_password(link, new, audit, self.clock.now()).await?;
        let ended = ended.ok_or(AccountError::InvalidReset)?;
        self.forget_all(&ended).await;
        Ok(user)
    }

    /// The hash of a password that somebody chose.
    pub(super) async fn hash_new(&self, password: Secret<String>) -> Result<String, AccountError> {
        let least = self.config.password_min_length;
        let text = password.expose();
        if text.chars().count() < least || text.len() > 256 {
            return Err(AccountError::BadPassword(least));
        }
        self.passwords.hash(password).await
    }

    pub(super) async fn forget_all(&self, devices: &[DeviceId]) {
        for device in devices {
            self.forget(*device).await;
        }
    }
}
