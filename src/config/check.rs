//! Constraints between settings, with error messages that say what to change.

use super::{Config, StorageKind};

/// Returns a message about the first violated constraint.
pub(super) fn check(c: &Config) -> Result<(), String> {
    let url = &c.http.public_url;
    require(
        url.starts_with("http://") || url.starts_with("https://"),
        "http.public_url must begin with http:// or https://",
    )?;
    require(
        !c.http.hsts || url.starts_with("https://") || c.profile == "production",
        "http.hsts needs a public_url with https://",
    )?;
    require(
        c.http.has_tls() != c.http.tls_key_file.as_os_str().is_empty(),
        "http.tls_certificate_file and http.tls_key_file belong together",
    )?;
    let database = &c.database.url;
    require(
        database.is_empty()
            || database.starts_with("postgres://")
            || database.starts_with("postgresql://"),
        "database.url must be empty (SQLite) or begin with postgres://",
    )?;
    require(c.database.max_connections > 0, "database.max_connections must be at least 1")?;
    require(
        c.database.sqlite_read_connections > 0,
        "database.sqlite_read_connections must be at least 1",
    )?;
    require(
        c.database.group_commit_max_jobs > 0,
        "database.group_commit_max_jobs must be at least 1",
    )?;
    require(
        (100..=10_000).contains(&c.database.operation_timeout_ms),
        "database.operation_timeout_ms must lie between 100 and 10000",
    )?;
    let (bus, cache) = (c.cluster.amqp_url.expose(), c.cluster.redis_url.expose());
    require(
        bus.is_empty() || bus.starts_with("amqp://") || bus.starts_with("amqps://"),
        "cluster.amqp_url must be empty (one node) or begin with amqp:// or amqps://",
    )?;
    require(
        bus.is_empty() || !database.is_empty(),
        "cluster.amqp_url needs a database that all nodes share: set database.url to postgres://…",
    )?;
    require(
        cache.is_empty() || cache.starts_with("redis"),
        "cluster.redis_url must be empty (a cache within each node) or begin with redis:// or rediss://, \
         redis+sentinel:// or redis+cluster://",
    )?;
    require(
        c.cluster.outbox_capacity >= 64 && c.cluster.queue_max_length >= 64,
        "cluster.outbox_capacity and cluster.queue_max_length must be at least 64",
    )?;
    require(
        c.auth.access_token_ttl_seconds >= 30 && c.auth.access_token_ttl_seconds <= 3600,
        "auth.access_token_ttl_seconds must lie between 30 and 3600: an access token cannot be revoked",
    )?;
    require(c.auth.refresh_token_idle_days > 0, "auth.refresh_token_idle_days must be at least 1")?;
    require(c.auth.password_hash_threads > 0, "auth.password_hash_threads must be at least 1")?;
    require(
        c.auth.argon2_memory_kib >= 8 * c.auth.argon2_parallelism && c.auth.argon2_parallelism > 0,
        "auth.argon2_memory_kib must be at least 8 for each of auth.argon2_parallelism",
    )?;
    require(c.auth.argon2_iterations > 0, "auth.argon2_iterations must be at least 1")?;
    require(
        c.auth.password_reset_ttl_hours > 0 && c.auth.export_ttl_hours > 0,
        "auth.password_reset_ttl_hours and auth.export_ttl_hours must be at least 1",
    )?;
    require(
        c.secrets.keys.is_empty() || c.secrets.key_file.as_os_str().is_empty(),
        "secrets.keys and secrets.key_file are mutually exclusive",
    )?;
    require(
        (1..=36_500).contains(&c.chat.max_invite_ttl_days)
            && c.chat.edit_window_minutes <= 52_560_000
            && c.chat.delete_window_minutes <= 52_560_000,
        "chat.max_invite_ttl_days must lie between 1 and 36500, and the windows of chat at most a hundred years",
    )?;
    require(
        (100..=60_000).contains(&c.chat.expiry_interval_ms),
        "chat.expiry_interval_ms must lie between 100 and 60000",
    )?;
    let region = &c.auth.default_phone_region;
    require(
        region.is_empty() || (region.len() == 2 && region.bytes().all(|b| b.is_ascii_uppercase())),
        "auth.default_phone_region must be two capital letters, such as DE, or empty",
    )?;
    for (name, value) in [
        ("api_per_second", c.limits.api_per_second),
        ("api_burst", c.limits.api_burst),
        ("login_per_minute", c.limits.login_per_minute),
        ("registration_per_minute", c.limits.registration_per_minute),
        ("second_factor_attempts_per_hour", c.limits.second_factor_attempts_per_hour),
        ("address_book_lookups_per_hour", c.limits.address_book_lookups_per_hour),
        ("contact_requests_per_minute", c.limits.contact_requests_per_minute),
        ("rings_per_callee_per_minute", c.limits.rings_per_callee_per_minute),
        ("events_per_second", c.limits.events_per_second),
        ("events_burst", c.limits.events_burst),
    ] {
        require(value > 0, &format!("limits.{name} must be at least 1"))?;
    }
    require(
        c.sessions.ping_interval_seconds > 0,
        "sessions.ping_interval_seconds must be at least 1",
    )?;
    require(
        c.sessions.send_queue_capacity >= 16,
        "sessions.send_queue_capacity must be at least 16",
    )?;
    require(
        c.sessions.max_in_flight_requests > 0,
        "sessions.max_in_flight_requests must be at least 1",
    )?;
    require(c.sessions.max_per_device > 0, "sessions.max_per_device must be at least 1")?;
    require(
        c.chat.max_body_bytes > 0
            && c.chat.max_body_bytes < c.sessions.max_frame_bytes.min(c.http.max_body_bytes),
        "chat.max_body_bytes must be smaller than sessions.max_frame_bytes and http.max_body_bytes",
    )?;
    require(c.chat.max_members >= 2, "chat.max_members must be at least 2")?;
    files(c)?;
    require(c.calls.ring_timeout_seconds > 0, "calls.ring_timeout_seconds must be at least 1")?;
    require(c.calls.max_participants >= 2, "calls.max_participants must be at least 2")?;
    require(c.calls.max_calls_per_user > 0, "calls.max_calls_per_user must be at least 1")?;
    require(
        (60..=86_400).contains(&c.calls.token_ttl_seconds),
        "calls.token_ttl_seconds must lie between 60 and 86400",
    )?;
    require(
        c.media.threads <= 64 && c.media.port_base <= 65_535 - 64,
        "media.threads must be at most 64, and media.port_base at most 65471",
    )?;
    require(c.media.last_n_audio > 0, "media.last_n_audio must be at least 1")?;
    require(c.media.max_uplink_bps >= 100_000, "media.max_uplink_bps must be at least 100000")?;
    require(
        c.turn.external_urls.is_empty() || !c.turn.secret.expose().is_empty(),
        "turn.external_urls needs the turn.secret of that server",
    )?;
    let t = &c.turn;
    require(
        t.relay_port_min >= 1024 && t.relay_port_min <= t.relay_port_max,
        "turn: 1024 <= relay_port_min <= relay_port_max",
    )?;
    require(t.port == 0 || t.port != t.tls_port, "turn.port and turn.tls_port must differ")?;
    require(
        t.max_allocations_per_user > 0 && t.max_allocations >= t.max_allocations_per_user,
        "turn.max_allocations_per_user must be at least 1, and at most turn.max_allocations",
    )?;
    require(
        t.max_bps_per_user == 0 || t.max_bps_per_user >= 500_000,
        "turn.max_bps_per_user must be 0 (no limit) or at least 500000",
    )?;
    require(
        c.jobs.lease_seconds > 0 && c.jobs.max_attempts > 0,
        "jobs.lease_seconds and jobs.max_attempts must be at least 1",
    )?;
    let s = &c.supervision;
    require(
        s.watchdog_warn_ms < s.watchdog_replace_thread_ms
            && s.watchdog_replace_thread_ms < s.watchdog_exit_ms,
        "supervision: watchdog_warn_ms < watchdog_replace_thread_ms < watchdog_exit_ms",
    )
}

fn require(condition: bool, message: &str) -> Result<(), String> {
    if condition { Ok(()) } else { Err(message.to_owned()) }
}

fn files(c: &Config) -> Result<(), String> {
    let (f, s) = (&c.files, &c.storage);
    require(
        f.max_bytes > 0
            && f.max_bytes <= f.user_quota_bytes
            && i64::try_from(f.user_quota_bytes).is_ok(),
        "files.max_bytes must be at least 1, and at most files.user_quota_bytes",
    )?;
    require(
        f.max_concurrent_uploads > 0 && f.max_resumable_uploads_per_user > 0 && f.image_threads > 0,
        "files.max_concurrent_uploads, max_resumable_uploads_per_user and image_threads must be at least 1",
    )?;
    require(
        f.upload_ttl_hours > 0 && f.unreferenced_ttl_hours > 0,
        "files.upload_ttl_hours and files.unreferenced_ttl_hours must be at least 1",
    )?;
    require(
        (16..=4096).contains(&f.thumbnail_max_edge_pixels) && f.max_image_pixels > 0,
        "files.thumbnail_max_edge_pixels must lie between 16 and 4096",
    )?;
    require(
        s.backend != StorageKind::S3 || !s.bucket.is_empty() && !s.access_key.is_empty(),
        "storage.backend = \"s3\" needs storage.bucket and storage.access_key",
    )?;
    require(
        s.secret_key.expose().is_empty() || s.secret_key_file.as_os_str().is_empty(),
        "storage.secret_key and storage.secret_key_file are mutually exclusive",
    )
}
