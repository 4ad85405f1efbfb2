//! The house rules, held by reading `src/**/*.rs` as text: who may import whom, where `unsafe` may stand, which words a pure
//! room may not use, how a file opens and how long it may be.
//!
//! Owns the table of rooms (DESIGN.md, section 4, as code). It must not know what any room does. What a reader would get
//! wrong: comments, string literals and `#[cfg(test)]` modules are blanked before a rule looks, so a rule speaks about code
//! that ships. Every rule is shown to go red on a small fixture below, since a rule that cannot fail holds nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

#[path = "architecture/rules.rs"]
mod rules;
#[path = "architecture/text.rs"]
mod text;

use rules::{Source, check};
use std::path::Path;

/// Every file under `src`, by its path from there.
fn sources(root: &Path, below: &Path, out: &mut Vec<Source>) {
    let mut entries: Vec<_> = std::fs::read_dir(below).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(root, &path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            out.push(Source::new(&name, &std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The crates in `[dependencies]`, as they are written in code.
fn dependencies() -> Vec<String> {
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&manifest).unwrap();
    manifest["dependencies"].as_table().unwrap().keys().map(|k| k.replace('-', "_")).collect()
}

#[test]
fn the_house_keeps_its_rules() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &src, &mut files);
    assert!(files.len() > 20, "only {} files found under {}", files.len(), src.display());
    let broken: Vec<String> = files.iter().flat_map(|file| check(file, &dependencies())).collect();
    assert!(broken.is_empty(), "{} broken:\n{}", broken.len(), broken.join("\n"));
}

/// What the rules say about one made-up file.
fn verdicts(path: &str, body: &str) -> Vec<String> {
    check(&Source::new(path, &format!("//! A fixture.\n{body}\n")), &dependencies())
}

#[track_caller]
fn red(path: &str, body: &str, why: &str) {
    let said = verdicts(path, body);
    assert!(
        said.iter().any(|v| v.contains(why)),
        "{path}: {body}\nshould be red for '{why}', but the rules said {said:?}"
    );
}

#[track_caller]
fn green(path: &str, body: &str) {
    assert_eq!(verdicts(path, body), Vec::<String>::new(), "{path}: {body}");
}

#[test]
fn a_forbidden_import_goes_red_however_it_is_written() {
    red("supervise/core.rs", "use crate::kernel::epoll::Epoll;", "supervise imports kernel");
    red("supervise/core.rs", "use crate::{model::AppId, kernel::epoll};", "supervise imports kernel");
    red("supervise/core.rs", "use crate::{\n    model::{AppId, RunId},\n    daemon,\n};", "supervise imports daemon");
    red("supervise/mod.rs", "use super::kernel::epoll;", "supervise imports kernel");
    red("supervise/deep/er.rs", "use super::super::super::daemon::x;", "supervise imports daemon");
    red("kernel/pidfd.rs", "fn f() { crate::supervise::Input::Converge; }", "kernel imports supervise");
    red("model/id.rs", "use crate::config::Paths;", "model imports config");
    red("cli/ls.rs", "use crate::daemon::Handle;", "cli imports daemon");
    red("keeper/mod.rs", "use crate::daemon::serve;", "keeper imports daemon");
    red("config/env.rs", "use opm::kernel::epoll;", "config imports kernel");
    green("supervise/core.rs", "use crate::model::{AppId, RunId};\nuse super::Input;\nuse crate::supervise::Effect;");
    green("daemon/mod.rs", "use crate::{api, config, kernel, model, supervise};");
    red("daemon/mod.rs", "use crate::keeper::exits::Exits;", "daemon imports keeper");
    red("daemon/mod.rs", "use crate::keeper;", "daemon imports keeper");
    green("daemon/mod.rs", "use crate::keeper::protocol::{ToDaemon, ToKeeper};");
    green("main.rs", "use opm::{cli, daemon, keeper};");
    green("model/id.rs", "// use crate::kernel::x;\nconst A: &str = \"crate::kernel::x\";");
}

#[test]
fn an_outside_crate_in_the_wrong_room_goes_red() {
    red("supervise/core.rs", "use serde::Serialize;", "supervise uses the crate serde");
    red("model/id.rs", "fn f() { rustix::process::getpid(); }", "model uses the crate rustix");
    red("keeper/mod.rs", "use tokio::net::UnixStream;", "keeper uses the crate tokio");
    red("keeper/mod.rs", "use serde::Serialize;", "keeper uses the crate serde");
    red("cli/mod.rs", "use axum::Router;", "cli uses the crate axum");
    red("kernel/mod.rs", "use tokio::io::unix::AsyncFd;", "kernel uses the crate tokio");
    green("kernel/mod.rs", "use rustix::fd::OwnedFd;\nuse nix::unistd::User;");
    green("supervise/core.rs", "use self::serde::local;\nmod nested { fn f() { super::tokio::x(); } }");
}

#[test]
fn unsafe_outside_its_one_file_goes_red() {
    red("kernel/pidfd.rs", "fn f() { unsafe { g() } }", "unsafe");
    red("daemon/mod.rs", "#![allow(unsafe_code)]", "unsafe_code");
    green("kernel/clone.rs", "#![expect(unsafe_code, reason = \"clone3\")]\nfn f() { unsafe { g() } }");
    green("kernel/pidfd.rs", "/// unsafe is elsewhere\nfn f() {}");
}

#[test]
fn a_word_that_a_pure_room_may_not_use_goes_red() {
    for word in [
        "Instant::now()",
        "SystemTime::now()",
        "std::fs::read(p)",
        "std::process::id()",
        "f().await",
        "std::thread::sleep(d)",
    ] {
        red("supervise/core.rs", &format!("fn f() {{ {word}; }}"), "a pure room may not say");
        red("model/id.rs", &format!("fn f() {{ {word}; }}"), "a pure room may not say");
    }
    red("supervise/core.rs", "use std::{fs, fmt};", "a pure room may not say");
    red("supervise/core.rs", "use std::collections::HashMap;", "HashMap");
    green("kernel/file.rs", "fn f() { std::fs::read(p); }");
    green("supervise/core.rs", "#[cfg(test)]\nmod tests {\n    fn f() { std::fs::read(p); }\n}");
}

#[test]
fn printing_outside_cli_and_exits_outside_main_go_red() {
    red("daemon/mod.rs", "fn f() { println!(\"x\"); }", "prints");
    red("kernel/mod.rs", "fn f() { eprintln!(\"x\"); }", "prints");
    red("config/mod.rs", "fn f() { eprint!(\"x\"); }", "prints");
    red("model/mod.rs", "fn f() { dbg!(x); }", "prints");
    red("cli/mod.rs", "fn f() { std::process::exit(1); }", "process::exit");
    red("daemon/mod.rs", "use std::process;\nfn f() { process::exit(1) }", "process::exit");
    red("daemon/mod.rs", "use std::process::{exit, id};", "process::exit");
    green("cli/mod.rs", "fn f() { println!(\"x\"); }");
    green("main.rs", "fn main() { std::process::exit(1) }");
}

#[test]
fn a_file_without_a_header_or_too_long_or_named_for_nothing_goes_red() {
    let bare = check(&Source::new("model/id.rs", "use std::fmt;\n"), &[]);
    assert!(bare.iter().any(|v| v.contains("does not open with //!")), "{bare:?}");
    let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(400));
    let long = check(&Source::new("model/id.rs", &long), &[]);
    assert!(long.iter().any(|v| v.contains("401 lines")), "{long:?}");
    for name in ["errors.rs", "utils.rs", "types.rs", "helpers.rs", "util.rs", "common.rs"] {
        red(&format!("daemon/{name}"), "", "is no name for a file");
    }
    red("misc/mod.rs", "", "is no room of this house");
}
