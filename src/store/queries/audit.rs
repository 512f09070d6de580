//! The audit log: written in the transaction of the audited action, read newest first.

use base::clock::Timestamp;
use base::ids::AuditId;
use diesel::prelude::*;

use super::Conn;
use crate::rows::{AuditEntry, AuditFilter, NewAudit};
use crate::schema::audit_entries;
use crate::types::Sql;

pub(super) fn insert(c: &mut Conn, entry: &NewAudit, now: Timestamp) -> QueryResult<()> {
    diesel::insert_into(audit_entries::table)
        .values((
            audit_entries::id.eq(Sql(AuditId::new())),
            audit_entries::at.eq(Sql(now)),
            audit_entries::actor.eq(entry.actor.map(Sql)),
            audit_entries::action.eq(&entry.action),
            audit_entries::subject.eq(&entry.subject),
            audit_entries::detail.eq(Sql(entry.detail.clone())),
            audit_entries::ip.eq(entry.ip.as_deref()),
        ))
        .execute(c)?;
    Ok(())
}

pub(crate) fn audit(c: &mut Conn, entry: NewAudit, now: Timestamp) -> QueryResult<()> {
    insert(c, &entry, now)
}

pub(crate) fn audit_page(
    c: &mut Conn,
    filter: AuditFilter,
    before: Option<AuditId>,
    limit: i64,
) -> QueryResult<Vec<AuditEntry>> {
    let mut query = audit_entries::table
        .select(AuditEntry::as_select())
        .order(audit_entries::id.desc())
        .limit(limit)
        .into_boxed();
    if let Some(before) = before {
        query = query.filter(audit_entries::id.lt(Sql(before)));
    }
    if let Some(actor) = filter.actor {
        query = query.filter(audit_entries::actor.eq(Sql(actor)));
    }
    if let Some(subject) = filter.subject {
        query = query.filter(audit_entries::subject.eq(subject));
    }
    if let Some(action) = filter.action {
        query = query.filter(audit_entries::action.eq(action));
    }
    if let Some(user) = filter.about {
        let done_by = audit_entries::actor.is_not_null().and(audit_entries::actor.eq(Sql(user)));
        let done_to = audit_entries::subject.eq(user.to_string());
        query = query.filter(done_by.assume_not_null().or(done_to));
    }
    query.load(c)
}
