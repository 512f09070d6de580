//! Account administration. Every action is recorded in the audit log with actor, subject and IP
//! address.

use std::net::IpAddr;

use base::ids::{DeviceId, UserId};
use base::page::Page;
use base::secret::Secret;
use serde_json::json;
use store::{NewAudit, Role, UserFilter};

use super::{AccountError, AccountService, audit};
use crate::domain::identity::Principal;
use crate::domain::token_hash::hash_token;
use crate::protocol::accounts::Devices;
use crate::protocol::user_admin as wire;

/// Administrator who acts, for the audit log.
#[derive(Clone, Copy, Debug)]
pub struct AuditActor<'a> {
    /// The authenticated administrator.
    pub principal: &'a Principal,
    /// IP address of the request.
    pub ip: Option<IpAddr>,
}

impl AuditActor<'_> {
    fn audit_entry(&self, action: &str, subject: UserId) -> NewAudit {
        audit(Some(self.principal.user), action, subject.to_string(), self.ip)
    }
}

impl AccountService {
    /// Lists users, earliest registered first.
    ///
    /// # Errors
    /// [`AccountError::InvalidRole`], or a database error.
    pub async fn users(
        &self,
        query: &wire::PeopleQuery,
        after: Option<UserId>,
        limit: usize,
    ) -> Result<Page<wire::UserAdminView>, AccountError> {
        let role = query.role.as_deref().map(parse_role).transpose()?;
        let term = query.q.as_deref().map(str::trim).filter(|term| !term.is_empty());
        let (phone, name) = match term {
            Some(number) if number.starts_with('+') => (Some(normalize_phone_prefix(number)), None),
            other => (None, other.map(str::to_owned)),
        };
        let filter = UserFilter { name, phone, role, suspended: query.suspended, after };
        let rows = self.store.admin_users(filter, limit + 1).await?;
        Ok(Page::from_overfetch(rows, limit, |row| row.id.to_string()).map(view))
    }

    /// Returns one user.
    ///
    /// # Errors
    /// [`AccountError::UserNotFound`], or a database error.
    pub async fn user(&self, id: UserId) -> Result<wire::UserAdminView, AccountError> {
        self.store.admin_user(id).await?.map(view).ok_or(AccountError::UserNotFound)
    }

    /// Lists a user's signed-in devices.
    ///
    /// # Errors
    /// [`AccountError::UserNotFound`], or a database error.
    pub async fn devices_of(
        &self,
        by: AuditActor<'_>,
        id: UserId,
    ) -> Result<Devices, AccountError> {
        self.user(id).await?;
        self.devices(&Principal { user: id, ..by.principal.clone() }).await
    }

    /// Suspends a user. The caller of this method closes their sockets.
    ///
    /// # Errors
    /// [`AccountError::UserNotFound`], [`AccountError::LastAdmin`], or a database error.
    pub async fn suspend(&self, by: AuditActor<'_>, id: UserId) -> Result<(), AccountError> {
        let change = self
            .store
            .suspend_user(id, by.audit_entry("user.suspended", id), self.clock.now())
            .await?;
        self.apply_user_change(change).await
    }

    /// Lifts a suspension.
    ///
    /// # Errors
    /// [`AccountError::UserNotFound`], or a database error.
    pub async fn unsuspend(&self, by: AuditActor<'_>, id: UserId) -> Result<(), AccountError> {
        let entry = by.audit_entry("user.unsuspended", id);
        let change = self.store.unsuspend_user(id, entry, self.clock.now()).await?;
        self.apply_user_change(change).await
    }

    /// Changes a user's server-wide role.
    ///
    /// # Errors
    /// [`AccountError::InvalidRole`], [`AccountError::UserNotFound`], [`AccountError::LastAdmin`],
    /// or a database error.
    pub async fn set_role(
        &self,
        by: AuditActor<'_>,
        id: UserId,
        put: &wire::PutRole,
    ) -> Result<(), AccountError> {
        let role = parse_role(&put.role)?;
        let entry =
            NewAudit { detail: json!({ "role": role }), ..by.audit_entry("user.role_changed", id) };
        let change = self.store.set_user_role(id, role, entry, self.clock.now()).await?;
        self.apply_user_change(change).await
    }

    /// Signs all devices of a user out. The caller of this method closes their sockets.
    ///
    /// # Errors
    /// [`AccountError::UserNotFound`], or a database error.
    pub async fn sign_out(&self, by: AuditActor<'_>, id: UserId) -> Result<(), AccountError> {
        let entry = by.audit_entry("user.signed_out", id);
        let change = self.store.revoke_all_devices(id, entry, self.clock.now()).await?;
        self.apply_user_change(change).await
    }

    /// Signs one device of a user out.
    ///
    /// # Errors
    /// [`AccountError::DeviceNotFound`], or a database error.
    pub async fn sign_out_device(
        &self,
        by: AuditActor<'_>,
        id: UserId,
        device: DeviceId,
    ) -> Result<(), AccountError> {
        let entry = NewAudit {
            detail: json!({ "device_id": device }),
            ..by.audit_entry("user.device_signed_out", id)
        };
        let found = self.store.revoke_device(id, device, entry, self.clock.now()).await?;
        self.evict_identity(device).await;
        if found { Ok(()) } else { Err(AccountError::DeviceNotFound) }
    }

    /// Creates a one-time token with which a user sets a new password.
    ///
    /// # Errors
    /// [`AccountError::UserNotFound`], or a database error.
    pub async fn create_password_reset(
        &self,
        by: AuditActor<'_>,
        id: UserId,
        new: &wire::CreatePasswordReset,
    ) -> Result<wire::CreatedPasswordReset, AccountError> {
        let token = self.entropy.token();
        let now = self.clock.now();
        let expires_at = now + self.config.password_reset_ttl();
        let drop_second_factor = new.drop_second_factor;
        let entry = NewAudit {
            detail: json!({ "drop_second_factor": drop_second_factor }),
            ..by.audit_entry("user.reset_offered", id)
        };
        let stored = self.store.create_reset_link(
            id,
            hash_token(&token),
            drop_second_factor,
            expires_at,
            entry,
            now,
        );
        if stored.await? {
            Ok(wire::CreatedPasswordReset { reset_token: Secret::new(token), expires_at })
        } else {
            Err(AccountError::UserNotFound)
        }
    }

    /// Deletes a user's account. The caller of this method closes their sockets.
    ///
    /// # Errors
    /// [`AccountError::UserNotFound`], [`AccountError::LastAdmin`], or a database error.
    pub async fn delete_user(&self, by: AuditActor<'_>, id: UserId) -> Result<(), AccountError> {
        self.end_account(id, by.audit_entry("user.deleted", id)).await
    }
}

fn parse_role(text: &str) -> Result<Role, AccountError> {
    text.parse().map_err(|_| AccountError::InvalidRole)
}

/// Prefix of a phone number, normalized to digits and `+`.
fn normalize_phone_prefix(number: &str) -> String {
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
