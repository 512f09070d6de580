//! Documents that are generated from the code and the settings file; a stale one fails its test.
//! `make docs` writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use securevox::http::error_codes::{declared_codes, status_of};
use securevox::http::http_error::HTTP_ERROR_CODES;

/// Compares a document with what it should say, or writes it if `UPDATE_DOCS` is set.
fn assert_generated(file: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        return std::fs::write(path, expected).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == expected, "{file} is stale: run `make docs`");
}

/// A setting of `config.toml`: section, key, default and the comment above it.
struct Setting {
    section: String,
    key: String,
    default: String,
    comment: String,
}

/// Reads `config.toml` line by line, without the profiles: a comment belongs to all keys that follow it directly.
fn settings(text: &str) -> Vec<Setting> {
    let (mut settings, mut section) = (Vec::new(), String::new());
    let (mut comment, mut open) = (String::new(), false);
    for line in text.lines() {
        if let Some(words) = line.strip_prefix("# ") {
            if !open {
                comment.clear();
            }
            open = true;
            if !comment.is_empty() {
                comment.push(' ');
            }
            comment.push_str(words);
        } else if let Some(name) = line.strip_prefix('[') {
            name.trim_end_matches(']').clone_into(&mut section);
            comment.clear();
        } else if let Some((key, default)) = line.split_once(" = ") {
            open = false;
            settings.push(Setting {
                section: section.clone(),
                key: key.to_owned(),
                default: default.to_owned(),
                comment: comment.clone(),
            });
        } else {
            open = false;
            comment.clear();
        }
    }
    settings.retain(|setting| !setting.section.starts_with("profiles"));
    settings
}

fn settings_reference(text: &str) -> String {
    let mut page = String::from(
        "# Settings\n\nGenerated from `config.toml`, which is compiled in as the lowest layer. A setting `key` of section `[section]` is\n\
         `SECUREVOX__SECTION__KEY` in the environment; values there are TOML.\n",
    );
    let mut last: Option<String> = None;
    for setting in settings(text) {
        if last.as_ref() != Some(&setting.section) {
            let title = if setting.section.is_empty() { "(top)" } else { &setting.section };
            let _ = write!(page, "\n## {title}\n\n| key | default | meaning |\n|---|---|---|\n");
            last = Some(setting.section.clone());
        }
        let comment = setting.comment.replace('|', "\\|");
        let default = setting.default.replace('|', "\\|");
        let _ = writeln!(page, "| `{}` | `{default}` | {comment} |", setting.key);
    }
    page
}

#[test]
fn settings_reference_is_current() {
    let text = include_str!("../../config.toml");

    let read = settings(text);
    assert!(read.iter().all(|setting| !setting.comment.is_empty()), "every setting is explained");
    assert_generated("docs/settings.md", &settings_reference(text));
}

/// Codes that several enums declare, since a client has to do the same in each case.
const SHARED_CODES: [&str; 4] =
    ["actors/restart-failed", "auth/invalid-token", "cluster/ownership-unknown", "internal"];

/// Status, retry and texts of a problem code.
#[derive(Default)]
struct CodeRow {
    status: u16,
    retry_after: Option<u64>,
    texts: BTreeSet<String>,
}

/// The text of an error with `…` for each placeholder.
fn without_placeholders(text: &str) -> String {
    let mut parts = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    while let (Some(start), Some(end)) = (parts.find('{'), parts.find('}')) {
        parts.replace_range(start..=end, "…");
    }
    parts.replace('\u{1}', "{").replace('\u{2}', "}").replace('|', "\\|")
}

fn error_reference() -> String {
    let mut codes: BTreeMap<&str, CodeRow> = BTreeMap::new();
    for code in HTTP_ERROR_CODES {
        let row = codes.entry(code.code).or_default();
        assert_eq!(row.status, 0, "{} is declared twice", code.code);
        row.status = code.status;
        row.texts.insert(code.text.to_owned());
    }
    for (name, declared) in declared_codes() {
        for code in declared {
            let row = codes.entry(code.code).or_default();
            let (is_new, status) = (row.status == 0, status_of(code.kind));
            assert!(is_new || SHARED_CODES.contains(&code.code), "{name}: {} again", code.code);
            assert!(is_new || row.status == status, "{name}: {} has two statuses", code.code);
            row.status = status;
            row.retry_after = row.retry_after.or(code.retry_after);
            // What went wrong inside is logged, and not for clients.
            let text = if code.code == "internal" { "internal server error" } else { code.text };
            row.texts.insert(without_placeholders(text));
        }
    }
    let mut page = String::from(
        "# Problem codes\n\nGenerated from the error types. Errors are problems (RFC 9457); `code` never changes, the text may. \
         Retry: seconds after which a retry makes sense, which is also in the header `Retry-After`.\n",
    );
    let mut last = "";
    for (code, row) in &codes {
        let area = code.split('/').next().unwrap_or_default();
        if area != last {
            let _ = write!(
                page,
                "\n## {area}\n\n| code | status | retry | meaning |\n|---|---|---|---|\n"
            );
            last = area;
        }
        let retry = row.retry_after.map(|seconds| seconds.to_string()).unwrap_or_default();
        let texts: Vec<_> = row
            .texts
            .iter()
            .map(String::as_str)
            .filter(|text| !text.is_empty() && *text != "…")
            .collect();
        let _ = writeln!(page, "| `{code}` | {} | {retry} | {} |", row.status, texts.join("; "));
    }
    page
}

#[test]
fn error_reference_is_current() {
    let codes: Vec<_> = declared_codes().into_iter().flat_map(|(_, codes)| codes).collect();
    for code in codes {
        let (area, reason) = code.code.split_once('/').unwrap_or((code.code, "internal"));
        let is_plain = |part: &str| part.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        assert!(is_plain(area) && is_plain(reason), "{}", code.code);
    }
    assert_generated("docs/errors.md", &error_reference());
}

/// A code that is in no list is in no document.
#[test]
fn every_error_type_lists_its_codes() {
    let listed: BTreeSet<_> =
        declared_codes().into_iter().map(|(name, _)| name.to_owned()).collect();
    let mut declared = BTreeSet::new();
    for (path, text) in crate::architecture::rust_files("src") {
        let lines: Vec<_> = text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let name = if line.starts_with("#[derive(") && line.contains("CodedError") {
                let item = lines[n..].iter().find(|line| line.contains("enum ")).unwrap();
                item.split("enum ").nth(1)
            } else {
                line.strip_prefix("impl CodedError for ")
            };
            if let Some(name) = name.filter(|_| !path.starts_with("src/base")) {
                declared.insert(name.split([' ', '{', '<']).next().unwrap().to_owned());
            }
        }
    }
    declared.remove("HandlerPanicked"); // `internal`, as in other enums
    assert_eq!(declared, listed);
}
