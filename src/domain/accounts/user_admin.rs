//! What administrators do with accounts; each deed is on record with who, whom and from where.

use std::net::IpAddr;

use base::ids::{DeviceId, UserId};
use base::page::Page;
use base::secret::Secret;
use serde_json::json;
use store::{NewAudit, Role, UserFilter};

use super::{AccountError, AccountService, Principal, audit, hash};
use crate::protocol::accounts::Devices;
use crate::protocol::user_admin as wire;

/// Who asks, and from where.
#[derive(Clone, Copy, Debug)]
pub struct AuditActor<'a> {
    /// The administrator.
    pub me: &'a Principal,
    /// The address.
    pub ip: Option<IpAddr>,
}

impl AuditActor<'_> {
    fn did(&self, action: &str, whom: UserId) -> NewAudit {
        audit(Some(self.me.user), action, whom.to_string(), self.ip)
    }
}

impl AccountService {
    /// People, who came first comes first.
    ///
    /// # Errors
    /// [`AccountError::BadRole`], or the database's.
    pub async fn people(
        &self,
        query: &wire::PeopleQuery,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Page<wire::UserAdminView>, AccountError> {
        let role = query.role.as_deref().map(parse_role).transpose()?;
        let wanted = query.q.as_deref().map(str::trim).filter(|wanted| !wanted.is_empty());
        let (phone, name) = match wanted {
            Some(number) if number.starts_with('+') => (Some(digits(number)), None),
            other => (None, other.map(str::to_owned)),
        };
        let filter = UserFilter { name, phone, role, suspended: query.suspended, after };
        let rows = self.store.admin_users(filter, limit + 1).await?;
        Ok(Page::from_overfetch(rows, limit, |row| row.id.to_string()).map(view))
    }

    /// One person.
    ///
    /// # Errors
    /// [`AccountError::NoSuchPerson`], or the database's.
    pub async fn person(&self, id: UserId) -> Result<wire::UserAdminView, AccountError> {
        self.store.admin_user(id).await?.map(view).ok_or(AccountError::NoSuchPerson)
    }

    /// A person's signed-in devices.
    ///
    /// # Errors
    /// [`AccountError::NoSuchPerson`], or the database's.
    pub async fn devices_of(
        &self,
        by: AuditActor<'_>,
        id: UserId,
    ) -> Result<Devices, AccountError> {
        self.person(id).await?;
        self.devices(&Principal { user: id, ..by.me.clone() }).await
    }

    /// Keeps a person out; their sockets are to be closed.
    ///
    /// # Errors
    /// [`AccountError::NoSuchPerson`], [`AccountError::LastAdmin`], or the database's.
    pub async fn suspend(&self, by: AuditActor<'_>, id: UserId) -> Result<(), AccountError> {
        let change =
            self.store.suspend_user(id, by.did("user.suspended", id), self.clock.now()).await?;
        self.changed(change).await
    }

    /// Lets a person in again.
    ///
    /// # Errors
    /// [`AccountError::NoSuchPerson`], or the database's.
    pub async fn unsuspend(&self, by: AuditActor<'_>, id: UserId) -> Result<(), AccountError> {
        let entry = by.did("user.unsuspended", id);
        let change = self.store.unsuspend_user(id, entry, self.clock.now()).await?;
        self.changed(change).await
    }

    /// Changes what a person may do.
    ///
    /// # Errors
    /// [`AccountError::BadRole`], [`AccountError::NoSuchPerson`], [`AccountError::LastAdmin`], or the database's.
    pub async fn set_role(
        &self,
        by: AuditActor<'_>,
        id: UserId,
        put: &wire::PutRole,
    ) -> Result<(), AccountError> {
        let role = parse_role(&put.role)?;
        let entry = NewAudit { detail: json!({ "role": role }), ..by.did("user.role_changed", id) };
        let change = self.store.set_user_role(id, role, entry, self.clock.now()).await?;
        self.changed(change).await
    }

    /// Signs all devices of a person out; all their sockets are to be closed.
    ///
    /// # Errors
    /// [`AccountError::NoSuchPerson`], or the database's.
    pub async fn sign_out(&self, by: AuditActor<'_>, id: UserId) -> Result<(), AccountError> {
        let entry = by.did("user.signed_out", id);
        let change = self.store.revoke_all_devices(id, entry, self.clock.now()).await?;
        self.changed(change).await
    }

    /// Signs one device of a person out.
    ///
    /// # Errors
    /// [`AccountError::NoSuchDevice`], or the database's.
    pub async fn sign_out_device(
        &self,
        by: AuditActor<'_>,
        id: UserId,
        device: DeviceId,
    ) -> Result<(), AccountError> {
        let entry = NewAudit {
            detail: json!({ "device_id": device }),
            ..by.did("user.device_signed_out", id)
        };
        let found = self.store.revoke_device(id, device, entry, self.clock.now()).await?;
        self.forget(device).await;
        if found { Ok(()) } else { Err(AccountError::NoSuchDevice) }
    }

    /// A one-time token with which a person chooses a new password.
    ///
    /// # Errors
    /// [`AccountError::NoSuchPerson`], or the database's.
    pub async fn offer_reset(
        &self,
        by: AuditActor<'_>,
        id: UserId,
        new: &wire::CreatePasswordReset,
    ) -> Result<wire::CreatedPasswordReset, AccountError> {
        let token = self.entropy.token();
        let now = self.clock.now();
        let expires_at = now + self.config.password_reset_ttl();
        let drops = new.drop_second_factor;
        let entry = NewAudit {
            detail: json!({ "drop_second_factor": drops }),
            ..by.did("user.reset_offered", id)
        };
        let kept = self.store.create_reset_link(id, hash(&token), drops, expires_at, entry, now);
        if kept.await? {
            Ok(wire::CreatedPasswordReset { reset_token: Secret::new(token), expires_at })
        } else {
            Err(AccountError::NoSuchPerson)
        }
    }

    /// Ends a person's account; their sockets are to be closed.
    ///
    /// # Errors
    /// [`AccountError::NoSuchPerson`], [`AccountError::LastAdmin`], or the database's.
    pub async fn delete_person(&self, by: AuditActor<'_>, id: UserId) -> Result<(), AccountError> {
        self.end_account(id, by.did("user.deleted", id)).await
    }
}

fn parse_role(text: &str) -> Result<Role, AccountError> {
    text.parse().map_err(|_| AccountError::BadRole)
}

/// A beginning of a number as it is kept.
fn digits(number: &str) -> String {
    number.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect()
}

fn view(row: store::UserAdminRow) -> wire::UserAdminView {
    wire::UserAdminView {
        id: row.id,
        phone: row.phone,
        name: row.name,
        role: row.role.to_string(),
        created_at: row.created_at,
        suspended_at: row.suspended_at,
        second_factor: row.second_factor_since.is_some(),
    }
}
