//! Figures: how they are summed up, printed, and kept for the table of all benchmarks.

use std::io::Write;
use std::time::Duration;

use serde_json::json;

/// A bound that a figure is meant to keep: which of its values, and the most it may be.
pub type Aim = Option<(&'static str, f64)>;

/// Tells a figure: a line on the terminal, and a line in each of the two files that
/// `SECUREVOX_BENCH_ROWS` names without their endings (`.jsonl` and `.md`).
pub fn figure(bench: &str, what: &str, unit: &str, values: &[(&str, f64)], aim: Aim) {
    let text: Vec<_> = values.iter().map(|(name, value)| said(name, *value)).collect();
    let text = format!("{} {unit}", text.join(" · "));
    println!("{what}: {text}");
    #[expect(clippy::disallowed_methods, reason = "a benchmark is told where its figures go")]
    let Ok(rows) = std::env::var("SECUREVOX_BENCH_ROWS") else { return };
    let load = load();
    let reached = aim.and_then(|(name, most)| {
        let value = values.iter().find(|value| value.0 == name)?;
        Some(value.1 <= most)
    });
    let verdict = match (aim, reached) {
        (Some((name, most)), Some(reached)) => {
            format!("{} {unit}: {}", said(name, most), if reached { "reached" } else { "missed" })
        }
        _ => String::new(),
    };
    append(&rows, "md", &format!("| {bench} | {what} | {text} | {verdict} | {load} |"));
    let values: serde_json::Map<_, _> =
        values.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let aim = aim.map(|(name, most)| json!({ "value": name, "most": most, "reached": reached }));
    let row = json!({
        "bench": bench, "what": what, "unit": unit, "values": values, "aim": aim, "load": load,
    });
    append(&rows, "jsonl", &row.to_string());
}

/// Tells how long something took, in milliseconds: median, 99th and 99.9th percentile, longest.
pub fn times(bench: &str, what: &str, times: &mut [Duration], aim: Aim) {
    times.sort_unstable();
    let at = |part: usize| match times.len() {
        0 => f64::NAN,
        count => times[(count * part / 1000).min(count - 1)].as_secs_f64() * 1e3,
    };
    let values = [("p50", at(500)), ("p99", at(990)), ("p99.9", at(999)), ("max", at(1000))];
    figure(bench, what, "ms", &values, aim);
}

/// Three digits that matter; the only value of a figure needs no name.
fn said(name: &str, value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    let value = format!("{value:.digits$}");
    if name.is_empty() { value } else { format!("{name} {value}") }
}

/// How busy the machine was during the last minute.
fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|part| part.parse().ok()).unwrap_or(f64::NAN)
}

fn append(rows: &str, ending: &str, line: &str) {
    let file = std::fs::File::options().create(true).append(true).open(format!("{rows}.{ending}"));
    writeln!(file.unwrap(), "{line}").unwrap();
}
