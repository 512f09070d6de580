//! Accounts: who somebody is, on which device, and for how long that is believed.

mod erasure;
mod error;
mod keyring;
mod new_password;
mod password;
mod phone;
mod second_factor;
mod sign_in;
mod user_admin;

pub use error::AccountError;
pub use keyring::{AccessTokenClaims, TokenSigner};
pub use password::PasswordHasher;
pub use phone::Phone;
pub(crate) use sign_in::hash;
pub use user_admin::AuditActor;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base::clock::Clock;
use base::ids::{AuditId, DeviceId, UserId};
use base::page::Page;
use base::random::RandomSource;
use base::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{AuditFilter, NewAudit, NewDeviceRow, NewUserRow, Role, Store};

use crate::cluster::Cache;
use crate::config::{AuthConfig, RateLimitsConfig};
use crate::domain::vault::Vault;
use crate::protocol::accounts as wire;
use crate::protocol::admin::AuditEntryView;

/// Somebody who proved who they are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Principal {
    /// The person.
    pub user: UserId,
    /// The device the person sits at.
    pub device: DeviceId,
    /// How others see the person.
    pub name: String,
    /// In E.164.
    pub phone: String,
    /// What the person may do here.
    pub role: Role,
    /// The one call that a call token opens, and nothing else.
    #[serde(skip)]
    pub pass: Option<CallGrant>,
}

/// What a call token opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallGrant {
    /// The name of the session.
    pub session: String,
    /// Whether its holder may mute and put out others.
    pub moderates: bool,
}

/// From where somebody signs in.
#[derive(Clone, Debug, Default)]
pub struct ClientInfo {
    /// The address.
    pub ip: Option<IpAddr>,
    /// What the device says it is; never believed.
    pub agent: Option<String>,
}

/// The deeds of this area; cheap to clone.
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

/// What [`AccountService`] is made of.
pub struct AccountServiceDeps {
    /// Where accounts are kept.
    pub store: Store,
    /// Where attempts are counted.
    pub cache: Arc<dyn Cache>,
    /// What signs access tokens.
    pub keys: TokenSigner,
    /// What seals the secrets of second factors.
    pub vault: Vault,
    /// What checks passwords.
    pub passwords: PasswordHasher,
    /// The time.
    pub clock: Clock,
    /// Where tokens come from.
    pub entropy: RandomSource,
    /// `[auth]`.
    pub config: AuthConfig,
    /// How often is too often.
    pub limits: RateLimitsConfig,
}

/// How long a proved identity is believed without asking the database again. On this node a
/// revocation forgets it at once.
const IDENTITY_CACHE_TTL: Duration = Duration::from_secs(1);

impl AccountService {
    /// Puts the parts together.
    pub fn new(parts: AccountServiceDeps) -> Self {
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
        } = parts;
        let config = Arc::new(config);
        Self { store, cache, keys, vault, passwords, clock, entropy, config, limits }
    }

    /// 128 random bits in hexadecimal: names that nobody guesses, but no secret.
    pub fn random_id(&self) -> String {
        self.entropy.token()[..32].to_owned()
    }

    /// The keys of access tokens.
    pub const fn keys(&self) -> &TokenSigner {
        &self.keys
    }

    /// Who holds this access token, if their device is still signed in.
    ///
    /// # Errors
    /// [`AccountError::InvalidToken`], or the database's.
    pub async fn authenticate(&self, token: &str) -> Result<Principal, AccountError> {
        let bearer = self.keys.verify(token)?;
        let key = identity_key(bearer.device);
        if let Ok(Some(kept)) = self.cache.get(&key).await
            && let Ok(me) = serde_json::from_slice(&kept)
        {
            return Ok(me);
        }
        let me = self.confirm(bearer.user, bearer.device).await?;
        if let Ok(kept) = serde_json::to_vec(&me) {
            let _ = self.cache.put(&key, kept, IDENTITY_CACHE_TTL).await; // only costs another look-up
        }
        Ok(me)
    }

    /// Who sits at this device, if it is still signed in: asks the database, whatever was known.
    ///
    /// # Errors
    /// [`AccountError::InvalidToken`], or the database's.
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
            pass: None,
        })
    }

    /// The person's own account.
    ///
    /// # Errors
    /// The database's.
    pub async fn me(&self, me: &Principal) -> Result<wire::OwnAccount, AccountError> {
        let user = self.store.user(me.user).await?.ok_or(AccountError::InvalidToken)?;
        Ok(user_view(&user))
    }

    /// Changes the person's own account.
    ///
    /// # Errors
    /// [`AccountError::BadName`], or the database's.
    pub async fn change_me(
        &self,
        me: &Principal,
        change: wire::PatchMe,
    ) -> Result<wire::OwnAccount, AccountError> {
        let Some(name) = change.name else { return self.me(me).await };
        let name = parse_name(&name)?;
        let user = self.store.rename_user(me.user, &name, self.clock.now()).await?;
        self.forget(me.device).await;
        Ok(user_view(&user.ok_or(AccountError::InvalidToken)?))
    }

    /// The person's signed-in devices.
    ///
    /// # Errors
    /// The database's.
    pub async fn devices(&self, me: &Principal) -> Result<wire::Devices, AccountError> {
        let devices = self.store.devices(me.user).await?;
        let items = devices.into_iter().map(|device| wire::DeviceView {
            id: device.id,
            name: device.name,
            platform: device.platform,
            created_at: device.created_at,
            last_seen_at: device.last_seen_at,
            last_ip: device.last_ip,
            user_agent: device.user_agent,
            current: device.id == me.device,
        });
        Ok(wire::Devices { items: items.collect(), next: None })
    }

    /// What concerns the person's security: done by them or to them, the newest first. From where
    /// others did it is not theirs to know.
    ///
    /// # Errors
    /// The database's.
    pub async fn audit(
        &self,
        me: &Principal,
        before: Option<AuditId>,
        limit: usize,
    ) -> Result<Page<AuditEntryView>, AccountError> {
        let filter = AuditFilter { about: Some(me.user), ..AuditFilter::default() };
        let rows = self.store.audit_page(filter, before, limit + 1).await?;
        Ok(Page::from_overfetch(rows, limit, |row| row.id.to_string()).map(|mut row| {
            row.ip = row.ip.filter(|_| row.actor == Some(me.user));
            audit_view(row)
        }))
    }

    /// What was done, the newest first, for those who look after the service.
    ///
    /// # Errors
    /// The database's.
    pub async fn audit_log(
        &self,
        filter: AuditFilter,
        before: Option<AuditId>,
        limit: usize,
    ) -> Result<Page<AuditEntryView>, AccountError> {
        let rows = self.store.audit_page(filter, before, limit + 1).await?;
        Ok(Page::from_overfetch(rows, limit, |row| row.id.to_string()).map(audit_view))
    }

    /// Signs a device out: its tokens are dead, its sockets are to be closed by the caller.
    ///
    /// # Errors
    /// [`AccountError::NoSuchDevice`], or the database's.
    pub async fn remove_device(
        &self,
        me: &Principal,
        device: DeviceId,
        ip: Option<IpAddr>,
    ) -> Result<(), AccountError> {
        let audit = audit(Some(me.user), "device.removed", device.to_string(), ip);
        let found = self.store.revoke_device(me.user, device, audit, self.clock.now()).await?;
        self.forget(device).await;
        if found { Ok(()) } else { Err(AccountError::NoSuchDevice) }
    }

    /// Makes an account without signing anybody in, for the command line.
    ///
    /// # Errors
    /// As in registration.
    pub async fn add(
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

    async fn forget(&self, device: DeviceId) {
        let _ = self.cache.remove(&identity_key(device)).await; // it ends by itself in a moment
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
    let fits = (1..=100).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    if fits { Ok(name.to_owned()) } else { Err(AccountError::BadName) }
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

/// An entry of the audit log.
pub fn audit(actor: Option<UserId>, action: &str, subject: String, ip: Option<IpAddr>) -> NewAudit {
    NewAudit {
        actor,
        action: action.to_owned(),
        subject,
        detail: json!({}),
        ip: ip.map(|ip| ip.to_string()),
    }
}
