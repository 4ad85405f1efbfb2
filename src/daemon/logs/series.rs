//! A log on disk: the file that is written, those it was before, and their indices.
//!
//! Owns the names. It must not read or write what is in them. What a reader would get wrong: a file's number is given when it is
//! begun (its index holds it) and stands in its name once it is set aside, so that a reader knows which one follows, however many
//! rotations it slept through. Higher is newer.
//!
//! ```text
//! logs/web-0-out.log                  being written, number 18
//! logs/web-0-out.log.000017           set aside, not packed yet
//! logs/web-0-out.log.000016.zst       packed
//! logs/index/web-0-out.log.idx        of number 18
//! logs/index/web-0-out.log.000017.idx
//! ```
//! A log in a place of the user's own has its rotated files beside it, and its indices in the same folder as all others, its path
//! escaped.

use crate::model::LogCompress;
use sha2::{Digest, Sha256};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A log. Cheap to clone; equal if its file is.
#[derive(Debug, Clone)]
pub struct Series(Arc<Names>);

#[derive(Debug)]
struct Names {
    home: Arc<Home>,
    /// What the names of its indices begin with; in opm's own folder also the file's name.
    key: Arc<str>,
    /// In a place of the user's own: the folder and the name.
    foreign: Option<Box<Foreign>>,
}

/// Boxed, since hardly a log is one.
#[derive(Debug)]
struct Foreign {
    folder: Box<Path>,
    name: Box<OsStr>,
}

/// opm's own folders, once for all logs in them: a thousand apps have two thousand logs.
#[derive(Debug)]
struct Home {
    logs: PathBuf,
    indices: PathBuf,
}

impl Home {
    fn of(logs: &Path) -> Arc<Self> {
        static LAST: Mutex<Option<Arc<Home>>> = Mutex::new(None);
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some(home) if home.logs == logs => Arc::clone(home),
            Some(_) | None => {
                let home = Arc::new(Self { logs: logs.to_owned(), indices: logs.join("index") });
                *last = Some(Arc::clone(&home));
                home
            }
        }
    }
}

/// How a file that was set aside is packed.
pub type Packing = LogCompress;

/// A file that was set aside.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Its number.
    pub number: u64,
    /// Its name, in the log's folder.
    pub name: OsString,
    /// What its end says of how it is packed.
    pub packed: bool,
}

impl PartialEq for Series {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.name(), self.folder()) == (other.name(), other.folder())
    }
}
impl Eq for Series {}
impl PartialOrd for Series {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Series {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.folder(), self.name()).cmp(&(other.folder(), other.name()))
    }
}

const INDEX_ENDS: &str = ".idx";
/// A file name holds 255 bytes, and more is put behind this.
const INDEX_MOST: usize = 200;

impl Series {
    /// A log in opm's own folder.
    #[must_use]
    pub fn own(logs: &Path, name: &str) -> Self {
        Self(Arc::new(Names { home: Home::of(logs), key: name.into(), foreign: None }))
    }

    /// A log in a place of the user's own. None: the path names no file.
    #[must_use]
    pub fn of_the_user(logs: &Path, path: &Path) -> Option<Self> {
        let (folder, name) = (path.parent()?, path.file_name()?);
        if folder == logs {
            return Some(Self::own(logs, name.to_str()?));
        }
        let foreign = Some(Box::new(Foreign { folder: folder.into(), name: name.into() }));
        Some(Self(Arc::new(Names { home: Home::of(logs), key: escaped(path).into(), foreign })))
    }

    /// The log whose index has this name. None: it is none, or one whose path was too long to be escaped.
    #[must_use]
    pub fn of_index(logs: &Path, index: &OsStr) -> Option<Self> {
        let name = index.to_str()?.strip_suffix(INDEX_ENDS)?;
        if name.starts_with('#') {
            return None;
        }
        if name.starts_with("%2F") { Self::of_the_user(logs, &unescaped(name)?) } else { Some(Self::own(logs, name)) }
    }

    /// What it is called where several are told apart: on the wire, and in the names of its indices.
    #[must_use]
    pub fn key(&self) -> &Arc<str> {
        &self.0.key
    }

    /// The file that is written.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder().join(self.name())
    }

    /// Its folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.0.foreign.as_ref().map_or(&self.0.home.logs, |foreign| &foreign.folder)
    }

    /// Its name in that folder.
    #[must_use]
    pub fn name(&self) -> &OsStr {
        self.0.foreign.as_ref().map_or_else(|| OsStr::new(&*self.0.key), |foreign| &foreign.name)
    }

    /// In a place of the user's own: its folder was not made by opm, and need not be opm's alone.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.0.foreign.is_some()
    }

    /// The name of its file with this number, once it is set aside.
    #[must_use]
    pub fn rotated(&self, number: u64, packing: Packing) -> OsString {
        let mut name = self.name().to_owned();
        name.push(format!(".{number:06}"));
        name.push(match packing {
            Packing::None => "",
            Packing::Zstd => ".zst",
            Packing::Gzip => ".gz",
        });
        name
    }

    /// The folder of the indices.
    #[must_use]
    pub fn indices(&self) -> &Path {
        &self.0.home.indices
    }

    /// The name of the index of the file that is written, in that folder.
    #[must_use]
    pub fn index(&self) -> String {
        format!("{}{INDEX_ENDS}", self.0.key)
    }

    /// The name of the index of a file that was set aside.
    #[must_use]
    pub fn rotated_index(&self, number: u64) -> String {
        format!("{}.{number:06}{INDEX_ENDS}", self.0.key)
    }

    /// The files that were set aside, oldest first, out of the names in the folder. Where a crash left a file both packed and not,
    /// the one that is not packed counts: the other may be half of it.
    #[must_use]
    pub fn parts(&self, names: &[OsString]) -> Vec<Part> {
        let mut parts: Vec<Part> = names.iter().filter_map(|name| self.part(name)).collect();
        parts.sort_unstable_by_key(|part| (part.number, part.packed));
        parts.dedup_by_key(|part| part.number);
        parts
    }

    fn part(&self, name: &OsStr) -> Option<Part> {
        let rest = name.as_bytes().strip_prefix(self.name().as_bytes())?.strip_prefix(b".")?;
        let rest = std::str::from_utf8(rest).ok()?;
        let (digits, packed) = match rest.strip_suffix(".zst").or_else(|| rest.strip_suffix(".gz")) {
            Some(digits) => (digits, true),
            None => (rest, false),
        };
        if digits.len() < 6 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(Part { number: digits.parse().ok()?, name: name.to_owned(), packed })
    }
}

/// A path as a file name: `/` and `%` become `%2F` and `%25`; what is too long for that, its hash.
fn escaped(path: &Path) -> String {
    let mut name = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'%' | 0..=32 | 127.. => name.push_str(&format!("%{byte:02X}")),
            byte => name.push(char::from(*byte)),
        }
    }
    if name.len() <= INDEX_MOST {
        return name;
    }
    let hash = Sha256::digest(path.as_os_str().as_bytes());
    format!("#{}", hash.iter().take(16).map(|b| format!("{b:02x}")).collect::<String>())
}

fn unescaped(name: &str) -> Option<PathBuf> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        if *first == b'%' {
            let digits = more.get(..2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = more.get(2..)?;
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_told_from_their_neighbours() {
        let series = Series::own(Path::new("/logs"), "web-0-out.log");
        let name = |number, packing| series.rotated(number, packing);
        let all = [
            name(17, Packing::None),
            name(9, Packing::Zstd),
            name(1_000_000, Packing::None),
            name(17, Packing::Zstd),
            name(16, Packing::Gzip),
            "web-0-out.log".into(),
            "web-0-out.log.1".into(),
            "web-0-out.log.000017.zst.new".into(),
            "web-0-out.log.00001x".into(),
            "other-0-out.log.000003".into(),
        ];
        let parts: Vec<_> = series.parts(&all).into_iter().map(|p| (p.number, p.packed)).collect();
        assert_eq!(parts, [(9, true), (16, true), (17, false), (1_000_000, false)]);
    }

    #[test]
    fn an_index_tells_which_log_it_is_of() {
        let logs = Path::new("/logs");
        for path in ["/var/log/web.log", "/odd/a%2Fb c.log", "/logs/web-0-err.log"] {
            let series = Series::of_the_user(logs, Path::new(path)).unwrap();
            assert_eq!(Series::of_index(logs, series.index().as_ref()), Some(series.clone()), "{path}");
            assert_eq!(series.path(), Path::new(path));
        }
        let long = format!("/{}", "x/".repeat(300));
        let series = Series::of_the_user(logs, Path::new(&long)).unwrap();
        assert!(series.rotated_index(5).len() < 255);
        assert_eq!(Series::of_index(logs, series.index().as_ref()), None);
    }
}
