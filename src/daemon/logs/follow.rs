//! Followers: who wants to know when which log grows.
//!
//! Owns the telling. It must not carry bytes: a follower reads the files. What a reader would get wrong: a follower that
//! does not look is told once, however much is written; so a slow one costs nothing and slows nobody. Logs go by their
//! [`Series::key`](super::series::Series::key), which stays the same when files are set aside.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// Which logs a follower wants to hear of, by their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All of them, also those that are yet to come.
    All,
    /// These. They are told once at the beginning, so that nothing falls between a look at them and this.
    Logs(BTreeSet<Arc<str>>),
}

/// A follower's end. Dropping it ends the following.
#[derive(Debug)]
pub struct Follow(Arc<Shared>);

/// The pump's end of a follower.
#[derive(Debug)]
pub(super) struct Follower(Weak<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Debug)]
struct State {
    filter: Filter,
    grown: BTreeSet<Arc<str>>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn pair(filter: Filter) -> (Follow, Follower) {
    let grown = match &filter {
        Filter::All => BTreeSet::new(),
        Filter::Logs(logs) => logs.clone(),
    };
    let shared = Arc::new(Shared { state: Mutex::new(State { filter, grown }), bell: Notify::new() });
    let follower = Follower(Arc::downgrade(&shared));
    (Follow(shared), follower)
}

impl Follow {
    /// Waits until logs have grown, and says which. May name one that has not; never leaves one out.
    pub async fn grown(&self) -> BTreeSet<Arc<str>> {
        loop {
            let grown = self.grown_so_far();
            if !grown.is_empty() {
                return grown;
            }
            self.0.bell.notified().await;
        }
    }

    /// Which have grown since it was last asked.
    #[must_use]
    pub fn grown_so_far(&self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut self.0.state().grown)
    }

    /// Wants to hear of these too, and is told of them once.
    pub fn also(&self, logs: impl IntoIterator<Item = Arc<str>>) {
        let mut state = self.0.state();
        let State { filter, grown } = &mut *state;
        match filter {
            Filter::All => grown.extend(logs),
            Filter::Logs(known) => {
                for log in logs {
                    known.insert(Arc::clone(&log));
                    grown.insert(log);
                }
            }
        }
        drop(state);
        self.0.bell.notify_one();
    }
}

impl Follower {
    /// Tells of a log, by its key; false when nobody listens any more.
    pub(super) fn tell(&self, log: &Arc<str>) -> bool {
        let Some(shared) = self.0.upgrade() else { return false };
        let mut state = shared.state();
        let wanted = match &state.filter {
            Filter::All => true,
            Filter::Logs(logs) => logs.contains(log),
        };
        let new = wanted && state.grown.insert(Arc::clone(log));
        drop(state);
        if new {
            shared.bell.notify_one();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_told_once_until_it_is_looked_at() {
        let key = |name: &str| Arc::<str>::from(name);
        let all = |names: &[&str]| names.iter().map(|name| key(name)).collect::<BTreeSet<_>>();
        let (follow, follower) = pair(Filter::Logs(all(&["a"])));
        assert_eq!(follow.grown_so_far(), all(&["a"]), "at the beginning");
        assert!(follower.tell(&key("a")) && follower.tell(&key("a")) && follower.tell(&key("b")));
        assert_eq!(follow.grown_so_far(), all(&["a"]));
        follow.also([key("b")]);
        assert_eq!(follow.grown_so_far(), all(&["b"]), "it may have grown before it was wanted");
        assert!(follower.tell(&key("b")));
        assert_eq!(follow.grown_so_far(), all(&["b"]));
        drop(follow);
        assert!(!follower.tell(&key("a")));
    }
}
