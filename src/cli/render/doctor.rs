//! `opm doctor` for people: groups of lines, and under what is not as it should be what is lost and how to mend it.

use super::text::Style;
use super::{Screen, columns, printable};
use crate::api::{Check, Doctor, Verdict};

/// The whole screen.
pub(in crate::cli) fn screen(found: &Doctor, screen: &Screen) -> String {
    let mut groups: Vec<(&str, Vec<(&str, &Check)>)> = Vec::new();
    for check in &found.checks {
        let (group, name) = check.id.split_once('.').unwrap_or(("", &check.id));
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, lines)) => lines.push((name, check)),
            None => groups.push((group, vec![(name, check)])),
        }
    }
    let width = found.checks.iter().map(|check| columns(name_of(check))).max().unwrap_or(0);
    let mut out = String::new();
    for (group, lines) in groups {
        out.push_str(&format!("{}\n", screen.paint.bold(&printable(group))));
        for (name, check) in lines {
            line(&mut out, name, check, width, screen);
        }
    }
    out.push_str(&format!("\n{}\n", summary(&found.checks)));
    out
}

fn name_of(check: &Check) -> &str {
    check.id.split_once('.').map_or(&*check.id, |(_, name)| name)
}

fn line(out: &mut String, name: &str, check: &Check, width: usize, screen: &Screen) {
    let (word, style) = match check.verdict {
        Verdict::Ok => ("ok  ", Style::Green),
        Verdict::Note => ("note", Style::Yellow),
        Verdict::Bad => ("bad ", Style::Red),
    };
    let name = printable(&name.replace(['_', '.'], " ")).into_owned();
    let pad = " ".repeat(width.saturating_sub(columns(&name)));
    out.push_str(&format!("  {}  {name}{pad}  {}\n", screen.paint.styled(style, word), printable(&check.found)));
    for (label, text) in [("lost:", &check.lost), ("mend:", &check.mend)] {
        if let Some(text) = text {
            out.push_str(&format!("        {} {}\n", screen.paint.dim(label), printable(text)));
        }
    }
}

fn summary(checks: &[Check]) -> String {
    let count = |verdict: Verdict| checks.iter().filter(|check| check.verdict == verdict).count();
    let s = |n: usize| if n == 1 { "" } else { "s" };
    match (count(Verdict::Bad), count(Verdict::Note)) {
        (0, 0) => format!("all {} checks are ok", checks.len()),
        (0, notes) => format!("nothing is wrong; {notes} note{}", s(notes)),
        (bad, notes) => format!("{bad} thing{} wrong; {notes} note{}", s(bad), s(notes)),
    }
}
