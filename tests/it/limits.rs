//! How often is too often, and what every answer carries.

use awc::http::Method;
use serde_json::json;

use crate::support::{Answer, Backend, World};

fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").expect("Retry-After").parse().expect("whole seconds")
}

#[actix_web::test]
async fn rate_limit_is_per_client_address() {
    let settings = [
        ("LIMITS__API_PER_SECOND", "1"),
        ("LIMITS__API_BURST", "5"),
        ("HTTP__TRUSTED_PROXIES", r#"["127.0.0.1"]"#),
    ];
    let world = World::with(Backend::Sqlite, &settings).await;
    let stranger = world.stranger();
    let from = async |address: &str| {
        let headers = [("x-forwarded-for", address)];
        stranger.sends(Method::GET, "/.well-known/jwks.json", &headers, None).await
    };

    for _ in 0..5 {
        from("203.0.113.1").await.ok();
    }
    let refused = from("203.0.113.1").await;
    assert_eq!(retry_after(&refused), 1);
    refused.refused(429, "limits/rate-limited");
    from("203.0.113.2").await.ok();
    // What the client itself claims further to the left is not believed.
    from("198.51.100.9, 203.0.113.1").await.refused(429, "limits/rate-limited");
    for host in 0..5 {
        from(&format!("2001:db8:1:2::{host}")).await.ok();
    }
    from("2001:db8:1:2:ffff::1").await.refused(429, "limits/rate-limited");
    from("2001:db8:1:3::1").await.ok();
}

#[actix_web::test]
async fn x_forwarded_for_from_untrusted_peer_is_ignored() {
    let settings = [("LIMITS__API_PER_SECOND", "1"), ("LIMITS__API_BURST", "3")];
    let world = World::with(Backend::Sqlite, &settings).await;
    let stranger = world.stranger();

    let mut refused = 0;
    for n in 0..8 {
        let claim = format!("203.0.113.{n}");
        let headers = [("x-forwarded-for", claim.as_str())];
        let answer = stranger.sends(Method::GET, "/.well-known/jwks.json", &headers, None).await;
        refused += u32::from(answer.status == 429);
    }

    assert!(refused >= 4, "{refused} of 8 refused");
    stranger.get("/health/live").await.ok();
}

#[actix_web::test]
async fn registration_and_sign_in_have_stricter_rate_limits() {
    let settings = [
        ("LIMITS__REGISTRATION_PER_MINUTE", "2"),
        ("LIMITS__LOGIN_PER_MINUTE", "5"),
        ("HTTP__TRUSTED_PROXIES", r#"["127.0.0.1"]"#),
    ];
    let world = World::with(Backend::Sqlite, &settings).await;
    let stranger = world.stranger();
    let phone = world.number();
    let login = async |address: &str| {
        let body = json!({ "phone": phone, "password": "wrong password" }).to_string();
        let headers = [("x-forwarded-for", address)];
        stranger.sends(Method::POST, "/api/auth/login", &headers, Some(body.into_bytes())).await
    };

    stranger.registers(&phone, "One").await.created();
    stranger.registers(&world.number(), "Two").await.created();
    let third = stranger.registers(&world.number(), "Three").await;
    assert!((20..=31).contains(&retry_after(&third)), "{}", retry_after(&third));
    third.refused(429, "limits/rate-limited");

    for n in 0..5 {
        login(&format!("203.0.113.{n}")).await.refused(401, "auth/invalid-credentials");
    }
    // Another address does not help whoever guesses at one account.
    let refused = login("203.0.113.99").await;
    assert!(retry_after(&refused) <= 12);
    refused.refused(429, "limits/rate-limited");
}

#[actix_web::test]
async fn every_response_has_security_headers() {
    let world = World::with(Backend::Sqlite, &[("PROFILE", "production")]).await;
    let stranger = world.stranger();

    for path in ["/", "/health", "/api/me", "/nope", "/api/docs", "/assets/style.css"] {
        let answer = stranger.get(path).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert!(answer.header("x-request-id").unwrap().starts_with("req_"));
    }
}

#[actix_web::test]
async fn cors_headers_only_for_allowed_origins() {
    let settings = [("HTTP__ALLOWED_ORIGINS", r#"["https://app.example"]"#)];
    let world = World::with(Backend::Sqlite, &settings).await;
    let stranger = world.stranger();
    let asks = async |method: Method, origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("content-type", "x/y"),
        ];
        stranger.sends(method, "/api/auth/login", &headers, None).await
    };

    let preflight = asks(Method::OPTIONS, "https://app.example").await;
    let foreign = asks(Method::OPTIONS, "https://evil.example").await;
    let refused = asks(Method::POST, "https://app.example").await;

    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://app.example"));
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("POST"));
    assert_eq!(foreign.header("access-control-allow-origin"), None);
    assert_eq!(foreign.header("access-control-allow-methods"), None);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        Some("https://app.example"),
        "on errors too"
    );
    assert_eq!(preflight.status, 204);
    refused.refused(415, "http/not-json");
    assert_eq!(foreign.status, 204);
}

#[actix_web::test]
async fn hostile_bodies_are_rejected_with_bounded_memory() {
    let world = World::new(Backend::Sqlite).await;
    let alice = world.person("Alice").await;
    let before = resident(world.pid());
    let json = ("content-type", "application/json");
    let bearer = format!("Bearer {}", alice.access);
    let sends = async |body: Vec<u8>, kind: (&'static str, &'static str)| {
        let headers = [kind, ("authorization", bearer.as_str())];
        alice.sends(Method::POST, "/api/conversations", &headers, Some(body)).await
    };
    let deep = [vec![b'['; 10_000], vec![b']'; 10_000]].concat();
    let deep_field = format!(r#"{{"kind":{}}}"#, String::from_utf8(deep.clone()).unwrap());

    sends(vec![b' '; 70_000], json).await.refused(413, "http/body-too-large");
    sends(deep, json).await.refused(400, "http/invalid-json");
    let nested = sends(deep_field.into_bytes(), json).await;
    assert!([400, 422].contains(&nested.status), "{}", nested.text);
    sends(b"{\"kind\":\"\xff\xfe\"}".to_vec(), json).await.refused(400, "http/invalid-json");
    let twice = b"{\"kind\":\"group\",\"members\":[]} {}".to_vec();
    sends(twice, json).await.refused(400, "http/invalid-json");
    sends(b"{".to_vec(), json).await.refused(400, "http/invalid-json");
    sends(b"kind=direct".to_vec(), ("content-type", "application/x-www-form-urlencoded"))
        .await
        .refused(415, "http/not-json");
    for _ in 0..50 {
        let _ = sends(vec![b'['; 65_000], json).await;
    }

    alice.get("/api/me").await.ok();
    let grown = resident(world.pid()).saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more than before");
}

/// Resident memory of a process, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
