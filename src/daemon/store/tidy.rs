//! The folders beside the index: which files may go, and whether anybody else was there.
//!
//! Owns the removal of files. What a reader would get wrong: a file that nobody wants any more stays until the index that named it is
//! not even the previous one.

use super::commit::Disk;
use super::index::{Index, id_of_spec_file, is_env_file};
use crate::kernel::files::{Dir, FileError, Look};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// The folders as we left them. While they look so, nobody else has touched them, and a change costs what it changes;
/// to go through the names of thousands of apps at each would cost more than all its fsyncs.
#[derive(Debug)]
pub(super) struct Settled {
    state: Look,
    apps: Look,
    env: Look,
    /// Files that the previous index names and the one on disk does not: they go when that is written whole again.
    outgoing: BTreeSet<Named>,
}

/// A file of the folders.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Named {
    Spec(String),
    Env(Arc<str>),
}

impl Named {
    fn name(&self) -> &str {
        match self {
            Self::Spec(name) => name,
            Self::Env(name) => name,
        }
    }

    /// Whether one of its apps needs it.
    pub(super) fn is_used_by(&self, index: &Index) -> bool {
        match self {
            Self::Spec(name) => index.uses_spec(name),
            Self::Env(name) => index.uses_env(name),
        }
    }
}

impl Disk {
    /// Whether a file is in its folder, as far as that is known.
    pub(super) fn is_there(&self, file: &Named) -> bool {
        !self.bad.contains(file.name()) && (file.is_used_by(&self.index) || self.dropped.contains(file))
    }

    /// What is known of the folders, if they are as we left them; taken, so that nobody relies on it before the change that comes is through.
    /// Folders that somebody removed are made again: all that was in them is known here, and will be written.
    pub(super) fn still_settled(&mut self) -> Result<Option<Settled>, String> {
        let settled = self.settled.take();
        let made_again = self.revive().map_err(|e| e.to_string())?;
        let as_before = |dir: &Dir, look: Look| dir.look().is_ok_and(|now| now == look);
        Ok(settled.filter(|s| {
            !made_again
                && as_before(&self.state, s.state)
                && as_before(&self.apps, s.apps)
                && as_before(&self.env, s.env)
        }))
    }

    /// After the index was written whole: removes what may go, and remembers how the folders look. A file that somebody removed while
    /// that was under way is missed until the folder changes again, or a daemon starts.
    pub(super) fn tidy_up(&mut self, settled: Option<Settled>) {
        // What the index before this one named and this one does not.
        let mut outgoing = std::mem::take(&mut self.dropped);
        outgoing.retain(|file| !file.is_used_by(&self.index));
        match settled {
            _ if !self.tidy => outgoing.clear(),
            Some(settled) => {
                // It may be wanted again by now.
                for file in settled.outgoing.iter().filter(|f| !outgoing.contains(f) && !f.is_used_by(&self.index)) {
                    let _ = match file {
                        Named::Spec(name) => self.apps.remove(name),
                        Named::Env(name) => self.env.remove(&**name),
                    };
                }
            }
            None => self.sweep(&outgoing),
        }
        self.settle(outgoing);
    }

    /// How the folders look is how we left them.
    fn settle(&mut self, outgoing: BTreeSet<Named>) {
        if let (Ok(state), Ok(apps), Ok(env)) = (self.state.look(), self.apps.look(), self.env.look()) {
            self.settled = Some(Settled { state, apps, env, outgoing });
        }
    }

    /// Removes files that neither the index uses nor the one before it. Only names that we give; failing is no matter.
    fn sweep(&self, outgoing: &BTreeSet<Named>) {
        let names = |dir: &Dir| dir.names().unwrap_or_default().into_iter().filter_map(|n| n.into_string().ok());
        // What a kill left half written is called so.
        let ours = |name: &str, ours: fn(&str) -> bool| ours(name.strip_suffix(".new").unwrap_or(name));
        for name in names(&self.apps).filter(|n| ours(n, |n| id_of_spec_file(n).is_some())) {
            if !self.index.uses_spec(&name) && !outgoing.contains(&Named::Spec(name.clone())) {
                let _ = self.apps.remove(&name);
            }
        }
        let used: HashSet<&str> =
            self.index.apps.values().map(|e| &*e.env).chain(outgoing.iter().map(Named::name)).collect();
        for name in names(&self.env).filter(|n| ours(n, is_env_file)) {
            if !used.contains(name.as_str()) {
                let _ = self.env.remove(&name);
            }
        }
    }

    /// If somebody removed the folders, makes them again. Whether it did.
    fn revive(&mut self) -> Result<bool, FileError> {
        let gone = |dir: &Dir| Dir::open(dir.path()).map_or(true, |now| !same(&now, dir));
        let mut made_again = gone(&self.state);
        if made_again {
            self.state = Dir::make(self.state.path())?;
        }
        for (name, dir) in [("apps", &mut self.apps), ("env", &mut self.env)] {
            if gone(dir) {
                *dir = self.state.sub(name)?;
                made_again = true;
            }
        }
        Ok(made_again)
    }
}

fn same(a: &Dir, b: &Dir) -> bool {
    let id = |d: &Dir| rustix::fs::fstat(d).ok().map(|s| (s.st_dev, s.st_ino));
    id(a) == id(b)
}
