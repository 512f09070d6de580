//! The house rules, as tests: arrows point down, files are short and introduce themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Layer → the other layers of its own crate it may name after `crate::`; `limits` is open to all.
const MAY_USE: &[(&str, &[&str])] = &[
    ("limits", &[]),
    ("config", &[]),
    ("protocol", &[]),
    ("telemetry", &["config"]),
    ("integrations", &["config"]),
    ("cluster", &["config", "protocol", "telemetry"]),
    ("domain", &["config", "protocol", "cluster", "integrations", "telemetry"]),
    ("actors", &["config", "protocol", "cluster", "telemetry", "domain", "integrations"]),
    ("http", &["config", "protocol", "cluster", "telemetry", "domain", "integrations", "actors"]),
];

/// Layer → crates of ours, and crates of others, that it must not name.
const MUST_NOT_NAME: &[(&str, &[&str])] = &[
    ("config", &["store", "media", "actix", "actix_web", "diesel"]),
    ("protocol", &["store", "media", "actix", "actix_web", "diesel", "tokio"]),
    ("telemetry", &["store", "media", "actix", "actix_web", "diesel"]),
    ("integrations", &["store", "media", "actix", "actix_web", "diesel"]),
    ("cluster", &["media", "actix", "actix_web", "diesel"]),
    ("domain", &["media", "actix", "actix_web", "diesel"]),
    ("actors", &["actix_web", "actix_web_actors", "diesel"]),
    ("http", &["media", "diesel"]),
    ("base", &["store", "media", "actix", "actix_web", "diesel", "tokio", "securevox"]),
    ("store", &["media", "actix", "actix_web", "securevox"]),
    ("media", &["base", "store", "actix", "actix_web", "diesel", "tokio", "securevox"]),
];

/// The packages that stand in `src` beside the layers of the server.
const PACKAGES: [&str; 3] = ["base", "store", "media"];

const MOST_LINES: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn rust_files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    found
}

/// The layer of a file in `src`: `src/http/routes.rs` and `src/cli.rs` are `http` and `cli`.
fn layer(path: &Path) -> String {
    let name = path.iter().nth(1).unwrap_or_default().to_string_lossy();
    name.trim_end_matches(".rs").to_owned()
}

/// Code without its comments, so that a link in a doc comment is no arrow.
fn code(text: &str) -> String {
    text.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// What stands behind `word::`, up to the end of the name.
fn names_after<'a>(code: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(prefix).map(move |(at, _)| {
        let rest = &code[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

fn names_crate(code: &str, name: &str) -> bool {
    let path = format!("{name}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
    })
}

#[test]
fn layers_depend_only_downwards() {
    let mut wrong = Vec::new();
    for (path, text) in rust_files("src") {
        let (layer, code) = (layer(&path), code(&text));
        if let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == layer) {
            for used in names_after(&code, "crate::") {
                let is_layer =
                    MAY_USE.iter().any(|(name, _)| *name == used) || ["app", "cli"].contains(&used);
                let allowed = used == layer || used == "limits" || allowed.contains(&used);
                if is_layer && !allowed {
                    wrong.push(format!("{}: must not use crate::{used}", path.display()));
                }
            }
        }
        if let Some((_, banned)) = MUST_NOT_NAME.iter().find(|(name, _)| *name == layer) {
            for name in banned.iter().filter(|name| names_crate(&code, name)) {
                wrong.push(format!("{}: must not name {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_source_file_belongs_to_a_layer() {
    let known: BTreeSet<_> = MAY_USE.iter().map(|(name, _)| *name).collect();
    let top = ["app", "cli", "lib", "main"];
    for (path, _) in rust_files("src") {
        let layer = layer(&path);
        let fits = known.contains(layer.as_str())
            || top.contains(&layer.as_str())
            || PACKAGES.contains(&layer.as_str());
        assert!(fits, "{} stands in no layer", path.display());
    }
}

/// Modules of one layer that need each other in a circle cannot be read one after the other.
#[test]
fn layers_have_no_import_cycles() {
    for (layer, _) in MAY_USE {
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (path, text) in rust_files(&format!("src/{layer}")) {
            let Some(module) = path.iter().nth(2) else { continue };
            let module = module.to_string_lossy().trim_end_matches(".rs").to_owned();
            let code = code(&text);
            let prefix = format!("crate::{layer}::");
            let used = names_after(&code, &prefix).map(str::to_owned);
            let entry = uses.entry(module.clone()).or_default();
            entry.extend(used.filter(|used| *used != module));
        }
        uses.remove("mod");
        while let Some(leaf) = uses
            .iter()
            .find(|(_, used)| !used.iter().any(|module| uses.contains_key(module)))
            .map(|(module, _)| module.clone())
        {
            uses.remove(&leaf);
        }
        assert!(uses.is_empty(), "{layer}: these need each other: {:?}", uses.keys());
    }
}

#[test]
fn files_are_short_and_start_with_doc_comment() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches", "tools"] {
        for (path, text) in rust_files(folder) {
            let lines = text.lines().count();
            if lines > MOST_LINES {
                wrong.push(format!("{}: {lines} lines", path.display()));
            }
            let first = text.lines().next().unwrap_or_default();
            if !first.starts_with("//! ") || first.len() < 20 {
                wrong.push(format!("{}: the first line says what it is", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_catch_all_module_names() {
    let empty = ["utils", "util", "common", "helpers", "helper", "manager", "misc"];
    for (path, _) in rust_files("src") {
        for part in path.iter() {
            let name = part.to_string_lossy().trim_end_matches(".rs").to_owned();
            assert!(!empty.contains(&name.as_str()), "{}", path.display());
        }
    }
}

#[test]
fn deprecated_crate_is_used_in_one_file_only() {
    let named = rust_files("src")
        .into_iter()
        .filter(|(_, text)| names_crate(&code(text), "actix_web_actors"))
        .map(|(path, _)| path.display().to_string());
    assert_eq!(named.collect::<Vec<_>>(), ["src/http/socket/mod.rs"]);
}

#[test]
fn public_items_are_documented() {
    let mut wrong = Vec::new();
    for (path, text) in rust_files("src") {
        let lines: Vec<_> = text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let item = line.trim_start();
            let is_item = [
                "pub fn ",
                "pub async fn ",
                "pub const fn ",
                "pub struct ",
                "pub enum ",
                "pub trait ",
                "pub type ",
                "pub const ",
            ]
            .iter()
            .any(|start| item.starts_with(start));
            if !is_item {
                continue;
            }
            let above = lines[..n].iter().rev().map(|line| line.trim_start());
            let mut above = above.skip_while(|line| {
                line.starts_with("#[")
                    || line.ends_with(")]")
                    || line.ends_with(']') && !line.starts_with("//")
            });
            let documented = above.next().is_some_and(|line| line.starts_with("///"));
            let in_macro = path.ends_with("ids.rs") || path.ends_with("text_enum.rs");
            if !documented && !in_macro {
                wrong.push(format!("{}:{}: {item}", path.display(), n + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
