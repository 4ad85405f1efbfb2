//! The rules themselves: each looks at one file and says what is wrong, with the line.
//!
//! The tables at the top are what people argue about; the functions below them only apply them.

use super::text::{braces, code_of, find_word, is_word};

/// Room, rooms (or `room::module`) it may import, crates it may use. `main.rs` and `lib.rs` may import all.
///
/// Why, where DESIGN.md does not say it: the daemon speaks the keeper's protocol and needs nothing else of it; the keeper alone
/// speaks to systemd; a home's cgroup and unit are named by a hash (sha2) of its path.
const ROOMS: &[(&str, &[&str], &[&str])] = &[
    ("model", &[], &["serde"]),
    ("supervise", &["model"], &[]),
    ("kernel", &["model"], &["rustix", "nix", "libc", "cgroups_rs", "libsystemd", "sha2"]),
    ("keeper", &["model", "kernel"], &["rustix", "nix", "libsystemd"]),
    ("config", &["model"], &["jiff", "serde", "serde_json", "toml", "shell_words", "rustix"]),
    ("api", &["model"], &["serde", "serde_json", "utoipa"]),
    (
        "daemon",
        &["model", "api", "supervise", "kernel", "config", "keeper::protocol"],
        &[
            "anyhow",
            "axum",
            "flate2",
            "http_body_util",
            "hyper",
            "hyper_util",
            "jiff",
            "memchr",
            "nix",
            "regex_lite",
            "rustix",
            "serde",
            "serde_json",
            "sha2",
            "tokio",
            "utoipa",
            "zstd",
        ],
    ),
    (
        "cli",
        &["model", "api", "config"],
        &[
            "anyhow",
            "clap",
            "clap_complete",
            "http_body_util",
            "hyper",
            "hyper_util",
            "jiff",
            "regex_lite",
            "rustix",
            "serde",
            "serde_json",
            "sha2",
            "shell_words",
            "tokio",
        ],
    ),
    ("faces", &["model", "api", "daemon"], &["anyhow", "axum", "serde", "serde_json", "tokio"]),
];

/// Rooms where the same inputs give the same outputs, byte for byte.
const PURE: &[&str] = &["model", "supervise"];

/// What a pure room may not say. The hash collections because their order differs from run to run.
const IMPURE: &[&str] = &[
    ".await",
    "async",
    "std::fs",
    "std::env",
    "std::io",
    "std::net",
    "std::process",
    "std::thread",
    "std::sync::Mutex",
    "Instant",
    "SystemTime",
    "HashMap",
    "HashSet",
    "thread_local!",
    "static mut",
];

/// File, word, why it may stand there.
const EXCEPTIONS: &[(&str, &str, &str)] =
    &[("supervise/bug.rs", "thread_local!", "which seeded bug a test switched on; absent from releases")];

const PRINTS: &[&str] = &["println!", "eprintln!", "print!", "eprint!", "dbg!"];

const NO_NAMES: &[&str] = &["errors", "error", "utils", "util", "types", "helpers", "helper", "common", "misc"];

const UNSAFE_FILE: &str = "kernel/clone.rs";

const LONGEST: usize = 400;
/// The one file for `unsafe` is as long as what cannot be said safely; splitting it would make two of them.
const LONGEST_UNSAFE: usize = 720;

/// One file.
pub struct Source {
    /// Its path from `src`.
    path: String,
    text: String,
    code: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: code_of(text) }
    }

    /// The room it stands in; none for `main.rs` and `lib.rs`.
    fn room(&self) -> Option<&str> {
        self.path.split_once('/').map(|(room, _)| room)
    }

    /// How many modules it lies below the crate's root.
    fn depth(&self) -> usize {
        let parts = self.path.trim_end_matches(".rs").split('/').collect::<Vec<_>>();
        parts.len() - usize::from(parts.last() == Some(&"mod"))
    }

    fn at(&self, line: usize, what: &str) -> String {
        format!("src/{}:{line}: {what}", self.path)
    }
}

/// Everything that is wrong with a file.
pub fn check(file: &Source, dependencies: &[String]) -> Vec<String> {
    [form(file), imports(file), crates(file, dependencies), words(file)].concat()
}

fn form(file: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    if !file.text.starts_with("//! ") {
        wrong.push(file.at(1, "does not open with //! (what it owns, what it must not do)"));
    }
    let lines = file.text.lines().count();
    let most = if file.path == UNSAFE_FILE { LONGEST_UNSAFE } else { LONGEST };
    if lines > most {
        wrong.push(file.at(lines, &format!("{lines} lines, {most} are the most: ask what second thing moved in")));
    }
    let stem = file.path.rsplit('/').next().unwrap().trim_end_matches(".rs");
    if NO_NAMES.contains(&stem) {
        wrong.push(file.at(1, &format!("'{stem}' is no name for a file: it says nothing of what is in it")));
    }
    if let Some(room) = file.room()
        && !ROOMS.iter().any(|(name, ..)| *name == room)
    {
        wrong.push(file.at(1, &format!("'{room}' is no room of this house; give it a line in tests/architecture")));
    }
    wrong
}

fn imports(file: &Source) -> Vec<String> {
    let Some((room, allowed, _)) = ROOMS.iter().find(|(name, ..)| Some(*name) == file.room()) else {
        return Vec::new();
    };
    let mut roots = vec!["crate::".to_owned(), "opm::".to_owned()];
    // From here, this many `super` lead to the crate's root.
    roots.push("super::".repeat(file.depth()));
    let mut wrong = Vec::new();
    for root in roots {
        for (at, line) in find_word(&file.code, &root) {
            let before = file.code[..at].trim_end();
            if before.ends_with("::") {
                continue;
            }
            for path in first_names(&file.code[at + root.len()..]) {
                let name = path.split("::").next().unwrap();
                let is_room = ROOMS.iter().any(|(r, ..)| *r == name);
                if is_room && name != *room && !allowed.contains(&name) && !allowed.contains(&path.as_str()) {
                    wrong.push(file.at(line, &format!("{room} imports {name}")));
                }
            }
        }
    }
    wrong
}

/// `a::b::c` gives a::b; `{a::b, c::{d, e}, f}` gives a::b, c, f.
fn first_names(rest: &str) -> Vec<String> {
    let one = |s: &str| s.trim_start().bytes().take_while(|b| is_word(*b)).map(char::from).collect::<String>();
    let word = |s: &str| {
        let first = one(s);
        match s.trim_start()[first.len()..].strip_prefix("::").map(one) {
            Some(second) if !second.is_empty() => format!("{first}::{second}"),
            Some(_) | None => first,
        }
    };
    if !rest.starts_with('{') {
        return vec![word(rest)];
    }
    let group = &rest[1..braces(rest.as_bytes()).max(2) - 1];
    let (mut names, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (i, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                names.push(word(&group[start..i]));
                start = i + 1;
            }
            _ => {}
        }
    }
    names.push(word(&group[start..]));
    names
}

fn crates(file: &Source, dependencies: &[String]) -> Vec<String> {
    let Some((room, _, allowed)) = ROOMS.iter().find(|(name, ..)| Some(*name) == file.room()) else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    for name in dependencies.iter().filter(|name| !allowed.contains(&name.as_str())) {
        for (at, line) in find_word(&file.code, name) {
            let (before, after) = (file.code[..at].trim_end(), &file.code[at + name.len()..]);
            let used = after.starts_with("::") || (before.ends_with("use") && after.starts_with(';'));
            if used && !before.ends_with("::") && !before.ends_with('.') {
                wrong.push(file.at(line, &format!("{room} uses the crate {name}")));
            }
        }
    }
    wrong
}

fn words(file: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut forbid = |word: &str, what: &str| {
        for (_, line) in find_word(&file.code, word) {
            wrong.push(file.at(line, what));
        }
    };
    if file.path != UNSAFE_FILE {
        forbid("unsafe", &format!("unsafe belongs in {UNSAFE_FILE} alone"));
        forbid("unsafe_code", &format!("the lint unsafe_code is lifted in {UNSAFE_FILE} alone"));
    }
    if file.room().is_some_and(|room| PURE.contains(&room)) {
        let excepted = |word: &str| EXCEPTIONS.iter().any(|(path, w, _)| *path == file.path && *w == word);
        for word in IMPURE.iter().filter(|word| !excepted(word)) {
            forbid(word, &format!("a pure room may not say {word}"));
        }
        for path in grouped_std(&file.code) {
            let group = path.split("::").next().unwrap();
            if IMPURE.contains(&format!("std::{group}").as_str()) {
                wrong.push(file.at(1, &format!("a pure room may not say std::{group}")));
            }
        }
    }
    let mut forbid = |word: &str, what: &str| {
        for (_, line) in find_word(&file.code, word) {
            wrong.push(file.at(line, what));
        }
    };
    if file.room() != Some("cli") {
        for word in PRINTS {
            forbid(word, &format!("{word} prints, and only cli prints"));
        }
    }
    if file.path != "main.rs" {
        forbid("process::exit", "process::exit belongs in main.rs alone");
        for (at, line) in find_word(&file.code, "process::{") {
            if first_names(&file.code[at + "process::".len()..]).iter().any(|n| n == "exit") {
                wrong.push(file.at(line, "process::exit belongs in main.rs alone"));
            }
        }
    }
    wrong
}

/// The names in every `std::{...}`.
fn grouped_std(code: &str) -> Vec<String> {
    find_word(code, "std::{").into_iter().flat_map(|(at, _)| first_names(&code[at + "std::".len()..])).collect()
}
