//! Settings: three layers and a profile, and a typo is an error.

use securevox::config::{LogFormat, load};

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn default_config_is_valid() {
    let config = load("", env(&[])).unwrap();
    assert_eq!((config.http.bind.port(), config.limits.registration_per_minute), (8080, 2));
}

#[test]
fn config_precedence_is_env_file_defaults() {
    let file = "[http]\nbind = \"127.0.0.1:1\"\nworkers = 3\n";
    let over = env(&[("SECUREVOX__HTTP__BIND", "127.0.0.1:2"), ("HOME", "/root")]);

    let config = load(file, over).unwrap();

    assert_eq!((config.http.bind.port(), config.http.workers), (2, 3));
}

#[test]
fn profile_overrides_defaults_but_not_file() {
    let config = load("", env(&[("SECUREVOX__PROFILE", "production")])).unwrap();
    assert!(config.http.hsts);
    assert_eq!(config.telemetry.log_format, LogFormat::Json);

    let file = "profile = \"production\"\n[http]\nhsts = false\n";
    assert!(!load(file, env(&[])).unwrap().http.hsts, "your file has the last word");
}

#[test]
fn config_errors_name_the_offending_key() {
    let complaint =
        |file: &str, pairs: &[(&str, &str)]| load(file, env(pairs)).unwrap_err().to_string();

    assert!(complaint("[http]\nbnid = 1", &[]).contains("bnid"));
    assert!(complaint("", &[("SECUREVOX__HTTTP__BIND", "x")]).contains("htttp"));
    assert!(complaint("", &[("SECUREVOX__PROFILE", "prod")]).contains("prod"));
    assert!(complaint("[http", &[]).contains("your file"));
    assert!(complaint("", &[("SECUREVOX__DATABASE__URL", "mysql://x")]).contains("postgres://"));
    assert!(complaint("", &[("SECUREVOX__HTTP__WORKERS", "many")]).contains("http.workers"));
    assert!(complaint("[chat]\nmax_body_bytes = 1000000", &[]).contains("max_frame_bytes"));
    assert!(complaint("[turn]\nrelay_port_min = 80", &[]).contains("relay_port_min"));
}

#[test]
fn env_string_needs_no_quotes() {
    let over = env(&[("SECUREVOX__HTTP__PUBLIC_URL", "https://chat.example")]);
    assert_eq!(load("", over).unwrap().http.public_url, "https://chat.example");
}

#[test]
fn serialized_config_redacts_passwords() {
    let over = env(&[("SECUREVOX__DATABASE__URL", "postgres://u:hunter2@h/d")]);
    let config = load("", over).unwrap();
    assert!(!toml::to_string(&config).unwrap().contains("hunter2"));
}
