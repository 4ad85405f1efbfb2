//! What an order about limits came to: one line for each app, however many instances it has.

use super::{Paint, printable};
use crate::api::{OutcomeBody, Word};

/// The lines for those that are under the limits they were to be under. What else came out is told elsewhere.
pub(super) fn lines(outcomes: &[OutcomeBody], paint: Paint) -> Vec<String> {
    let fine: Vec<&OutcomeBody> = outcomes.iter().filter(|o| is_told(o)).collect();
    fine.chunk_by(|a, b| a.id == b.id).map(|app| line(app, paint)).collect()
}

/// Whether it is told here.
pub(super) fn is_told(outcome: &OutcomeBody) -> bool {
    outcome.result == Word::Limited && outcome.saved
}

/// `limits of web changed (id 0): memory_max 512M -> 1G; applied to 4 instances`.
fn line(app: &[&OutcomeBody], paint: Paint) -> String {
    let Some(first) = app.first() else { return String::new() };
    let name = paint.bold(&printable(&first.name));
    let what = match app.iter().find_map(|outcome| outcome.changes.as_deref()) {
        Some(changes) => {
            format!("limits of {name} {} (id {}): {}", paint.green("changed"), first.id, printable(changes))
        }
        None => format!("limits of {name} are so already (id {})", first.id),
    };
    let runs = app.iter().filter(|outcome| outcome.pid.is_some()).count();
    let instances = |count: usize| format!("{count} instance{}", if count == 1 { "" } else { "s" });
    match (runs, app.len() - runs) {
        (0, _) => format!("{what}; nothing of it runs now"),
        (runs, 0) => format!("{what}; applied to {}", instances(runs)),
        (runs, rest) => format!("{what}; applied to {}, {} not running", instances(runs), instances(rest)),
    }
}
