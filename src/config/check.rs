//! What must hold between settings, with complaints that say what to do.

use super::{Config, StorageKind};

/// The first thing that does not hold, in words.
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
        c.http.has_tls() != c.http.tls_key.as_os_str().is_empty(),
        "http.tls_certificate and http.tls_key belong together",
    )?;
    let database = &c.database.url;
    require(
        database.is_empty()
            || database.starts_with("postgres://")
            || database.starts_with("postgresql://"),
        "database.url must be empty (SQLite) or begin with postgres://",
    )?;
    require(c.database.connections > 0, "database.connections must be at least 1")?;
    require(c.database.readers > 0, "database.readers must be at least 1")?;
    require(c.database.group > 0, "database.group must be at least 1")?;
    require(
        (100..=10_000).contains(&c.database.deadline_ms),
        "database.deadline_ms must lie between 100 and 10000",
    )?;
    let (bus, cache) = (c.cluster.bus.expose(), c.cluster.cache.expose());
    require(
        bus.is_empty() || bus.starts_with("amqp://") || bus.starts_with("amqps://"),
        "cluster.bus must be empty (one node) or begin with amqp:// or amqps://",
    )?;
    require(
        bus.is_empty() || !database.is_empty(),
        "cluster.bus needs a database that all nodes share: set database.url to postgres://…",
    )?;
    require(
        cache.is_empty() || cache.starts_with("redis"),
        "cluster.cache must be empty (within each node) or begin with redis:// or rediss://, \
         redis+sentinel:// or redis+cluster://",
    )?;
    require(
        c.cluster.outbox >= 64 && c.cluster.inbox >= 64,
        "cluster.outbox and cluster.inbox must be at least 64",
    )?;
    require(
        c.auth.access_token_seconds >= 30 && c.auth.access_token_seconds <= 3600,
        "auth.access_token_seconds must lie between 30 and 3600: it cannot be taken back",
    )?;
    require(c.auth.refresh_token_days > 0, "auth.refresh_token_days must be at least 1")?;
    require(c.auth.hash_threads > 0, "auth.hash_threads must be at least 1")?;
    require(
        c.auth.hash_memory_kib >= 8 * c.auth.hash_lanes && c.auth.hash_lanes > 0,
        "auth.hash_memory_kib must be at least 8 for each of auth.hash_lanes",
    )?;
    require(c.auth.hash_passes > 0, "auth.hash_passes must be at least 1")?;
    require(
        c.auth.reset_link_hours > 0 && c.auth.export_hours > 0,
        "auth.reset_link_hours and auth.export_hours must be at least 1",
    )?;
    require(
        c.secrets.keys.is_empty() || c.secrets.file.as_os_str().is_empty(),
        "secrets.keys and secrets.file exclude each other",
    )?;
    require(
        (1..=36_500).contains(&c.chat.invite_days)
            && c.chat.edit_minutes <= 52_560_000
            && c.chat.delete_minutes <= 52_560_000,
        "chat.invite_days must be at least 1, and times of chat at most a hundred years",
    )?;
    require(
        (100..=60_000).contains(&c.chat.expiry_round_ms),
        "chat.expiry_round_ms must lie between 100 and 60000",
    )?;
    let region = &c.auth.default_region;
    require(
        region.is_empty() || (region.len() == 2 && region.bytes().all(|b| b.is_ascii_uppercase())),
        "auth.default_region must be two capital letters, such as DE, or empty",
    )?;
    for (name, value) in [
        ("api_per_second", c.limits.api_per_second),
        ("api_burst", c.limits.api_burst),
        ("login_per_minute", c.limits.login_per_minute),
        ("registration_per_minute", c.limits.registration_per_minute),
        ("codes_per_hour", c.limits.codes_per_hour),
        ("contact_matches_per_hour", c.limits.contact_matches_per_hour),
        ("contact_requests_per_minute", c.limits.contact_requests_per_minute),
        ("rings_per_minute", c.limits.rings_per_minute),
        ("events_per_second", c.limits.events_per_second),
        ("events_burst", c.limits.events_burst),
    ] {
        require(value > 0, &format!("limits.{name} must be at least 1"))?;
    }
    require(c.sessions.ping_seconds > 0, "sessions.ping_seconds must be at least 1")?;
    require(c.sessions.queue_frames >= 16, "sessions.queue_frames must be at least 16")?;
    require(c.sessions.in_flight > 0, "sessions.in_flight must be at least 1")?;
    require(c.sessions.per_device > 0, "sessions.per_device must be at least 1")?;
    require(
        c.chat.body_bytes > 0
            && c.chat.body_bytes < c.sessions.frame_bytes.min(c.http.body_limit_bytes),
        "chat.body_bytes must be smaller than sessions.frame_bytes and http.body_limit_bytes",
    )?;
    require(c.chat.max_members >= 2, "chat.max_members must be at least 2")?;
    files(c)?;
    require(c.calls.ring_seconds > 0, "calls.ring_seconds must be at least 1")?;
    require(c.calls.max_participants >= 2, "calls.max_participants must be at least 2")?;
    require(c.calls.max_per_person > 0, "calls.max_per_person must be at least 1")?;
    require(
        (60..=86_400).contains(&c.calls.token_seconds),
        "calls.token_seconds must lie between 60 and 86400",
    )?;
    require(
        c.media.threads <= 64 && c.media.port <= 65_535 - 64,
        "media.threads must be at most 64, and media.port at most 65471",
    )?;
    require(c.media.last_n_audio > 0, "media.last_n_audio must be at least 1")?;
    require(c.media.max_up_bps >= 100_000, "media.max_up_bps must be at least 100000")?;
    require(
        c.turn.urls.is_empty() || !c.turn.secret.expose().is_empty(),
        "turn.urls needs the turn.secret of that server",
    )?;
    let t = &c.turn;
    require(
        t.relay_port_min >= 1024 && t.relay_port_min <= t.relay_port_max,
        "turn: 1024 <= relay_port_min <= relay_port_max",
    )?;
    require(t.port == 0 || t.port != t.tls_port, "turn.port and turn.tls_port must be two ports")?;
    require(
        t.user_allocations > 0 && t.max_allocations >= t.user_allocations,
        "turn.user_allocations must be at least 1, and at most turn.max_allocations",
    )?;
    require(
        t.user_bps == 0 || t.user_bps >= 500_000,
        "turn.user_bps must be 0 (no limit) or at least 500000",
    )?;
    require(
        c.jobs.lease_seconds > 0 && c.jobs.attempts > 0,
        "jobs.lease_seconds and jobs.attempts must be at least 1",
    )?;
    let s = &c.supervision;
    require(
        s.stuck_warn_ms < s.stuck_lost_ms && s.stuck_lost_ms < s.stuck_exit_ms,
        "supervision: stuck_warn_ms < stuck_lost_ms < stuck_exit_ms",
    )
}

fn require(holds: bool, complaint: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(complaint.to_owned()) }
}

fn files(c: &Config) -> Result<(), String> {
    let (f, s) = (&c.files, &c.storage);
    require(
        f.max_bytes > 0 && f.max_bytes <= f.quota_bytes && i64::try_from(f.quota_bytes).is_ok(),
        "files.max_bytes must be at least 1, and at most files.quota_bytes",
    )?;
    require(
        f.at_once > 0 && f.uploads_per_person > 0 && f.picture_threads > 0,
        "files.at_once, uploads_per_person and picture_threads must be at least 1",
    )?;
    require(
        f.upload_hours > 0 && f.unused_hours > 0,
        "files.upload_hours and files.unused_hours must be at least 1",
    )?;
    require(
        (16..=4096).contains(&f.thumbnail_pixels) && f.picture_pixels > 0,
        "files.thumbnail_pixels must lie between 16 and 4096",
    )?;
    require(
        s.kind != StorageKind::S3 || !s.bucket.is_empty() && !s.access_key.is_empty(),
        "storage.kind = \"s3\" needs storage.bucket and storage.access_key",
    )?;
    require(
        s.secret_key.expose().is_empty() || s.secret_key_file.as_os_str().is_empty(),
        "storage.secret_key and storage.secret_key_file exclude each other",
    )
}
