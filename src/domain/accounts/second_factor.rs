//! The second factor: time-based codes (TOTP, RFC 6238) and recovery codes, each valid once.

use std::net::IpAddr;
use std::time::Duration;

use base::ids::UserId;
use base::secret::Secret;
use metrics::counter;
use store::{SealedColumn, SecondFactorProof};
use totp_rs::{Builder, Totp};

use super::{AccountError, AccountService, audit};
use crate::cluster::RateLimit;
use crate::domain::identity::Principal;
use crate::domain::token_hash::hash_token;
use crate::domain::vault::SealContext;
use crate::protocol::accounts as wire;
use crate::telemetry::metrics::SECOND_FACTOR_ATTEMPTS;

/// Number of recovery codes. Each has 80 random bits, so their hashes need no salt.
const RECOVERY_CODE_COUNT: usize = 10;
const RECOVERY_CODE_BYTES: usize = 10;
/// Issuer name shown by authenticator apps.
const ISSUER: &str = "SecureVOX";

impl AccountService {
    /// State of the caller's second factor.
    ///
    /// # Errors
    /// A database error.
    pub async fn second_factor(
        &self,
        principal: &Principal,
    ) -> Result<wire::SecondFactorStatus, AccountError> {
        let found = self.store.second_factor(principal.user).await?;
        let found = found.filter(|found| found.confirmed_at.is_some());
        Ok(wire::SecondFactorStatus {
            enabled: found.is_some(),
            since: found.as_ref().and_then(|found| found.confirmed_at),
            recovery_codes_left: found.map_or(0, |found| found.recovery_codes),
        })
    }

    /// Starts the setup of a second factor. It is required only after confirmation.
    ///
    /// # Errors
    /// [`AccountError::PasswordIncorrect`], [`AccountError::SecondFactorAlreadyEnabled`], or a
    /// database error.
    pub async fn begin_second_factor(
        &self,
        principal: &Principal,
        confirmation: wire::PasswordConfirmation,
    ) -> Result<wire::TotpSetup, AccountError> {
        self.verify_password(principal, confirmation.password).await?;
        let secret = self.entropy.bytes::<20>();
        let sealed = self.vault.seal(seal_context(principal.user), &secret)?;
        if !self.store.begin_second_factor(principal.user, sealed, self.clock.now()).await? {
            return Err(AccountError::SecondFactorAlreadyEnabled);
        }
        let totp = totp(&secret, &principal.phone)?;
        let url = totp.to_url().map_err(|e| AccountError::Internal(e.to_string()))?;
        let secret = Secret::new(totp.secret().to_base32());
        Ok(wire::TotpSetup { secret, url: Secret::new(url) })
    }

    /// Completes the setup with a first code. From now on signing in requires a code.
    ///
    /// # Errors
    /// [`AccountError::CodeInvalid`], [`AccountError::SecondFactorNotEnabled`], or a database
    /// error.
    pub async fn confirm_second_factor(
        &self,
        principal: &Principal,
        confirm: wire::TotpCode,
        ip: Option<IpAddr>,
    ) -> Result<wire::RecoveryCodes, AccountError> {
        self.take_code_attempt(principal.user).await?;
        let stored = self
            .store
            .second_factor(principal.user)
            .await?
            .ok_or(AccountError::SecondFactorNotEnabled)?;
        if stored.confirmed_at.is_some() {
            return Err(AccountError::SecondFactorAlreadyEnabled);
        }
        let matching_step =
            self.matching_step(principal.user, &stored.secret, &normalize_code(&confirm.code))?;
        let (codes, hashes) = self.recovery_codes(principal.user);
        let audit =
            audit(Some(principal.user), "second_factor.enabled", principal.user.to_string(), ip);
        let now = self.clock.now();
        let done = self.store.confirm_second_factor(
            principal.user,
            stored.secret,
            matching_step,
            hashes,
            audit,
            now,
        );
        if done.await? { Ok(codes) } else { Err(AccountError::SecondFactorNotEnabled) }
    }

    /// Creates new recovery codes, which replace all earlier ones.
    ///
    /// # Errors
    /// [`AccountError::PasswordIncorrect`], [`AccountError::CodeInvalid`],
    /// [`AccountError::SecondFactorNotEnabled`], or a database error.
    pub async fn renew_recovery_codes(
        &self,
        principal: &Principal,
        proof: wire::Reauthentication,
        ip: Option<IpAddr>,
    ) -> Result<wire::RecoveryCodes, AccountError> {
        let factor = self
            .reauthenticate(principal, proof)
            .await?
            .ok_or(AccountError::SecondFactorNotEnabled)?;
        let (codes, hashes) = self.recovery_codes(principal.user);
        let audit = audit(
            Some(principal.user),
            "second_factor.codes_renewed",
            principal.user.to_string(),
            ip,
        );
        let now = self.clock.now();
        let done =
            self.store.replace_recovery_codes(principal.user, factor, hashes, audit, now).await?;
        if done { Ok(codes) } else { Err(AccountError::CodeInvalid) }
    }

    /// Disables the second factor.
    ///
    /// # Errors
    /// [`AccountError::PasswordIncorrect`], [`AccountError::CodeInvalid`],
    /// [`AccountError::SecondFactorNotEnabled`], or a database error.
    pub async fn drop_second_factor(
        &self,
        principal: &Principal,
        proof: wire::Reauthentication,
        ip: Option<IpAddr>,
    ) -> Result<(), AccountError> {
        let factor = self
            .reauthenticate(principal, proof)
            .await?
            .ok_or(AccountError::SecondFactorNotEnabled)?;
        let audit =
            audit(Some(principal.user), "second_factor.disabled", principal.user.to_string(), ip);
        let dropped =
            self.store.remove_second_factor(principal.user, factor, audit, self.clock.now());
        if dropped.await? { Ok(()) } else { Err(AccountError::CodeInvalid) }
    }

    /// Verifies the caller's own password and returns its hash.
    pub(super) async fn verify_password(
        &self,
        principal: &Principal,
        password: Secret<String>,
    ) -> Result<String, AccountError> {
        let limit = RateLimit::per_minute("password", self.limits.login_per_minute);
        self.cache.take(limit, &principal.user.to_string()).await?;
        let stored_hash =
            self.store.password_hash(principal.user).await?.ok_or(AccountError::InvalidToken)?;
        let matches = self.passwords.check(password, Some(stored_hash.clone())).await?;
        if matches { Ok(stored_hash) } else { Err(AccountError::PasswordIncorrect) }
    }

    /// Verifies the password and, if enabled, the code. Returns the proof, which the caller must
    /// consume in the database.
    pub(super) async fn reauthenticate(
        &self,
        principal: &Principal,
        proof: wire::Reauthentication,
    ) -> Result<Option<SecondFactorProof>, AccountError> {
        self.verify_password(principal, proof.password).await?;
        let stored = self.store.second_factor(principal.user).await?;
        if stored.is_none_or(|stored| stored.confirmed_at.is_none()) {
            return Ok(None);
        }
        let proof = self.second_factor_proof(principal.user, proof.code.as_ref()).await?;
        proof.ok_or(AccountError::CodeInvalid).map(Some)
    }

    /// Checks a code. Returns `None` without a code or without an enabled second factor. Whether
    /// the code was used before is checked by the database when it is consumed.
    ///
    /// # Errors
    /// [`AccountError::CodeInvalid`], too many attempts, or a database error.
    pub(super) async fn second_factor_proof(
        &self,
        user: UserId,
        code: Option<&Secret<String>>,
    ) -> Result<Option<SecondFactorProof>, AccountError> {
        let Some(code) = code else { return Ok(None) };
        let Some(stored) = self.store.second_factor(user).await? else { return Ok(None) };
        if stored.confirmed_at.is_none() {
            return Ok(None);
        }
        self.take_code_attempt(user).await?;
        let code = normalize_code(code);
        if code.len() > 8 {
            return Ok(Some(SecondFactorProof::RecoveryCode(recovery_hash(user, &code))));
        }
        self.matching_step(user, &stored.secret, &code)
            .map(|step| Some(SecondFactorProof::TotpStep(step)))
    }

    /// Limits attempts per user: six digits with a window of three time steps are few.
    async fn take_code_attempt(&self, user: UserId) -> Result<(), AccountError> {
        let burst = self.limits.second_factor_attempts_per_hour;
        let every = Duration::from_hours(1) / burst;
        let limit = RateLimit { name: "second-factor", interval: every, burst };
        self.cache.take(limit, &user.to_string()).await.inspect_err(|_| {
            counter!(SECOND_FACTOR_ATTEMPTS, "outcome" => "too-many").increment(1);
        })?;
        Ok(())
    }

    /// Returns the time step whose code this is.
    fn matching_step(&self, user: UserId, sealed: &[u8], code: &str) -> Result<i64, AccountError> {
        let secret = self.vault.open(seal_context(user), sealed)?;
        let now = u64::try_from(self.clock.now().seconds()).unwrap_or(0);
        let step = totp(secret.expose(), "")?.check(code, now);
        let outcome = if step.is_some() { "right" } else { "wrong" };
        counter!(SECOND_FACTOR_ATTEMPTS, "outcome" => outcome).increment(1);
        step.and_then(|step| i64::try_from(step).ok()).ok_or(AccountError::CodeInvalid)
    }

    fn recovery_codes(&self, user: UserId) -> (wire::RecoveryCodes, Vec<[u8; 32]>) {
        let make = || {
            let bytes = self.entropy.bytes::<RECOVERY_CODE_BYTES>();
            let text = totp_rs::Secret::from(bytes.to_vec()).to_base32().to_lowercase();
            let groups: Vec<_> = text.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
            (recovery_hash(user, &text), Secret::new(groups.join("-")))
        };
        let (hashes, codes) = std::iter::repeat_with(make).take(RECOVERY_CODE_COUNT).unzip();
        (wire::RecoveryCodes { recovery_codes: codes }, hashes)
    }
}

/// Removes the separators people put between digits or letters.
fn normalize_code(code: &Secret<String>) -> String {
    code.expose().chars().filter(|c| !c.is_whitespace() && *c != '-').take(40).collect()
}

fn seal_context(user: UserId) -> SealContext {
    SealContext { column: SealedColumn::SecondFactor, row: *user.uuid().as_bytes() }
}

fn totp(secret: &[u8], account: &str) -> Result<Totp, AccountError> {
    let builder = Builder::new().with_secret(secret).with_issuer(Some(ISSUER));
    let totp = builder.with_account_name(account).build();
    totp.map_err(|e| AccountError::Internal(e.to_string()))
}

/// Includes the user id, so that a code is valid for one account only.
fn recovery_hash(user: UserId, code: &str) -> [u8; 32] {
    hash_token(&format!("recovery:{user}:{}", code.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totp_codes_match_rfc_6238_vectors() {
        // RFC 6238 appendix B, the last six of the eight digits.
        let totp = totp(b"12345678901234567890", "").unwrap();
        for (time, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")]
        {
            assert_eq!(totp.check(code, time), Some(time / 30), "{time}");
        }
        assert_eq!(
            totp.check("287082", 59 + 30),
            Some(1),
            "the previous time step is still accepted"
        );
        assert_eq!(totp.check("287082", 59 + 61), None);
        assert_eq!(totp.check("287083", 59), None);
    }
}
