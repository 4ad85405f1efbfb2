//! The story of `opm why`: one line for each event, newest last; runs that all ended in the same way are told once.

use super::super::{Screen, events, time};
use crate::api::{EventLine, Happening, Why};

/// Fewer runs alike are told one by one.
const ALIKE: usize = 3;

/// A run from its start to what it said last, or something else that happened.
#[derive(Default)]
struct Chapter<'a> {
    events: Vec<&'a EventLine>,
    run: Option<u64>,
    /// How it ended, in words.
    end: Option<String>,
    /// It said something new.
    speaks: bool,
}

/// The lines.
pub(super) fn lines(why: &Why, screen: &Screen) -> Vec<String> {
    let chapters = chapters(&why.story);
    let mut out = Vec::new();
    if why.cut {
        out.push("...".to_owned());
    }
    let mut at = 0;
    while let Some(chapter) = chapters.get(at) {
        chapter.events.iter().for_each(|event| tell(event, why, screen, &mut out));
        let rest = chapters.get(at + 1..).unwrap_or_default();
        let alike =
            rest.iter().take_while(|next| chapter.end.is_some() && next.end == chapter.end && !next.speaks).count();
        at += 1;
        if alike >= ALIKE {
            let last = rest.get(alike - 1).and_then(|chapter| chapter.events.last());
            let ago = last.map(|event| format!(", the last {}", time::ago(&event.at, screen.now))).unwrap_or_default();
            out.push(format!("... {alike} more runs ended in the same way{ago}"));
            at += alike;
        }
    }
    out
}

fn chapters(story: &[EventLine]) -> Vec<Chapter<'_>> {
    let mut chapters: Vec<Chapter<'_>> = Vec::new();
    for event in story {
        let run = match &event.what {
            Happening::Started { run, .. } | Happening::Exited { run, .. } | Happening::LastWords { run, .. } => {
                Some(*run)
            }
            Happening::Cleared { .. }
            | Happening::Ordered(_)
            | Happening::Added(_)
            | Happening::Changed { .. }
            | Happening::Deleted(_)
            | Happening::DaemonStarted { .. }
            | Happening::DaemonEnded { .. }
            | Happening::Trouble { .. }
            | Happening::Gap
            | Happening::Other => None,
        };
        // Last words come when the pipes are drained; its successor may have been started by then. They belong to their run, as
        // does its end, unless something else happened to the run in between.
        let is_last = matches!(event.what, Happening::LastWords { .. });
        let reach = if is_last { chapters.len() } else { 1 };
        let known = chapters.iter().rev().take(reach).position(|chapter| run.is_some() && chapter.run == run);
        let known = known.map(|back| chapters.len() - 1 - back);
        let at = known.unwrap_or_else(|| {
            chapters.push(Chapter { run, ..Chapter::default() });
            chapters.len() - 1
        });
        let Some(chapter) = chapters.get_mut(at) else { continue };
        chapter.events.push(event);
        if let Happening::Exited { exit, .. } = &event.what {
            chapter.end = Some(events::ended(exit));
        }
        chapter.speaks |= matches!(&event.what, Happening::LastWords { same_as: None, .. });
    }
    chapters
}

fn tell(event: &EventLine, why: &Why, screen: &Screen, out: &mut Vec<String>) {
    let (about, _, text) = events::words(event);
    let clock = event.at.split_once('T').and_then(|(_, time)| time.get(..8)).unwrap_or_default();
    let ago = time::ago(&event.at, screen.now);
    // Its own name would only be said again; of a deleted app it tells the instance.
    let about = if why.instance.is_some() || about == why.name { String::new() } else { format!("{about} ") };
    out.push(format!(
        "{} {}  {about}{text}",
        screen.paint.dim(&format!("{clock}Z")),
        screen.paint.dim(&format!("{ago:>8}"))
    ));
    if let Happening::LastWords { lines, .. } = &event.what {
        let quoted = events::quoted(lines, "  ", screen.paint);
        out.extend(quoted.lines().map(str::to_owned));
    }
}
