//! Sign-in and sign-out: registration, passwords, refresh tokens and the first administrator.

use std::net::IpAddr;
use std::time::Duration;

use base::ids::UserId;
use base::secret::Secret;
use metrics::counter;
use store::{
    FirstAdminOutcome, NewRefresh, RefreshOutcome, RegisterOutcome, Role, SignIn, SignInOutcome,
};

use super::{
    AccessTokenClaims, AccountError, AccountService, Phone, audit, identity_key, new_device,
    user_view,
};
use crate::cluster::RateLimit;
use crate::config::RegistrationPolicy;
use crate::domain::identity::{ClientInfo, Principal};
use crate::domain::token_hash::hash_token;
use crate::protocol::accounts as wire;
use crate::telemetry::metrics::SIGN_INS;

impl AccountService {
    /// Creates an account and signs its first device in.
    ///
    /// # Errors
    /// Validation errors, [`AccountError::PhoneTaken`], [`AccountError::UserLimitReached`], or a
    /// database error.
    pub async fn register(
        &self,
        new: wire::Register,
        from: &ClientInfo,
    ) -> Result<wire::SignedIn, AccountError> {
        if self.config.registration == RegistrationPolicy::Closed {
            return Err(AccountError::RegistrationClosed);
        }
        let user = self.new_user(&new.phone, &new.name, new.password, Role::User).await?;
        let device = new_device(user.id, Some(new.device), from)?;
        let (refresh, row) = self.new_refresh_token(from);
        let audit = audit(Some(user.id), "auth.registered", user.id.to_string(), from.ip);
        let outcome = self
            .store
            .register(user, device, row, self.config.max_users(), audit, self.clock.now())
            .await?;
        match outcome {
            RegisterOutcome::Done(user, device) => self.sign_in_response(&user, &device, refresh),
            RegisterOutcome::PhoneTaken => Err(AccountError::PhoneTaken),
            RegisterOutcome::UserLimitReached => Err(AccountError::UserLimitReached),
        }
    }

    /// Signs a device in. Wrong phone number and wrong password give the same response after the
    /// same time.
    ///
    /// # Errors
    /// [`AccountError::InvalidCredentials`], too many attempts, or a database error.
    pub async fn login(
        &self,
        login: wire::Login,
        from: &ClientInfo,
    ) -> Result<wire::SignedIn, AccountError> {
        let phone = Phone::parse(&login.phone, &self.config.default_phone_region);
        let raw_phone: String = login.phone.chars().take(40).collect();
        let key = phone.as_ref().map_or(raw_phone.as_str(), Phone::as_str);
        self.cache
            .take(RateLimit::per_minute("login-account", self.limits.login_per_minute), key)
            .await?;

        let found = match &phone {
            Ok(phone) => self.store.user_by_phone(phone.as_str()).await?,
            Err(_) => None,
        };
        let (user, hash) = found.map_or((None, None), |(user, hash)| (Some(user), Some(hash)));
        let matches = self.passwords.check(login.password, hash.clone()).await?;
        let user = user.filter(|user| matches && user.suspended_at.is_none());
        let (Some(user), Some(password_hash)) = (user, hash) else {
            counter!(SIGN_INS, "outcome" => "refused").increment(1);
            return Err(AccountError::InvalidCredentials);
        };
        // Whether there is a second factor is revealed only after the right password.
        let factor = match self.second_factor_proof(user.id, login.code.as_ref()).await {
            Err(AccountError::CodeInvalid) => {
                return self.reject_second_factor(user.id, from).await;
            }
            factor => factor?,
        };
        let device = new_device(user.id, login.device, from)?;
        let (refresh_token, refresh) = self.new_refresh_token(from);
        let audit = audit(Some(user.id), "auth.signed_in", device.id.to_string(), from.ip);
        let new = SignIn { device, refresh, password_hash, second_factor: factor };
        match self.store.sign_in(new, audit, self.clock.now()).await? {
            SignInOutcome::Done(device) => {
                counter!(SIGN_INS, "outcome" => "done").increment(1);
                self.sign_in_response(&user, &device, refresh_token)
            }
            SignInOutcome::Rejected => {
                counter!(SIGN_INS, "outcome" => "refused").increment(1);
                Err(AccountError::InvalidCredentials)
            }
            SignInOutcome::SecondFactorRequired => {
                counter!(SIGN_INS, "outcome" => "second-factor-required").increment(1);
                Err(AccountError::SecondFactorRequired)
            }
            SignInOutcome::SecondFactorRejected => self.reject_second_factor(user.id, from).await,
        }
    }

    /// Records a right password with a wrong code in the audit log, where the owner can see it.
    async fn reject_second_factor<T>(
        &self,
        user: UserId,
        from: &ClientInfo,
    ) -> Result<T, AccountError> {
        counter!(SIGN_INS, "outcome" => "second-factor-refused").increment(1);
        let entry = audit(None, "auth.second_factor_refused", user.to_string(), from.ip);
        self.store.record_audit(entry, self.clock.now()).await?;
        Err(AccountError::SecondFactorInvalid)
    }

    /// Exchanges a refresh token. The successor is derived from the token, so a client that lost
    /// the response, or sent two requests at once, receives the same one within the grace period.
    ///
    /// # Errors
    /// [`AccountError::InvalidRefreshToken`]; [`AccountError::RefreshTokenReused`], after which the
    /// device is signed out.
    pub async fn refresh(
        &self,
        old: &Secret<String>,
        from: &ClientInfo,
    ) -> Result<wire::SignedIn, AccountError> {
        let successor = self.keys.successor(old.expose());
        let row = self.refresh_row(&successor, from);
        let grace = self.config.refresh_reuse_grace();
        match self
            .store
            .rotate_refresh(hash_token(old.expose()), row, grace, self.clock.now())
            .await?
        {
            RefreshOutcome::Rotated(user, device) | RefreshOutcome::Repeated(user, device) => {
                self.sign_in_response(&user, &device, Secret::new(successor))
            }
            RefreshOutcome::Reused { user_id, device_id } => {
                tracing::warn!(user.id = %user_id, device.id = %device_id, "refresh token reused");
                counter!(SIGN_INS, "outcome" => "reused").increment(1);
                // It expires soon by itself.
                let _ = self.cache.remove(&identity_key(device_id)).await;
                Err(AccountError::RefreshTokenReused { user: user_id, device: device_id })
            }
            RefreshOutcome::Unknown => Err(AccountError::InvalidRefreshToken),
        }
    }

    /// Signs the caller's device out.
    ///
    /// # Errors
    /// A database error.
    pub async fn logout(
        &self,
        principal: &Principal,
        ip: Option<IpAddr>,
    ) -> Result<(), AccountError> {
        self.remove_device(principal, principal.device, ip).await
    }

    /// Creates a one-time setup link for the first administrator; `None` if an administrator
    /// exists.
    ///
    /// # Errors
    /// A database error.
    pub async fn setup_token(&self) -> Result<Option<Secret<String>>, AccountError> {
        if self.store.has_admin().await? {
            return Ok(None);
        }
        let token = self.entropy.token();
        let now = self.clock.now();
        let expires_at = now + Duration::from_secs(self.config.setup_link_ttl_hours * 3600);
        self.store.create_setup_link(hash_token(&token), expires_at, now).await?;
        Ok(Some(Secret::new(token)))
    }

    /// Creates the first administrator; the link works once.
    ///
    /// # Errors
    /// [`AccountError::InvalidSetupLink`], or as [`AccountService::register`].
    pub async fn set_up_admin(
        &self,
        new: wire::SetupAdmin,
        from: &ClientInfo,
    ) -> Result<wire::SignedIn, AccountError> {
        let user = self.new_user(&new.phone, &new.name, new.password, Role::Admin).await?;
        let device = new_device(user.id, Some(new.device), from)?;
        let (refresh, row) = self.new_refresh_token(from);
        let audit = audit(Some(user.id), "auth.first_admin", user.id.to_string(), from.ip);
        let link = hash_token(new.setup_token.expose());
        let now = self.clock.now();
        match self.store.register_first_admin(link, user, device, row, audit, now).await? {
            FirstAdminOutcome::Done(user, device) => self.sign_in_response(&user, &device, refresh),
            FirstAdminOutcome::LinkNotFound => Err(AccountError::InvalidSetupLink),
            FirstAdminOutcome::PhoneTaken => Err(AccountError::PhoneTaken),
        }
    }

    fn new_refresh_token(&self, from: &ClientInfo) -> (Secret<String>, NewRefresh) {
        let token = self.entropy.token();
        let row = self.refresh_row(&token, from);
        (Secret::new(token), row)
    }

    fn refresh_row(&self, token: &str, from: &ClientInfo) -> NewRefresh {
        let expires_at = self.clock.now() + self.config.refresh_token_ttl();
        NewRefresh { hash: hash_token(token), expires_at, ip: from.ip.map(|ip| ip.to_string()) }
    }

    fn sign_in_response(
        &self,
        user: &store::UserRow,
        device: &store::DeviceRow,
        refresh_token: Secret<String>,
    ) -> Result<wire::SignedIn, AccountError> {
        let claims = AccessTokenClaims { user: user.id, device: device.id };
        Ok(wire::SignedIn {
            user: user_view(user),
            device: wire::DeviceSummary { id: device.id },
            access_token: self.keys.sign(claims, self.config.access_token_ttl())?,
            refresh_token,
            token_type: "Bearer",
            expires_in: self.config.access_token_ttl_seconds,
        })
    }
}
