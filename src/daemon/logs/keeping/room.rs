//! Room on a disk, made of the oldest of what was set aside, whoever's it is.
//!
//! Owns the floor, full disks, and the saying so. It must not touch a file that is being written. What a reader would get wrong: the
//! filesystem is asked once, and then counted: btrfs and XFS give back what was removed only later, and whoever asked them again
//! would remove all.

use super::Freed;
use super::caps::{self, Kept};
use super::shelf::Shelves;
use super::work::Work;
use crate::daemon::logs::series::Series;
use std::collections::BTreeSet;
use std::path::Path;

impl Work {
    /// True: something was removed.
    pub(super) fn keep_floor(&mut self, look: &mut Shelves, folder: &Path) -> bool {
        let (Some(space), Some(device)) = (look.space(folder), look.device(folder)) else { return false };
        let spell = format!("floor {device}");
        let need = space.below_floor();
        if need == 0 {
            self.said.remove(&spell);
            return false;
        }
        let all = self.all_on(look, device);
        let (freed, of) = self.remove_all(look, caps::for_room(all, need));
        if freed.files > 0 {
            let text = format!("{}: less than {} of the disk are free", dropped(freed, &of), human(space.floor()));
            self.say_once(spell, text);
        }
        freed.files > 0
    }

    /// A file in that folder cannot take bytes: the oldest of all that were set aside on its filesystem go.
    pub(super) fn make_room(&mut self, folder: &Path) -> Freed {
        let mut look = Shelves::default();
        let freed = match (look.space(folder), look.device(folder)) {
            (Some(space), Some(device)) => {
                let all = self.all_on(&mut look, device);
                let (freed, of) = self.remove_all(&mut look, caps::for_room(all, space.lacking()));
                if freed.files > 0 {
                    (self.report)(format!("{}: the disk is full", dropped(freed, &of)));
                }
                freed
            }
            (Some(_) | None, Some(_) | None) => Freed::default(),
        };
        self.tell_troubles(look);
        freed
    }

    /// Removes all that was set aside of these logs.
    pub(super) fn clear(&mut self, series: &[Series]) -> Freed {
        let mut look = Shelves::default();
        let all = series.iter().flat_map(|series| look.parts(series)).collect();
        let (freed, _) = self.remove_all(&mut look, all);
        self.tell_troubles(look);
        freed
    }

    /// All that was set aside on a filesystem, whoever's it is.
    fn all_on(&self, look: &mut Shelves, device: u64) -> Vec<Kept> {
        let all: BTreeSet<&Series> =
            self.apps.values().flat_map(|known| &known.series).chain(self.orphans.keys()).collect();
        let mut kept = Vec::new();
        for series in all {
            if look.device(series.folder()) == Some(device) {
                kept.extend(look.parts(series));
            }
        }
        kept
    }

    /// Gives what went, and whose it was.
    fn remove_all(&mut self, look: &mut Shelves, all: Vec<Kept>) -> (Freed, String) {
        let (mut freed, mut of) = (Freed::default(), BTreeSet::new());
        for kept in all {
            if self.remove(look, &kept) {
                freed.files += 1;
                freed.bytes += kept.held;
                of.insert(self.name_of(&kept.series));
            }
        }
        (freed, listed(&of))
    }

    fn name_of(&self, series: &Series) -> String {
        let known = self.apps.values().find(|known| known.series.contains(series)).map(|known| known.name.to_string());
        known.or_else(|| Some(self.orphans.get(series)?.name.clone())).unwrap_or_else(|| series.key().to_string())
    }
}

/// `web`; `api and web`; `api, web and 3 others`.
fn listed(names: &BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [one, two] => format!("{one} and {two}"),
        [one, two, three] => format!("{one}, {two} and {three}"),
        [one, two, others @ ..] => format!("{one}, {two} and {} others", others.len()),
    }
}

/// `dropped 3 rotated log files of web (28 MiB)`.
fn dropped(freed: Freed, of: &str) -> String {
    let files = if freed.files == 1 { "file" } else { "files" };
    format!("dropped {} rotated log {files} of {of} ({})", freed.files, human(freed.bytes))
}

/// `28 MiB`.
fn human(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..10_737_418_240 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}
