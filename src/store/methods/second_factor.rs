//! Second factors, and signing in with them.

use base::clock::Timestamp;
use base::ids::UserId;

use crate::error::Result;
use crate::rows::{NewAudit, SecondFactorProof, SecondFactorRow, SignIn, SignInOutcome};
use crate::store::{Store, read_tx, write_tx};

impl Store {
    /// Signs in a device after its user gave the right password, and consumes the second factor.
    pub async fn sign_in(
        &self,
        new: SignIn,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<SignInOutcome> {
        write_tx!(self, second_factor::sign_in(new, audit, now))
    }

    /// A user's second factor, confirmed or not.
    pub async fn second_factor(&self, user: UserId) -> Result<Option<SecondFactorRow>> {
        read_tx!(self, second_factor::second_factor(user))
    }

    /// Starts the set-up of a second factor, replacing an unconfirmed one; false if one is
    /// confirmed already.
    pub async fn begin_second_factor(
        &self,
        user: UserId,
        sealed: Vec<u8>,
        now: Timestamp,
    ) -> Result<bool> {
        write_tx!(self, second_factor::begin_second_factor(user, sealed, now))
    }

    /// Activates the second factor; the code of `step` is consumed. False if there is no
    /// unconfirmed one with this secret.
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
        write_tx!(self, second_factor::confirm_second_factor(user, sealed, step, codes, audit, now))
    }

    /// Replaces all recovery codes by the hashes of new ones; false if the proof is consumed or
    /// wrong.
    pub async fn replace_recovery_codes(
        &self,
        user: UserId,
        proof: SecondFactorProof,
        codes: Vec<[u8; 32]>,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<bool> {
        write_tx!(self, second_factor::replace_recovery_codes(user, proof, codes, audit, now))
    }

    /// Removes a second factor; false if the proof is consumed or wrong.
    pub async fn remove_second_factor(
        &self,
        user: UserId,
        proof: SecondFactorProof,
        audit: NewAudit,
        now: Timestamp,
    ) -> Result<bool> {
        write_tx!(self, second_factor::remove_second_factor(user, proof, audit, now))
    }

    /// Consumes a proof that no other write depends on; false if it is consumed or wrong.
    pub async fn consume_second_factor(
        &self,
        user: UserId,
        proof: SecondFactorProof,
    ) -> Result<bool> {
        write_tx!(self, second_factor::consume_second_factor(user, proof))
    }
}
