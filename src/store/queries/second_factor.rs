//! Second factors: set up, confirmed, spent once for each code, dropped.

use base::clock::Timestamp;
use base::ids::UserId;
use diesel::prelude::*;

use super::{Conn, audit, sign_in, user_admin};
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
    // Held: a new password, a suspension or the end of the account comes before or after this.
    let person = users::table
        .find(Sql(user))
        .filter(users::suspended_at.is_null())
        .select(users::password_hash);
    let kept: Option<String> = held!(person).first(c).optional()?;
    if kept != Some(new.password_hash) {
        return Ok(SignInOutcome::Refused);
    }
    if is_on(c, user)? {
        let Some(factor) = new.factor else { return Ok(SignInOutcome::FactorMissing) };
        if !spend(c, user, factor)? {
            return Ok(SignInOutcome::FactorRefused);
        }
    }
    let device = sign_in::insert_device(c, &new.device, &new.refresh, now)?;
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
    let left: i64 = recovery_codes::table
        .filter(recovery_codes::user_id.eq(Sql(user)))
        .count()
        .get_result(c)?;
    let recovery_codes = u64::try_from(left).unwrap_or(0);
    Ok(Some(SecondFactorRow { secret, confirmed_at, recovery_codes }))
}

fn is_on(c: &mut Conn, user: UserId) -> QueryResult<bool> {
    let on =
        second_factors::table.find(Sql(user)).filter(second_factors::confirmed_at.is_not_null());
    diesel::select(diesel::dsl::exists(on)).get_result(c)
}

pub(crate) fn spend_factor(
    c: &mut Conn,
    user: UserId,
    factor: SecondFactorProof,
) -> QueryResult<bool> {
    spend(c, user, factor)
}

/// Spends a proof; of two who show the same one, one is told no.
fn spend(c: &mut Conn, user: UserId, factor: SecondFactorProof) -> QueryResult<bool> {
    let spent = match factor {
        SecondFactorProof::Step(step) => {
            let later = second_factors::last_step.is_null().or(second_factors::last_step.lt(step));
            diesel::update(second_factors::table.find(Sql(user)))
                .filter(second_factors::confirmed_at.is_not_null())
                .filter(later)
                .set(second_factors::last_step.eq(step))
                .execute(c)?
        }
        SecondFactorProof::Recovery(hash) => {
            diesel::delete(recovery_codes::table.find((Sql(user), hash.to_vec()))).execute(c)?
        }
    };
    Ok(spent == 1)
}

pub(crate) fn put_second_factor(
    c: &mut Conn,
    user: UserId,
    secret: Vec<u8>,
    now: Timestamp,
) -> QueryResult<bool> {
    if !user_admin::hold(c, user)? || is_on(c, user)? {
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
    if !user_admin::hold(c, user)? {
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
    put_codes(c, user, &codes)?;
    audit::insert(c, &entry, now)?;
    Ok(true)
}

pub(crate) fn replace_recovery_codes(
    c: &mut Conn,
    user: UserId,
    factor: SecondFactorProof,
    codes: Vec<[u8; 32]>,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<bool> {
    if !user_admin::hold(c, user)? || !spend(c, user, factor)? {
        return Ok(false);
    }
    put_codes(c, user, &codes)?;
    audit::insert(c, &entry, now)?;
    Ok(true)
}

pub(crate) fn drop_second_factor(
    c: &mut Conn,
    user: UserId,
    factor: SecondFactorProof,
    entry: NewAudit,
    now: Timestamp,
) -> QueryResult<bool> {
    if !user_admin::hold(c, user)? || !spend(c, user, factor)? {
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

fn put_codes(c: &mut Conn, user: UserId, codes: &[[u8; 32]]) -> QueryResult<()> {
    diesel::delete(recovery_codes::table.filter(recovery_codes::user_id.eq(Sql(user))))
        .execute(c)?;
    for code in codes {
        diesel::insert_into(recovery_codes::table)
            .values((recovery_codes::user_id.eq(Sql(user)), recovery_codes::hash.eq(&code[..])))
            .execute(c)?;
    }
    Ok(())
}
