//! New passwords: chosen by their owner, or set with a reset link from an administrator.

use std::net::IpAddr;

use base::ids::{DeviceId, UserId};
use base::secret::Secret;

use super::{AccountError, AccountService, audit};
use crate::domain::identity::Principal;
use crate::domain::token_hash::hash_token;
use crate::protocol::accounts as wire;

impl AccountService {
    /// Changes the caller's password. Returns the other devices, which are signed out.
    ///
    /// # Errors
    /// [`AccountError::PasswordIncorrect`], [`AccountError::InvalidPassword`], or a database error.
    pub async fn change_password(
        &self,
        principal: &Principal,
        change: wire::ChangePassword,
        ip: Option<IpAddr>,
    ) -> Result<Vec<DeviceId>, AccountError> {
        let old_hash = self.verify_password(principal, change.old_password).await?;
        let new_hash = self.hash_new(change.new_password).await?;
        let audit = audit(Some(principal.user), "password.changed", principal.user.to_string(), ip);
        let now = self.clock.now();
        let signed_out = self
            .store
            .change_password(principal.user, old_hash, new_hash, principal.device, audit, now)
            .await?;
        // Another change was faster.
        let signed_out = signed_out.ok_or(AccountError::PasswordIncorrect)?;
        self.evict_identities(&signed_out).await;
        Ok(signed_out)
    }

    /// Sets a new password with a reset link. Returns the user, whose devices are all signed out.
    ///
    /// # Errors
    /// [`AccountError::InvalidResetLink`], [`AccountError::InvalidPassword`], or a database error.
    pub async fn reset_password(
        &self,
        reset: wire::ResetPassword,
        ip: Option<IpAddr>,
    ) -> Result<UserId, AccountError> {
        let link = hash_token(reset.reset_token.expose());
        // Checked before the new password is hashed, so that guesses are cheap for the server.
        let user = self.store.reset_link_user(link, self.clock.now()).await?;
        let user = user.ok_or(AccountError::InvalidResetLink)?;
        let new_hash = self.hash_new(reset.password).await?;
        let audit = audit(Some(user), "password.reset", user.to_string(), ip);
        let signed_out = self.store.reset_password(link, new_hash, audit, self.clock.now()).await?;
        let signed_out = signed_out.ok_or(AccountError::InvalidResetLink)?;
        self.evict_identities(&signed_out).await;
        Ok(user)
    }

    /// Validates and hashes a new password.
    pub(super) async fn hash_new(&self, password: Secret<String>) -> Result<String, AccountError> {
        let min_chars = self.config.password_min_length;
        let text = password.expose();
        if text.chars().count() < min_chars || text.len() > 256 {
            return Err(AccountError::InvalidPassword(min_chars));
        }
        self.passwords.hash(password).await
    }

    pub(super) async fn evict_identities(&self, devices: &[DeviceId]) {
        for device in devices {
            self.evict_identity(*device).await;
        }
    }
}
