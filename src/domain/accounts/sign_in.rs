//! Signing in and out: registration, passwords, refresh tokens and the first administrator.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest;
use base::ids::UserId;
use base::secret::Secret;
use metrics::counter;
use store::{
    FirstAdminOutcome, NewRefresh, RefreshOutcome, RegisterOutcome, Role, SignIn, SignInOutcome,
};

use super::{
    AccessTokenClaims, AccountError, AccountService, ClientInfo, Phone, Principal, audit,
    identity_key, new_device, user_view,
};
use crate::cluster::RateLimit;
use crate::config::RegistrationPolicy;
use crate::protocol::accounts as wire;
use crate::telemetry::metrics::SIGN_INS;

impl AccountService {
    /// Makes an account and signs its first device in.
    ///
    /// # Errors
    /// What is wrong with the request, [`AccountError::PhoneTaken`], [`AccountError::CapReached`], or the
    /// database's.
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
        let (refresh, row) = self.first_refresh(from);
        let audit = audit(Some(user.id), "auth.registered", user.id.to_string(), from.ip);
        let made = self
            .store
            .register(user, device, row, self.config.max_users(), audit, self.clock.now())
            .await?;
        match made {
            RegisterOutcome::Done(user, device) => self.signed_in(&user, &device, refresh),
            RegisterOutcome::PhoneTaken => Err(AccountError::PhoneTaken),
            RegisterOutcome::UserLimitReached => Err(AccountError::CapReached),
        }
    }

    /// Signs a device in. Wrong phone number and wrong password look and take the same.
    ///
    /// # Errors
    /// [`AccountError::InvalidCredentials`], too many attempts, or the database's.
    pub async fn login(
        &self,
        login: wire::Login,
        from: &ClientInfo,
    ) -> Result<wire::SignedIn, AccountError> {
        let phone = Phone::parse(&login.phone, &self.config.default_phone_region);
        let written: String = login.phone.chars().take(40).collect();
        let key = phone.as_ref().map_or(written.as_str(), Phone::as_str);
        self.cache
            .take(RateLimit::per_minute("login-account", self.limits.login_per_minute), key)
            .await?;

        let found = match &phone {
            Ok(phone) => self.store.user_by_phone(phone.as_str()).await?,
            Err(_) => None,
        };
        let (user, hash) = found.map_or((None, None), |(user, hash)| (Some(user), Some(hash)));
        let fits = self.passwords.check(login.password, hash.clone()).await?;
        let user = user.filter(|user| fits && user.suspended_at.is_none());
        let (Some(user), Some(password_hash)) = (user, hash) else {
            counter!(SIGN_INS, "outcome" => "refused").increment(1);
            return Err(AccountError::InvalidCredentials);
        };
        // Only whoever knows the password learns that there is a second factor.
        let factor = match self.factor(user.id, login.code.as_ref()).await {
            Err(AccountError::WrongCode) => return self.factor_refused(user.id, from).await,
            factor => factor?,
        };
        let device = new_device(user.id, login.device, from)?;
        let (refresh_token, refresh) = self.first_refresh(from);
        let audit = audit(Some(user.id), "auth.signed_in", device.id.to_string(), from.ip);
        let new = SignIn { device, refresh, password_hash, second_factor: factor };
        match self.store.sign_in(new, audit, self.clock.now()).await? {
            SignInOutcome::Done(device) => {
                counter!(SIGN_INS, "outcome" => "done").increment(1);
                self.signed_in(&user, &device, refresh_token)
            }
            SignInOutcome::Rejected => {
                counter!(SIGN_INS, "outcome" => "refused").increment(1);
                Err(AccountError::InvalidCredentials)
            }
            SignInOutcome::SecondFactorRequired => {
                counter!(SIGN_INS, "outcome" => "second-factor-required").increment(1);
                Err(AccountError::SecondFactorRequired)
            }
            SignInOutcome::SecondFactorRejected => self.factor_refused(user.id, from).await,
        }
    }

    /// Somebody knows the password and not the code: its owner should see that.
    async fn factor_refused<T>(&self, user: UserId, from: &ClientInfo) -> Result<T, AccountError> {
        counter!(SIGN_INS, "outcome" => "second-factor-refused").increment(1);
        let entry = audit(None, "auth.second_factor_refused", user.to_string(), from.ip);
        self.store.record_audit(entry, self.clock.now()).await?;
        Err(AccountError::SecondFactorRefused)
    }

    /// Exchanges a refresh token. The successor is derived from the token, so a client that lost
    /// our answer, or asked twice at once, is given the same one again for a short while.
    ///
    /// # Errors
    /// [`AccountError::InvalidRefresh`]; [`AccountError::RefreshReused`] after which the device is signed out.
    pub async fn refresh(
        &self,
        old: &Secret<String>,
        from: &ClientInfo,
    ) -> Result<wire::SignedIn, AccountError> {
        let successor = self.keys.successor(old.expose());
        let row = self.refresh_row(&successor, from);
        let grace = self.config.refresh_reuse_grace();
        match self.store.rotate_refresh(hash(old.expose()), row, grace, self.clock.now()).await? {
            RefreshOutcome::Rotated(user, device) | RefreshOutcome::Repeated(user, device) => {
                self.signed_in(&user, &device, Secret::new(successor))
            }
            RefreshOutcome::Reused { user_id, device_id } => {
                tracing::warn!(user.id = %user_id, device.id = %device_id, "refresh token reused");
                counter!(SIGN_INS, "outcome" => "reused").increment(1);
                let _ = self.cache.remove(&identity_key(device_id)).await; // ends by itself
                Err(AccountError::RefreshReused { user: user_id, device: device_id })
            }
            RefreshOutcome::Unknown => Err(AccountError::InvalidRefresh),
        }
    }

    /// Signs the asking device out.
    ///
    /// # Errors
    /// The database's.
    pub async fn logout(&self, me: &Principal, ip: Option<IpAddr>) -> Result<(), AccountError> {
        self.remove_device(me, me.device, ip).await
    }

    /// A fresh one-time link for the first administrator; `None` if there is one already.
    ///
    /// # Errors
    /// The database's.
    pub async fn setup_token(&self) -> Result<Option<Secret<String>>, AccountError> {
        if self.store.has_admin().await? {
            return Ok(None);
        }
        let token = self.entropy.token();
        let now = self.clock.now();
        let ends = now + Duration::from_secs(self.config.setup_link_ttl_hours * 3600);
        self.store.create_setup_link(hash(&token), ends, now).await?;
        Ok(Some(Secret::new(token)))
    }

    /// Makes the first administrator; the link works once.
    ///
    /// # Errors
    /// [`AccountError::InvalidSetUp`], or as in registration.
    pub async fn set_up(
        &self,
        new: wire::SetupAdmin,
        from: &ClientInfo,
    ) -> Result<wire::SignedIn, AccountError> {
        let user = self.new_user(&new.phone, &new.name, new.password, Role::Admin).await?;
        let device = new_device(user.id, Some(new.device), from)?;
        let (refresh, row) = self.first_refresh(from);
        let audit = audit(Some(user.id), "auth.first_admin", user.id.to_string(), from.ip);
        let link = hash(new.setup_token.expose());
        let now = self.clock.now();
        match self.store.register_first_admin(link, user, device, row, audit, now).await? {
            FirstAdminOutcome::Done(user, device) => self.signed_in(&user, &device, refresh),
            FirstAdminOutcome::LinkNotFound => Err(AccountError::InvalidSetUp),
            FirstAdminOutcome::PhoneTaken => Err(AccountError::PhoneTaken),
        }
    }

    fn first_refresh(&self, from: &ClientInfo) -> (Secret<String>, NewRefresh) {
        let token = self.entropy.token();
        let row = self.refresh_row(&token, from);
        (Secret::new(token), row)
    }

    fn refresh_row(&self, token: &str, from: &ClientInfo) -> NewRefresh {
        let expires_at = self.clock.now() + self.config.refresh_token_ttl();
        NewRefresh { hash: hash(token), expires_at, ip: from.ip.map(|ip| ip.to_string()) }
    }

    fn signed_in(
        &self,
        user: &store::UserRow,
        device: &store::DeviceRow,
        refresh_token: Secret<String>,
    ) -> Result<wire::SignedIn, AccountError> {
        let bearer = AccessTokenClaims { user: user.id, device: device.id };
        Ok(wire::SignedIn {
            user: user_view(user),
            device: wire::DeviceSummary { id: device.id },
            access_token: self.keys.sign(bearer, self.config.access_token_ttl())?,
            refresh_token,
            token_type: "Bearer",
            expires_in: self.config.access_token_ttl_seconds,
        })
    }
}

/// What the store keeps of a token: SHA-256, since a token of 256 random bits needs no salt.
pub(crate) fn hash(token: &str) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    out
}
