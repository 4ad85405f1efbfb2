//! Followers: who wants to know when which log file grows.
//!
//! Owns the telling. It must not carry bytes: a follower reads the file. What a reader would get wrong: a follower that
//! does not look is told once, however much is written; so a slow one costs nothing and slows nobody.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::Notify;

/// Which files a follower wants to hear of, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All of them, also those that are yet to come.
    All,
    /// These.
    Files(BTreeSet<Arc<str>>),
}

impl Filter {
    fn wants(&self, file: &Arc<str>) -> bool {
        match self {
            Self::All => true,
            Self::Files(files) => files.contains(file),
        }
    }
}

/// A follower's end. Dropping it ends the following.
#[derive(Debug)]
pub struct Follow(Arc<Shared>);

/// The pump's end of a follower.
#[derive(Debug)]
pub(super) struct Follower(Weak<Shared>);

#[derive(Debug)]
struct Shared {
    filter: Filter,
    grown: Mutex<BTreeSet<Arc<str>>>,
    bell: Notify,
}

impl Shared {
    fn take(&self) -> BTreeSet<Arc<str>> {
        std::mem::take(&mut *self.grown.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(super) fn pair(filter: Filter) -> (Follow, Follower) {
    let shared = Arc::new(Shared { filter, grown: Mutex::default(), bell: Notify::new() });
    let follower = Follower(Arc::downgrade(&shared));
    (Follow(shared), follower)
}

impl Follow {
    /// Waits until files have grown, and says which. May name one that has not; never leaves one out.
    pub async fn grown(&self) -> BTreeSet<Arc<str>> {
        loop {
            let grown = self.0.take();
            if !grown.is_empty() {
                return grown;
            }
            self.0.bell.notified().await;
        }
    }

    /// Which have grown since it was last asked.
    #[must_use]
    pub fn grown_so_far(&self) -> BTreeSet<Arc<str>> {
        self.0.take()
    }
}

impl Follower {
    /// Tells of a file; false when nobody listens any more.
    pub(super) fn tell(&self, file: &Arc<str>) -> bool {
        let Some(shared) = self.0.upgrade() else { return false };
        if shared.filter.wants(file) {
            let new = shared.grown.lock().unwrap_or_else(PoisonError::into_inner).insert(Arc::clone(file));
            if new {
                shared.bell.notify_one();
            }
        }
        true
    }
}
