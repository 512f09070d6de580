//! `securevox doctor`: checks the installation; each finding says what to do about it.

use std::net::{TcpListener, UdpSocket};

use store::Store;

use super::{CliError, print_line};
use crate::app;
use crate::config::Config;

/// Checks everything a server needs; fails if anything is missing.
pub(super) async fn doctor(config: Config) -> Result<(), CliError> {
    let mut problems = 0;
    let mut report = |check: &str, result: Result<String, String>| {
        let line = match result {
            Ok(good) => format!("ok    {check}: {good}"),
            Err(bad) => {
                problems += 1;
                format!("WRONG {check}: {bad}")
            }
        };
        print_line(&line)
    };
    report("settings", Ok(format!("profile {}", config.profile)))?;
    report("panics", panics())?;
    report("open files", open_files(config.http.max_connections))?;
    report("data directory", data_directory(&config))?;
    report("storage", storage(&config).await)?;
    report("port", port(&config))?;
    report("media ports", media_ports(&config))?;
    report("certificate", certificate(&config))?;
    report("TURN", turn(&config))?;
    report("clock", clock())?;
    let (database, store) = database(&config).await;
    report("database", database)?;
    report("bus", bus(&config).await)?;
    report("cache", cache(&config).await)?;
    if let Some(store) = store {
        report("administrator", administrator(&store).await)?;
    }
    report("public address", public_address(&config))?;
    match problems {
        0 => print_line("no problems found"),
        1 => Err(CliError("1 problem found".to_owned(), 1)),
        n => Err(CliError(format!("{n} problems found"), 1)),
    }
}

/// Supervision relies on unwinding; a build with `panic = "abort"` has none.
fn panics() -> Result<String, String> {
    std::panic::set_hook(Box::new(|_| {}));
    let caught = std::panic::catch_unwind(|| std::panic::panic_any("on purpose")).is_err();
    let _ = std::panic::take_hook();
    if caught {
        Ok("are caught".to_owned())
    } else {
        Err("are not caught: build with panic = \"unwind\"".to_owned())
    }
}

fn open_files(wanted: usize) -> Result<String, String> {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3)?.parse::<usize>().ok());
    match soft {
        Some(soft) if soft < wanted => Err(format!(
            "this process may open {soft}, http.max_connections is {wanted}: raise `ulimit -n` or \
             LimitNOFILE, or lower the setting"
        )),
        Some(soft) => Ok(format!("limit {soft}")),
        None => Ok("limit unknown".to_owned()),
    }
}

fn data_directory(config: &Config) -> Result<String, String> {
    let path = &config.node.data_dir;
    let probe = path.join(".doctor");
    std::fs::create_dir_all(path)
        .and_then(|()| std::fs::write(&probe, b"x"))
        .and_then(|()| std::fs::remove_file(&probe))
        .map(|()| format!("{} is writable", path.display()))
        .map_err(|error| {
            format!(
                "{} is not writable ({error}): set node.data_dir or change its owner",
                path.display()
            )
        })
}

/// Writes, reads and deletes a small object. Whether other nodes see the same storage cannot be
/// checked from here: with PostgreSQL there may be some.
async fn storage(config: &Config) -> Result<String, String> {
    let blobs = crate::integrations::blob_store::open(&config.storage, &config.node.data_dir)?;
    let directory = config.storage.directory(&config.node.data_dir);
    blobs.probe(directory.join("uploads")).await.map_err(|error| {
        format!("files cannot be stored ({error}): check [storage], its keys and the free space")
    })?;
    let shared = match (config.storage.backend, config.database.url.is_empty()) {
        (crate::config::StorageKind::Disk, false) => {
            "; if there are several nodes, all of them must share this directory"
        }
        _ => "",
    };
    let kind = config.storage.backend;
    Ok(format!(
        "{kind:?} writes, reads and deletes; uploads are in {}{shared}",
        directory.display()
    ))
}

fn port(config: &Config) -> Result<String, String> {
    let bind = config.http.bind;
    match TcpListener::bind(bind) {
        Ok(_) => Ok(format!("{bind} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Ok(format!("{bind} is in use, perhaps by a running server"))
        }
        Err(error) => Err(format!("{bind} cannot be used ({error}): set http.bind")),
    }
}

fn media_ports(config: &Config) -> Result<String, String> {
    let media = &config.media;
    let threads = crate::actors::tree::media_threads(config);
    for n in 0..threads {
        let port = if media.port_base == 0 { 0 } else { usize::from(media.port_base) + n };
        let address = (media.bind, u16::try_from(port).unwrap_or_default());
        match UdpSocket::bind(address) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                return Ok(format!("{port} is in use, perhaps by a running server"));
            }
            Err(error) => {
                return Err(format!(
                    "{port} cannot be used ({error}): set media.bind or media.port_base"
                ));
            }
            Ok(_) => {}
        }
    }
    let addresses = crate::actors::media::addresses(config);
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    Ok(format!("{threads} are free; announced addresses: {}", addresses.join(", ")))
}

fn certificate(config: &Config) -> Result<String, String> {
    match crate::http::tls::tls(&config.http)? {
        Some(_) => Ok(format!("{} is valid", config.http.tls_certificate_file.display())),
        None => Ok("none: a proxy must terminate TLS".to_owned()),
    }
}

fn turn(config: &Config) -> Result<String, String> {
    if !config.turn.is_embedded_enabled() {
        return Ok(match config.turn.external_urls.first() {
            Some(url) => format!("external: {url}"),
            None => "off: users behind restrictive networks cannot call".to_owned(),
        });
    }
    let (address, port) = (config.turn.bind, config.turn.port);
    match crate::actors::turn::TurnSockets::bind(&config.turn, config.http.has_tls()) {
        Ok(_) => Ok(format!("{address} port {port} is free, over UDP and TCP")),
        Err(error) if error.contains("another program") => {
            Ok(format!("{address} port {port} is in use, perhaps by a running server"))
        }
        Err(error) => Err(error),
    }
}

fn clock() -> Result<String, String> {
    let now = base::clock::Clock::wall().now();
    if now.seconds() > 1_700_000_000 {
        Ok(now.to_string())
    } else {
        Err(format!("{now} is implausible: tokens would expire at once; set the clock"))
    }
}

async fn database(config: &Config) -> (Result<String, String>, Option<Store>) {
    match Store::open(app::store_config(config)).await {
        Ok(store) => (Ok(format!("{} answers", store.backend())), Some(store)),
        Err(error) => {
            let hint = if config.database.url.is_empty() {
                "check node.data_dir and the free space"
            } else {
                "check database.url, and whether PostgreSQL runs and accepts the login"
            };
            (Err(format!("{error}: {hint}")), None)
        }
    }
}

async fn bus(config: &Config) -> Result<String, String> {
    let Some(bus) = app::shared_bus(config, base::ids::NodeId::new())? else {
        return Ok("off: single node".to_owned());
    };
    match bus.check_connection().await {
        Ok(()) => Ok("RabbitMQ answers".to_owned()),
        Err(error) => Err(format!(
            "{error}: check cluster.amqp_url, and whether RabbitMQ runs and accepts the login"
        )),
    }
}

async fn cache(config: &Config) -> Result<String, String> {
    let Some(cache) = app::shared_cache(config)? else {
        return Ok("in this process".to_owned());
    };
    match cache.check_connection().await {
        Ok(()) => Ok("Redis answers".to_owned()),
        Err(error) => Err(format!(
            "{error}: check cluster.redis_url, and whether Redis runs and accepts the login"
        )),
    }
}

async fn administrator(store: &Store) -> Result<String, String> {
    match store.has_admin().await {
        Ok(true) => Ok("exists".to_owned()),
        Ok(false) => {
            Ok("none yet: `securevox serve` prints a setup link, or use `securevox user add --role admin`"
                .to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn public_address(config: &Config) -> Result<String, String> {
    let url = &config.http.public_url;
    let local = url.contains("//localhost") || url.contains("//127.");
    if config.profile == "production" && !url.starts_with("https://") {
        return Err(format!("{url} is not https: passwords would be sent unencrypted"));
    }
    if config.profile == "production" && local {
        return Err(format!("{url} is only reachable on this machine: set http.public_url"));
    }
    Ok(url.clone())
}
