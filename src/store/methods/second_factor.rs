//! Second factors, and signing in with them.

use base::clock::Timestamp;
use base::ids::UserId;

use crate::error::Result;
use crate::rows::{NewAudit, SecondFactorProof, SecondFactorRow, SignIn, SignInOutcome};
use crate::store::{Store, change, look};

impl Store {
    /// Signs a device in whose person showed the right password, and spends the second factor.
    pub async fn sign_in(
        &self,
        new: SignIn,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<SignInOutcome> {
        change!(self, second_factor::sign_in(new, audit, now))
    }

    /// A person's second factor, confirmed or not.
    pub async fn second_factor(&self, user: UserId) -> Result<Option<SecondFactorRow>> {
        look!(self, second_factor::second_factor(user))
    }

    /// Begins to set up a second factor, anew if one was begun; false if there is one already.
    pub async fn put_second_factor(
        &self,
        user: UserId,
        sealed: Vec<u8>,
        now: Timestamp,
    ) -> Result<bool> {
        change!(self, second_factor::put_second_factor(user, sealed, now))
    }

    /// From now on the second factor must be given; the code of `step` is spent. False if there is
    /// none with this secret to be confirmed.
    #[expect(clippy::too_many_arguments, reason = "all that one transaction must write")]
    pub async fn confirm_second_factor(
        &self,
        user: UserId,
        sealed: Vec<u8>,
        step: i64,
        codes: Vec<[u8; 32]>,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<bool> {
        change!(self, second_factor::confirm_second_factor(user, sealed, step, codes, audit, now))
    }

    /// Makes all recovery codes worthless and keeps the hashes of new ones; false if the proof is
    /// spent or wrong.
    pub async fn replace_recovery_codes(
        &self,
        user: UserId,
        factor: SecondFactorProof,
        codes: Vec<[u8; 32]>,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<bool> {
        change!(self, second_factor::replace_recovery_codes(user, factor, codes, audit, now))
    }

    /// Removes a second factor; false if the proof is spent or wrong.
    pub async fn drop_second_factor(
        &self,
        user: UserId,
        factor: SecondFactorProof,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<bool> {
        change!(self, second_factor::drop_second_factor(user, factor, audit, now))
    }

    /// Spends a proof of which nothing else in the store depends; false if it is spent or wrong.
    pub async fn spend_factor(&self, user: UserId, factor: SecondFactorProof) -> Result<bool> {
        change!(self, second_factor::spend_factor(user, factor))
    }
}
