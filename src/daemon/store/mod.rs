//! Desired state on disk: what is wanted, durable before it is acted upon, and readable by people.
//!
//! Owns `index.json`, `index.log`, `apps/`, `env/` and `dump.json` under the state folder. It must not hold or write anything about a run:
//! no pid, time, status or counter. What a reader would get wrong: most changes are a line at the end of `index.log`, and the
//! index is written whole only now and then. The files that it names are immutable and called by their content, so a crash
//! leaves the old index with all of its files, or the new one. See `DESIGN.md` in this folder.

mod changes;
mod commit;
pub mod dump;
mod index;
mod load;
mod log;
mod standing;
mod thread;
mod tidy;
mod whole;

pub use commit::Disk;
pub use load::{Loaded, load, look};
pub use thread::{Command, StoreEvent, StoreHandle, spawn};

use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The most that a file of each kind may have. Far above what execve(2) takes; a hostile file must not eat the memory.
const INDEX_MOST: u64 = 64 << 20;
const FILE_MOST: u64 = 16 << 20;
const HASH_LEN: usize = 32;

/// What a content is called by: 128 bits of SHA-256, in hexadecimal.
fn hash(bytes: &[u8]) -> String {
    hash_after("", bytes)
}

/// The same, of a content that only means something after another.
fn hash_after(before: &str, bytes: &[u8]) -> String {
    let digest = Sha256::new_with_prefix(before).chain_update(bytes).finalize();
    digest.iter().take(16).fold(String::with_capacity(HASH_LEN), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
