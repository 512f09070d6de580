//! `securevox doctor`: each finding in words, with what to do about it.

use std::net::{TcpListener, UdpSocket};

use store::Store;

use super::{CliError, say};
use crate::app;
use crate::config::Config;

/// Looks at everything a server needs; fails if any of it is missing.
pub(super) async fn doctor(config: Config) -> Result<(), CliError> {
    let mut wrong = 0;
    let mut tell = |what: &str, finding: Result<String, String>| {
        let line = match finding {
            Ok(good) => format!("ok    {what}: {good}"),
            Err(bad) => {
                wrong += 1;
                format!("WRONG {what}: {bad}")
            }
        };
        say(&line)
    };
    tell("settings", Ok(format!("profile {}", config.profile)))?;
    tell("panics", panics())?;
    tell("open files", open_files(config.http.max_connections))?;
    tell("data directory", data_directory(&config))?;
    tell("storage", storage(&config).await)?;
    tell("port", port(&config))?;
    tell("media ports", media_ports(&config))?;
    tell("certificate", certificate(&config))?;
    tell("TURN", turn(&config))?;
    tell("clock", clock())?;
    let (database, store) = database(&config).await;
    tell("database", database)?;
    tell("bus", bus(&config).await)?;
    tell("cache", cache(&config).await)?;
    if let Some(store) = store {
        tell("administrator", administrator(&store).await)?;
    }
    tell("public address", public_address(&config))?;
    match wrong {
        0 => say("everything a server needs is here"),
        1 => Err(CliError("one thing is wrong".to_owned(), 1)),
        n => Err(CliError(format!("{n} things are wrong"), 1)),
    }
}

/// Supervision stands on unwinding; a build with `panic = "abort"` has none.
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
        Some(soft) => Ok(format!("{soft} are allowed")),
        None => Ok("no limit is known".to_owned()),
    }
}

fn data_directory(config: &Config) -> Result<String, String> {
    let path = &config.node.data_dir;
    let probe = path.join(".doctor");
    std::fs::create_dir_all(path)
        .and_then(|()| std::fs::write(&probe, b"x"))
        .and_then(|()| std::fs::remove_file(&probe))
        .map(|()| format!("{} can be written", path.display()))
        .map_err(|error| {
            format!(
                "{} cannot be written ({error}): set node.data_dir or its owner",
                path.display()
            )
        })
}

/// Writes, reads and removes a small object. Whether other nodes see the same cannot be seen from
/// here: with PostgreSQL there may be some.
async fn storage(config: &Config) -> Result<String, String> {
    let blobs = crate::integrations::blob_store::open(&config.storage, &config.node.data_dir)?;
    let place = config.storage.place(&config.node.data_dir);
    blobs.probe(place.join("uploads")).await.map_err(|error| {
        format!("files cannot be kept ({error}): look at [storage], its keys and the free space")
    })?;
    let shared = match (config.storage.backend, config.database.url.is_empty()) {
        (crate::config::StorageKind::Disk, false) => {
            "; if there are several nodes, all must share this folder"
        }
        _ => "",
    };
    let kind = config.storage.backend;
    Ok(format!("{kind:?} keeps, gives and removes; uploads lie in {}{shared}", place.display()))
}

fn port(config: &Config) -> Result<String, String> {
    let bind = config.http.bind;
    match TcpListener::bind(bind) {
        Ok(_) => Ok(format!("{bind} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Ok(format!("{bind} is taken, by a running server perhaps"))
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
                return Ok(format!("{port} is taken, by a running server perhaps"));
            }
            Err(error) => {
                return Err(format!(
                    "{port} cannot be used ({error}): set media.bind or media.port"
                ));
            }
            Ok(_) => {}
        }
    }
    let told = crate::actors::media::addresses(config);
    let told: Vec<_> = told.iter().map(ToString::to_string).collect();
    Ok(format!("{threads} are free; clients are told {}", told.join(", ")))
}

fn certificate(config: &Config) -> Result<String, String> {
    match crate::http::tls::tls(&config.http)? {
        Some(_) => Ok(format!("{} can be used", config.http.tls_certificate_file.display())),
        None => Ok("none here: TLS is a proxy's".to_owned()),
    }
}

fn turn(config: &Config) -> Result<String, String> {
    if !config.turn.runs() {
        return Ok(match config.turn.external_urls.first() {
            Some(url) => format!("others do it: {url}"),
            None => "off: people whom nobody can reach have no calls".to_owned(),
        });
    }
    let (address, port) = (config.turn.bind, config.turn.port);
    match crate::actors::turn::TurnSockets::bind(&config.turn, config.http.has_tls()) {
        Ok(_) => Ok(format!("{address} port {port} is free, over UDP and TCP")),
        Err(error) if error.contains("another program") => {
            Ok(format!("{address} port {port} is taken, by a running server perhaps"))
        }
        Err(error) => Err(error),
    }
}

fn clock() -> Result<String, String> {
    let now = base::clock::Clock::wall().now();
    if now.seconds() > 1_700_000_000 {
        Ok(now.to_string())
    } else {
        Err(format!("{now} cannot be right: tokens would end at once; set the clock"))
    }
}

async fn database(config: &Config) -> (Result<String, String>, Option<Store>) {
    match Store::open(app::store_config(config)).await {
        Ok(store) => (Ok(format!("{} answers", store.backend())), Some(store)),
        Err(error) => {
            let hint = if config.database.url.is_empty() {
                "look at node.data_dir and the free space"
            } else {
                "look at database.url, and whether PostgreSQL runs and lets us in"
            };
            (Err(format!("{error}: {hint}")), None)
        }
    }
}

async fn bus(config: &Config) -> Result<String, String> {
    let Some(bus) = app::shared_bus(config, base::ids::NodeId::new())? else {
        return Ok("off: this node is alone".to_owned());
    };
    match bus.reach().await {
        Ok(()) => Ok("RabbitMQ answers".to_owned()),
        Err(error) => {
            Err(format!("{error}: look at cluster.bus, and whether RabbitMQ runs and lets us in"))
        }
    }
}

async fn cache(config: &Config) -> Result<String, String> {
    let Some(cache) = app::shared_cache(config)? else {
        return Ok("within this node".to_owned());
    };
    match cache.reach().await {
        Ok(()) => Ok("Redis answers".to_owned()),
        Err(error) => {
            Err(format!("{error}: look at cluster.cache, and whether Redis runs and lets us in"))
        }
    }
}

async fn administrator(store: &Store) -> Result<String, String> {
    match store.has_admin().await {
        Ok(true) => Ok("there is one".to_owned()),
        Ok(false) => {
            Ok("none yet: `securevox serve` prints a link, or `securevox user add --role admin`"
                .to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn public_address(config: &Config) -> Result<String, String> {
    let url = &config.http.public_url;
    let local = url.contains("//localhost") || url.contains("//127.");
    if config.profile == "production" && !url.starts_with("https://") {
        return Err(format!("{url} is not https: people's passwords would travel in the clear"));
    }
    if config.profile == "production" && local {
        return Err(format!("{url} is this machine only: set http.public_url"));
    }
    Ok(url.clone())
}
