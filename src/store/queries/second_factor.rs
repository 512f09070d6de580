//! Second factors: set up, confirmed, each code consumed once, removed.

use base::clock::Timestamp;
use base::ids::UserId;
use diesel::prelude::*;

use super::{Conn, audit, devices, user_admin};
use crate::rows::{NewAudit, SecondFactorProof, SecondFactorRow, SignIn, SignInOutcome};
use crate::schema::{recovery_codes, second_factors, users};
use crate::types::Sql;

pub(crate) fn sign_in(
    c: &mut Conn,
    new: SignIn,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<SignInOutcome> {
    let user = new.device.user_id;
    // Locked: a new password, a suspension or the deletion of the account comes before or after
    // this.
    let query = users::table
        .find(Sql(user))
        .filter(users::suspended_at.is_null())
        .select(users::password_hash);
    let stored_hash: Option<String> = for_update!(query).first(c).optional()?;
    if stored_hash != Some(new.password_hash) {
        return Ok(SignInOutcome::Rejected);
    }
    if is_enabled(c, user)? {
        let Some(proof) = new.second_factor else { return Ok(SignInOutcome::SecondFactorRequired) };
        if !consume(c, user, proof)? {
            return Ok(SignInOutcome::SecondFactorRejected);
        }
    }
    let device = devices::insert_device(c, &new.device, &new.refresh, now)?;
    audit::insert(c, &entry, now)?;
    Ok(SignInOutcome::Done(device))
}

pub(crate) fn second_factor(c: &mut Conn, user: UserId) -> QueryResult<Option<SecondFactorRow>> {
    let found: Option<(Vec<u8>, Option<Timestamp>)> = second_factors::table
        .find(Sql(user))
        .select((second_factors::secret, second_factors::confirmed_at))
        .first(c)
        .optional()?;
    let Some((secret, confirmed_at)) = found else { return Ok(None) };
    let count: i64 = recovery_codes::table
        .filter(recovery_codes::user_id.eq(Sql(user)))
        .count()
        .get_result(c)?;
    let recovery_codes = u64::try_from(count).unwrap_or(0);
    Ok(Some(SecondFactorRow { secret, confirmed_at, recovery_codes }))
}

fn is_enabled(c: &mut Conn, user: UserId) -> QueryResult<bool> {
    let confirmed =
        second_factors::table.find(Sql(user)).filter(second_factors::confirmed_at.is_not_null());
    diesel::select(diesel::dsl::exists(confirmed)).get_result(c)
}

pub(crate) fn consume_second_factor(
    c: &mut Conn,
    user: UserId,
    proof: SecondFactorProof,
) -> QueryResult<bool> {
    consume(c, user, proof)
}

/// Consumes a proof; of two requests with the same proof only one succeeds.
fn consume(c: &mut Conn, user: UserId, proof: SecondFactorProof) -> QueryResult<bool> {
    let count = match proof {
        SecondFactorProof::TotpStep(step) => {
            let is_newer =
                second_factors::last_step.is_null().or(second_factors::last_step.lt(step));
            diesel::update(second_factors::table.find(Sql(user)))
                .filter(second_factors::confirmed_at.is_not_null())
                .filter(is_newer)
                .set(second_factors::last_step.eq(step))
                .execute(c)?
        }
        SecondFactorProof::RecoveryCode(hash) => {
            diesel::delete(recovery_codes::table.find((Sql(user), hash.to_vec()))).execute(c)?
        }
    };
    Ok(count == 1)
}

pub(crate) fn begin_second_factor(
    c: &mut Conn,
    user: UserId,
    secret: Vec<u8>,
    now: Timestamp,
) -> QueryResult<bool> {
    if !user_admin::lock_user(c, user)? || is_enabled(c, user)? {
        return Ok(false);
    }
    diesel::delete(second_factors::table.find(Sql(user))).execute(c)?;
    diesel::insert_into(second_factors::table)
        .values((
            second_factors::user_id.eq(Sql(user)),
            second_factors::secret.eq(secret),
            second_factors::created_at.eq(Sql(now)),
        ))
        .execute(c)?;
    Ok(true)
}

#[expect(clippy::too_many_arguments, reason = "all that one transaction must write")]
pub(crate) fn confirm_second_factor(
    c: &mut Conn,
    user: UserId,
    secret: Vec<u8>,
    step: i64,
    codes: Vec<[u8; 32]>,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<bool> {
    if !user_admin::lock_user(c, user)? {
        return Ok(false);
    }
    let confirmed = diesel::update(second_factors::table.find(Sql(user)))
        .filter(second_factors::confirmed_at.is_null())
        .filter(second_factors::secret.eq(secret))
        .set((second_factors::confirmed_at.eq(Sql(now)), second_factors::last_step.eq(step)))
        .execute(c)?;
    if confirmed == 0 {
        return Ok(false);
    }
    replace_codes(c, user, &codes)?;
    audit::insert(c, &entry, now)?;
    Ok(true)
}

pub(crate) fn replace_recovery_codes(
    c: &mut Conn,
    user: UserId,
    proof: SecondFactorProof,
    codes: Vec<[u8; 32]>,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<bool> {
    if !user_admin::lock_user(c, user)? || !consume(c, user, proof)? {
        return Ok(false);
    }
    replace_codes(c, user, &codes)?;
    audit::insert(c, &entry, now)?;
    Ok(true)
}

pub(crate) fn remove_second_factor(
    c: &mut Conn,
    user: UserId,
    proof: SecondFactorProof,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<bool> {
    if !user_admin::lock_user(c, user)? || !consume(c, user, proof)? {
        return Ok(false);
    }
    remove(c, user)?;
    audit::insert(c, &entry, now)?;
    Ok(true)
}

pub(super) fn remove(c: &mut Conn, user: UserId) -> QueryResult<()> {
    diesel::delete(second_factors::table.find(Sql(user))).execute(c)?;
    diesel::delete(recovery_codes::table.filter(recovery_codes::user_id.eq(Sql(user))))
        .execute(c)?;
    Ok(())
}

fn replace_codes(c: &mut Conn, user: UserId, codes: &[[u8; 32]]) -> QueryResult<()> {
    diesel::delete(recovery_codes::table.filter(recovery_codes::user_id.eq(Sql(user))))
        .execute(c)?;
    for code in codes {
        diesel::insert_into(recovery_codes::table)
            .values((recovery_codes::user_id.eq(Sql(user)), recovery_codes::hash.eq(&code[..])))
            .execute(c)?;
    }
    Ok(())
}
