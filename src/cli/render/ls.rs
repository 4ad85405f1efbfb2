//! The screen of `opm ls`.

use super::table::{Cell, Column, draw};
use super::text::Style;
use super::{Screen, printable, time};
use crate::api::{LastExit, Row};
use crate::model::Namespace;

const fn column(title: &'static str, right: bool, leaves: Option<u8>, least: Option<usize>) -> Column {
    Column { title, right, leaves, least }
}

/// One line for each instance. A namespace is shown once any app has one of its own.
pub(in crate::cli) fn table(rows: &[Row], screen: &Screen) -> String {
    let namespaces = rows.iter().any(|row| row.namespace != Namespace::default().as_str());
    let several = rows.iter().any(|row| row.instance > 0);
    let mut heads = vec![column("id", true, None, None), column("name", false, None, Some(8))];
    if namespaces {
        heads.push(column("namespace", false, Some(1), Some(5)));
    }
    heads.extend([
        column("instance", true, Some(if several { 8 } else { 0 }), None),
        column("pid", true, Some(4), None),
        column("uptime", true, Some(6), None),
        column("↺", true, Some(7), None),
        column("state", false, None, Some(9)),
        column("cpu", true, Some(3), None),
        column("mem", true, Some(5), None),
        column("last exit", false, Some(2), Some(10)),
    ]);
    let cells: Vec<Vec<Cell>> = rows.iter().map(|row| cells(row, namespaces, screen)).collect();
    draw(&heads, &cells, screen)
}

fn cells(row: &Row, namespaces: bool, screen: &Screen) -> Vec<Cell> {
    let lives = matches!(row.state.as_str(), "online" | "starting" | "stopping" | "paused" | "unknown");
    let mut cells = vec![Cell::plain(row.id.to_string()), Cell::styled(Style::Bold, printable(&row.name).into_owned())];
    if namespaces {
        cells.push(Cell::plain(printable(&row.namespace).into_owned()));
    }
    let uptime = row.since.as_deref().filter(|_| lives).map(|since| time::since(since, screen.now));
    cells.extend([
        Cell::plain(row.instance.to_string()),
        Cell::plain(row.pid.map(|pid| pid.to_string()).unwrap_or_default()),
        Cell::plain(uptime.unwrap_or_default()),
        Cell::plain(row.restarts.to_string()),
        Cell::styled(state_style(&row.state), state(row, " ", screen)),
        Cell::plain(row.cpu_percent.map(cpu).unwrap_or_default()),
        Cell::plain(row.memory_bytes.map(memory).unwrap_or_default()),
        Cell::styled(Style::Dim, row.last_exit.as_ref().map(|exit| last_exit(exit, screen)).unwrap_or_default()),
    ]);
    cells
}

/// `online`, `backoff, next in 12s`, `stopped (finished)`.
pub(in crate::cli) fn state_in_full(row: &Row, screen: &Screen) -> String {
    state(row, ", next in ", screen)
}

/// The state, with what `next` announces: the time left until the next attempt.
fn state(row: &Row, next: &str, screen: &Screen) -> String {
    let mut text = printable(&row.state).into_owned();
    if row.state == "online" && row.ready == "no" {
        text.push_str(", not ready");
    }
    if let Some(at) = &row.next_attempt {
        text.push_str(&format!("{next}{}", time::until(at, screen.now)));
    }
    if let Some(detail) = &row.detail {
        text.push_str(&format!(" ({})", printable(detail)));
    }
    text
}

pub(in crate::cli) fn state_style(state: &str) -> Style {
    match state {
        "online" => Style::Green,
        "starting" | "stopping" | "backoff" => Style::Yellow,
        "errored" | "unknown" => Style::Red,
        "paused" => Style::Cyan,
        "stopped" => Style::Dim,
        // A newer daemon may have a word more.
        _ => Style::Plain,
    }
}

/// `code 1, 3m ago`; `SIGSEGV (core dumped), 3m ago`.
pub(in crate::cli) fn last_exit(exit: &LastExit, screen: &Screen) -> String {
    let how = match (&exit.signal, exit.code) {
        (Some(signal), _) if exit.core => format!("{} (core dumped)", printable(signal)),
        (Some(signal), _) => printable(signal).into_owned(),
        (None, Some(code)) => format!("code {code}"),
        (None, None) => String::new(),
    };
    let why = match exit.cause.as_str() {
        "own_exit" | "signal" => "",
        "stop_order" => "on order",
        "deadline" => "grace period over",
        "out_of_memory" => "out of memory",
        "memory_mark" => "memory mark",
        "spawn_failed" => "not started",
        "not_observed" => "not observed",
        // A newer daemon may know one more cause.
        other => other,
    };
    let amount = match (exit.memory_peak_bytes, exit.memory_max_bytes) {
        (Some(peak), Some(most)) => format!(" ({} of {})", memory(peak), memory(most)),
        (None, Some(most)) => format!(" (of {})", memory(most)),
        (Some(_) | None, None) => String::new(),
    };
    let parts = [how, format!("{}{amount}", printable(why)), time::ago(&exit.at, screen.now)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// `0.4%`, `37%`, `210%`.
pub(in crate::cli) fn cpu(percent: f64) -> String {
    if percent < 9.95 { format!("{percent:.1}%") } else { format!("{percent:.0}%") }
}

/// `512K`, `1.7M`, `45.3M`, `2.1G`.
pub(in crate::cli) fn memory(bytes: u64) -> String {
    let mut value = bytes as f64 / 1024.0;
    for unit in ["K", "M", "G"] {
        if value < 1000.0 {
            return if unit == "K" { format!("{value:.0}K") } else { format!("{value:.1}{unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1}T")
}
