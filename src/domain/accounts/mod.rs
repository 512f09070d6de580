//! Accounts: identities, devices, tokens and sign-in.

mod erasure;
mod error;
mod keyring;
mod new_password;
mod password;
mod phone;
mod second_factor;
mod sign_in;
mod user_admin;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base::clock::Clock;
use base::ids::{AuditId, DeviceId, UserId};
use base::page::Page;
use base::random::RandomSource;
use base::secret::Secret;
pub use error::AccountError;
pub use keyring::{AccessTokenClaims, TokenSigner};
pub use password::PasswordHasher;
pub use phone::Phone;
use serde_json::json;
use store::{AuditFilter, NewAudit, NewDeviceRow, NewUserRow, Role, Store};
pub use user_admin::AuditActor;

use crate::cluster::Cache;
use crate::config::{AuthConfig, RateLimitsConfig};
use crate::domain::identity::{ClientInfo, Principal};
use crate::domain::vault::Vault;
use crate::protocol::accounts as wire;
use crate::protocol::admin::AuditEntryView;

/// Account service; cheap to clone.
#[derive(Clone)]
pub struct AccountService {
    store: Store,
    cache: Arc<dyn Cache>,
    keys: TokenSigner,
    vault: Vault,
    passwords: PasswordHasher,
    clock: Clock,
    entropy: RandomSource,
    config: Arc<AuthConfig>,
    limits: RateLimitsConfig,
}

/// Everything that [`AccountService`] depends on.
pub struct AccountServiceDeps {
    /// Database of accounts.
    pub store: Store,
    /// Counters of rate limits and cached identities.
    pub cache: Arc<dyn Cache>,
    /// Signer of access tokens.
    pub keys: TokenSigner,
    /// Seals the secrets of second factors.
    pub vault: Vault,
    /// Hashes and verifies passwords.
    pub passwords: PasswordHasher,
    pub clock: Clock,
    /// Source of random tokens.
    pub entropy: RandomSource,
    /// Section `[auth]` of the configuration.
    pub config: AuthConfig,
    /// Section `[rate_limits]` of the configuration.
    pub limits: RateLimitsConfig,
}

/// How long an authenticated identity is cached. A revocation on this node evicts it at once.
const IDENTITY_CACHE_TTL: Duration = Duration::from_secs(1);

impl AccountService {
    /// Creates the service from its dependencies.
    pub fn new(deps: AccountServiceDeps) -> Self {
        let AccountServiceDeps {
            store,
            cache,
            keys,
            vault,
            passwords,
            clock,
            entropy,
            config,
            limits,
        } = deps;
        let config = Arc::new(config);
        Self { store, cache, keys, vault, passwords, clock, entropy, config, limits }
    }

    /// 128 random bits in hexadecimal: unguessable identifiers that are not secret.
    pub fn random_id(&self) -> String {
        self.entropy.token()[..32].to_owned()
    }

    /// Signer and verifier of access tokens.
    pub const fn keys(&self) -> &TokenSigner {
        &self.keys
    }

    /// Authenticates an access token whose device is still signed in.
    ///
    /// # Errors
    /// [`AccountError::InvalidToken`], or a database error.
    pub async fn authenticate(&self, token: &str) -> Result<Principal, AccountError> {
        let claims = self.keys.verify(token)?;
        let key = identity_key(claims.device);
        if let Ok(Some(cached)) = self.cache.get(&key).await
            && let Ok(principal) = serde_json::from_slice(&cached)
        {
            return Ok(principal);
        }
        let principal = self.confirm(claims.user, claims.device).await?;
        if let Ok(cached) = serde_json::to_vec(&principal) {
            // A miss only costs a query.
            let _ = self.cache.put(&key, cached, IDENTITY_CACHE_TTL).await;
        }
        Ok(principal)
    }

    /// Loads the identity of a signed-in device from the database, bypassing the cache.
    ///
    /// # Errors
    /// [`AccountError::InvalidToken`], or a database error.
    pub async fn confirm(&self, user: UserId, device: DeviceId) -> Result<Principal, AccountError> {
        let found = self.store.device_identity(device).await?.ok_or(AccountError::InvalidToken)?;
        if found.user.id != user {
            return Err(AccountError::InvalidToken);
        }
        Ok(Principal {
            user: found.user.id,
            device: found.device.id,
            name: found.user.name,
            phone: found.user.phone,
            role: found.user.role,
            call_grant: None,
        })
    }

    /// Returns the caller's own account.
    ///
    /// # Errors
    /// A database error.
    pub async fn own_account(
        &self,
        principal: &Principal,
    ) -> Result<wire::OwnAccount, AccountError> {
        let user = self.store.user(principal.user).await?.ok_or(AccountError::InvalidToken)?;
        Ok(user_view(&user))
    }

    /// Changes the caller's own account.
    ///
    /// # Errors
    /// [`AccountError::InvalidName`], or a database error.
    pub async fn update_own_account(
        &self,
        principal: &Principal,
        change: wire::PatchMe,
    ) -> Result<wire::OwnAccount, AccountError> {
        let Some(name) = change.name else { return self.own_account(principal).await };
        let name = parse_name(&name)?;
        let user = self.store.rename_user(principal.user, &name, self.clock.now()).await?;
        self.evict_identity(principal.device).await;
        Ok(user_view(&user.ok_or(AccountError::InvalidToken)?))
    }

    /// Lists the caller's signed-in devices.
    ///
    /// # Errors
    /// A database error.
    pub async fn devices(&self, principal: &Principal) -> Result<wire::Devices, AccountError> {
        let devices = self.store.devices(principal.user).await?;
        let items = devices.into_iter().map(|device| wire::DeviceView {
            id: device.id,
            name: device.name,
            platform: device.platform,
            created_at: device.created_at,
            last_seen_at: device.last_seen_at,
            last_ip: device.last_ip,
            user_agent: device.user_agent,
            current: device.id == principal.device,
        });
        Ok(wire::Devices { items: items.collect(), next: None })
    }

    /// Audit entries done by the caller or concerning them, newest first. IP addresses of others
    /// are omitted.
    ///
    /// # Errors
    /// A database error.
    pub async fn audit(
        &self,
        principal: &Principal,
        before: Option<AuditId>,
        limit: usize,
    ) -> Result<Page<AuditEntryView>, AccountError> {
        let filter = AuditFilter { about: Some(principal.user), ..AuditFilter::default() };
        let rows = self.store.audit_page(filter, before, limit + 1).await?;
        Ok(Page::from_overfetch(rows, limit, |row| row.id.to_string()).map(|mut row| {
            row.ip = row.ip.filter(|_| row.actor == Some(principal.user));
            audit_view(row)
        }))
    }

    /// Audit log for administrators and operators, newest first.
    ///
    /// # Errors
    /// A database error.
    pub async fn audit_log(
        &self,
        filter: AuditFilter,
        before: Option<AuditId>,
        limit: usize,
    ) -> Result<Page<AuditEntryView>, AccountError> {
        let rows = self.store.audit_page(filter, before, limit + 1).await?;
        Ok(Page::from_overfetch(rows, limit, |row| row.id.to_string()).map(audit_view))
    }

    /// Signs a device out and invalidates its tokens. The caller of this method closes its sockets.
    ///
    /// # Errors
    /// [`AccountError::DeviceNotFound`], or a database error.
    pub async fn remove_device(
        &self,
        principal: &Principal,
        device: DeviceId,
        ip: Option<IpAddr>,
    ) -> Result<(), AccountError> {
        let audit = audit(Some(principal.user), "device.removed", device.to_string(), ip);
        let found =
            self.store.revoke_device(principal.user, device, audit, self.clock.now()).await?;
        self.evict_identity(device).await;
        if found { Ok(()) } else { Err(AccountError::DeviceNotFound) }
    }

    /// Creates an account without signing in, for the command line.
    ///
    /// # Errors
    /// As [`AccountService::register`].
    pub async fn create_user(
        &self,
        phone: &str,
        name: &str,
        password: Secret<String>,
        role: Role,
    ) -> Result<wire::OwnAccount, AccountError> {
        let user = self.new_user(phone, name, password, role).await?;
        let audit = audit(None, "user.added", user.id.to_string(), None);
        match self.store.add_user(user, audit, self.clock.now()).await? {
            store::AddUserOutcome::Done(user) => Ok(user_view(&user)),
            store::AddUserOutcome::PhoneTaken => Err(AccountError::PhoneTaken),
        }
    }

    async fn evict_identity(&self, device: DeviceId) {
        let _ = self.cache.remove(&identity_key(device)).await; // it expires soon by itself
    }

    async fn new_user(
        &self,
        phone: &str,
        name: &str,
        password: Secret<String>,
        role: Role,
    ) -> Result<NewUserRow, AccountError> {
        let phone = Phone::parse(phone, &self.config.default_phone_region)?;
        let name = parse_name(name)?;
        let password_hash = self.hash_new(password).await?;
        Ok(NewUserRow {
            id: UserId::new(),
            phone: phone.as_str().to_owned(),
            name,
            role,
            password_hash,
        })
    }
}

fn audit_view(row: store::AuditEntry) -> AuditEntryView {
    AuditEntryView {
        id: row.id,
        at: row.at,
        actor: row.actor,
        action: row.action,
        subject: row.subject,
        detail: row.detail,
        ip: row.ip,
    }
}

fn identity_key(device: DeviceId) -> String {
    format!("identity:{device}")
}

fn user_view(user: &store::UserRow) -> wire::OwnAccount {
    wire::OwnAccount {
        id: user.id,
        phone: user.phone.clone(),
        name: user.name.clone(),
        role: user.role.to_string(),
    }
}

fn parse_name(text: &str) -> Result<String, AccountError> {
    let name = text.trim();
    let valid = (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if valid { Ok(name.to_owned()) } else { Err(AccountError::InvalidName) }
}

fn new_device(
    user: UserId,
    device: Option<wire::DeviceDescription>,
    from: &ClientInfo,
) -> Result<NewDeviceRow, AccountError> {
    let (name, platform) = device
        .map_or_else(|| ("unnamed".to_owned(), "unknown".to_owned()), |d| (d.name, d.platform));
    let platform = parse_name(&platform)?;
    let name = parse_name(&name)?;
    let user_agent = from.agent.as_ref().map(|agent| agent.chars().take(200).collect());
    Ok(NewDeviceRow { id: DeviceId::new(), user_id: user, name, platform, user_agent })
}

/// Creates an entry of the audit log without details.
pub fn audit(actor: Option<UserId>, action: &str, subject: String, ip: Option<IpAddr>) -> NewAudit {
    NewAudit {
        actor,
        action: action.to_owned(),
        subject,
        detail: json!({}),
        ip: ip.map(|ip| ip.to_string()),
    }
}
