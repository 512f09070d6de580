//! The second factor: time-based codes (RFC 6238) and recovery codes, each of which works once.

use std::net::IpAddr;
use std::time::Duration;

use base::ids::UserId;
use base::secret::Secret;
use metrics::counter;
use store::{SealedColumn, SecondFactorProof};
use totp_rs::{Builder, Totp};

use super::{AccountError, AccountService, Principal, audit, hash};
use crate::cluster::RateLimit;
use crate::domain::vault::SealContext;
use crate::protocol::accounts as wire;
use crate::telemetry::metrics::SECOND_FACTOR_ATTEMPTS;

/// Codes of 80 random bits: nobody guesses one, so their hashes need no salt.
const RECOVERY_CODES: usize = 10;
const RECOVERY_BYTES: usize = 10;
/// As authenticator apps show it.
const ISSUER: &str = "SecureVOX";

impl AccountService {
    /// Whether the person has a second factor.
    ///
    /// # Errors
    /// The database's.
    pub async fn second_factor(
        &self,
        me: &Principal,
    ) -> Result<wire::SecondFactorStatus, AccountError> {
        let found = self.store.second_factor(me.user).await?;
        let found = found.filter(|found| found.confirmed_at.is_some());
        Ok(wire::SecondFactorStatus {
            enabled: found.is_some(),
            since: found.as_ref().and_then(|found| found.confirmed_at),
            recovery_codes_left: found.map_or(0, |found| found.recovery_codes),
        })
    }

    /// Begins to set up a second factor; it counts once it is confirmed.
    ///
    /// # Errors
    /// [`AccountError::WrongPassword`], [`AccountError::SecondFactorOn`], or the database's.
    pub async fn begin_second_factor(
        &self,
        me: &Principal,
        asked: wire::PasswordConfirmation,
    ) -> Result<wire::TotpSetup, AccountError> {
        self.prove(me, asked.password).await?;
        let secret = self.entropy.bytes::<20>();
        let sealed = self.vault.seal(place(me.user), &secret)?;
        if !self.store.begin_second_factor(me.user, sealed, self.clock.now()).await? {
            return Err(AccountError::SecondFactorOn);
        }
        let totp = totp(&secret, &me.phone)?;
        let url = totp.to_url().map_err(|e| AccountError::Internal(e.to_string()))?;
        let secret = Secret::new(totp.secret().to_base32());
        Ok(wire::TotpSetup { secret, url: Secret::new(url) })
    }

    /// Ends the set-up with a first code: from now on signing in needs one.
    ///
    /// # Errors
    /// [`AccountError::WrongCode`], [`AccountError::NoSecondFactor`], or the database's.
    pub async fn confirm_second_factor(
        &self,
        me: &Principal,
        confirm: wire::TotpCode,
        ip: Option<IpAddr>,
    ) -> Result<wire::RecoveryCodes, AccountError> {
        self.count_code(me.user).await?;
        let kept = self.store.second_factor(me.user).await?.ok_or(AccountError::NoSecondFactor)?;
        if kept.confirmed_at.is_some() {
            return Err(AccountError::SecondFactorOn);
        }
        let step = self.step(me.user, &kept.secret, &plain(&confirm.code))?;
        let (codes, hashes) = self.recovery_codes(me.user);
        let audit = audit(Some(me.user), "second_factor.enabled", me.user.to_string(), ip);
        let now = self.clock.now();
        let done = self.store.confirm_second_factor(me.user, kept.secret, step, hashes, audit, now);
        if done.await? { Ok(codes) } else { Err(AccountError::NoSecondFactor) }
    }

    /// New recovery codes in place of all earlier ones.
    ///
    /// # Errors
    /// [`AccountError::WrongPassword`], [`AccountError::WrongCode`], [`AccountError::NoSecondFactor`], or the database's.
    pub async fn renew_recovery_codes(
        &self,
        me: &Principal,
        proof: wire::Reauthentication,
        ip: Option<IpAddr>,
    ) -> Result<wire::RecoveryCodes, AccountError> {
        let factor = self.prove_both(me, proof).await?.ok_or(AccountError::NoSecondFactor)?;
        let (codes, hashes) = self.recovery_codes(me.user);
        let audit = audit(Some(me.user), "second_factor.codes_renewed", me.user.to_string(), ip);
        let now = self.clock.now();
        let done = self.store.replace_recovery_codes(me.user, factor, hashes, audit, now).await?;
        if done { Ok(codes) } else { Err(AccountError::WrongCode) }
    }

    /// Switches the second factor off.
    ///
    /// # Errors
    /// [`AccountError::WrongPassword`], [`AccountError::WrongCode`], [`AccountError::NoSecondFactor`], or the database's.
    pub async fn drop_second_factor(
        &self,
        me: &Principal,
        proof: wire::Reauthentication,
        ip: Option<IpAddr>,
    ) -> Result<(), AccountError> {
        let factor = self.prove_both(me, proof).await?.ok_or(AccountError::NoSecondFactor)?;
        let audit = audit(Some(me.user), "second_factor.disabled", me.user.to_string(), ip);
        let dropped = self.store.remove_second_factor(me.user, factor, audit, self.clock.now());
        if dropped.await? { Ok(()) } else { Err(AccountError::WrongCode) }
    }

    /// The person's own password, asked for again; gives its hash.
    pub(super) async fn prove(
        &self,
        me: &Principal,
        password: Secret<String>,
    ) -> Result<String, AccountError> {
        let limit = RateLimit::per_minute("password", self.limits.login_per_minute);
        self.cache.take(limit, &me.user.to_string()).await?;
        let kept = self.store.password_hash(me.user).await?.ok_or(AccountError::InvalidToken)?;
        let fits = self.passwords.check(password, Some(kept.clone())).await?;
        if fits { Ok(kept) } else { Err(AccountError::WrongPassword) }
    }

    /// The password and, if there is one, the second factor, which is still to be spent.
    pub(super) async fn prove_both(
        &self,
        me: &Principal,
        proof: wire::Reauthentication,
    ) -> Result<Option<SecondFactorProof>, AccountError> {
        self.prove(me, proof.password).await?;
        let kept = self.store.second_factor(me.user).await?;
        if kept.is_none_or(|kept| kept.confirmed_at.is_none()) {
            return Ok(None);
        }
        let factor = self.factor(me.user, proof.code.as_ref()).await?;
        factor.ok_or(AccountError::WrongCode).map(Some)
    }

    /// What a code proves, if the person has a second factor; whether it was spent before only the
    /// database knows.
    ///
    /// # Errors
    /// [`AccountError::WrongCode`], too many attempts, or the database's.
    pub(super) async fn factor(
        &self,
        user: UserId,
        code: Option<&Secret<String>>,
    ) -> Result<Option<SecondFactorProof>, AccountError> {
        let Some(code) = code else { return Ok(None) };
        let Some(kept) = self.store.second_factor(user).await? else { return Ok(None) };
        if kept.confirmed_at.is_none() {
            return Ok(None);
        }
        self.count_code(user).await?;
        let code = plain(code);
        if code.len() > 8 {
            return Ok(Some(SecondFactorProof::RecoveryCode(recovery_hash(user, &code))));
        }
        self.step(user, &kept.secret, &code).map(|step| Some(SecondFactorProof::TotpStep(step)))
    }

    /// Six digits with a window of three steps are few: what may be tried is counted per person.
    async fn count_code(&self, user: UserId) -> Result<(), AccountError> {
        let burst = self.limits.second_factor_attempts_per_hour;
        let every = Duration::from_hours(1) / burst;
        let limit = RateLimit { name: "second-factor", interval: every, burst };
        self.cache.take(limit, &user.to_string()).await.inspect_err(|_| {
            counter!(SECOND_FACTOR_ATTEMPTS, "outcome" => "too-many").increment(1);
        })?;
        Ok(())
    }

    /// The time step whose code this is.
    fn step(&self, user: UserId, sealed: &[u8], code: &str) -> Result<i64, AccountError> {
        let secret = self.vault.open(place(user), sealed)?;
        let now = u64::try_from(self.clock.now().seconds()).unwrap_or(0);
        let step = totp(secret.expose(), "")?.check(code, now);
        let outcome = if step.is_some() { "right" } else { "wrong" };
        counter!(SECOND_FACTOR_ATTEMPTS, "outcome" => outcome).increment(1);
        step.and_then(|step| i64::try_from(step).ok()).ok_or(AccountError::WrongCode)
    }

    fn recovery_codes(&self, user: UserId) -> (wire::RecoveryCodes, Vec<[u8; 32]>) {
        let make = || {
            let bytes = self.entropy.bytes::<RECOVERY_BYTES>();
            let text = totp_rs::Secret::from(bytes.to_vec()).to_base32().to_lowercase();
            let groups: Vec<_> = text.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
            (recovery_hash(user, &text), Secret::new(groups.join("-")))
        };
        let (hashes, codes) = std::iter::repeat_with(make).take(RECOVERY_CODES).unzip();
        (wire::RecoveryCodes { recovery_codes: codes }, hashes)
    }
}

/// A code without what people put between its digits or letters.
fn plain(code: &Secret<String>) -> String {
    code.expose().chars().filter(|c| !c.is_whitespace() && *c != '-').take(40).collect()
}

fn place(user: UserId) -> SealContext {
    SealContext { column: SealedColumn::SecondFactor, row: *user.uuid().as_bytes() }
}

fn totp(secret: &[u8], account: &str) -> Result<Totp, AccountError> {
    let builder = Builder::new().with_secret(secret).with_issuer(Some(ISSUER));
    let totp = builder.with_account_name(account).build();
    totp.map_err(|e| AccountError::Internal(e.to_string()))
}

/// Bound to the person, so that one code opens one account.
fn recovery_hash(user: UserId, code: &str) -> [u8; 32] {
    hash(&format!("recovery:{user}:{}", code.to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totp_codes_match_rfc_6238_vectors() {
        // RFC 6238 appendix B, the last six of its eight digits.
        let totp = totp(b"12345678901234567890", "").unwrap();
        for (time, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")]
        {
            assert_eq!(totp.check(code, time), Some(time / 30), "{time}");
        }
        assert_eq!(totp.check("287082", 59 + 30), Some(1), "the step before still counts");
        assert_eq!(totp.check("287082", 59 + 61), None);
        assert_eq!(totp.check("287083", 59), None);
    }
}
