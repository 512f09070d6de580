//! Documents that are generated from the code and the settings file; a stale one fails its test.
//! `make docs` writes them anew.

use std::fmt::Write as _;
use std::path::Path;

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
