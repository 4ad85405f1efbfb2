//! Reading logs: the last lines, pieces, and going on, compared with what plain reading of the whole gives.

use opm::api::{LogLine, LogStream};
use opm::daemon::logs::read::{PIECE_MOST, Source, Tail};
use proptest::prelude::*;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

fn begin(dir: &Path, lines: u64) -> Tail {
    let source = Source { name: "web".to_owned(), instance: 0, stream: LogStream::Out };
    Tail::begin(dir, "log", source, lines).unwrap()
}

fn all(tail: &mut Tail) -> Vec<LogLine> {
    std::iter::from_fn(|| tail.next().unwrap()).collect()
}

fn texts(lines: &[LogLine]) -> Vec<String> {
    lines.iter().map(|l| format!("{}{}", l.line, if l.complete { "$" } else { "" })).collect()
}

/// The bytes that the lines stand for.
fn bytes(lines: &[LogLine]) -> Vec<u8> {
    lines.iter().flat_map(|l| [l.line.as_bytes(), if l.complete { b"\n" } else { b"" }].concat()).collect()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn the_last_lines_and_then_what_is_added() {
    let dir = folder();
    fs::write(dir.path().join("log"), "a\nb\nc\nhalf").unwrap();
    let mut tail = begin(dir.path(), 2);
    assert_eq!(texts(&all(&mut tail)), ["c$", "half"], "what stands after the last line feed is a line too");
    let mut file = File::options().append(true).open(dir.path().join("log")).unwrap();
    file.write_all(b" and ").unwrap();
    assert_eq!(texts(&all(&mut tail)), [" and "]);
    file.write_all(b"whole\n\nd\n").unwrap();
    assert_eq!(texts(&all(&mut tail)), ["whole$", "$", "d$"]);
    assert_eq!(texts(&all(&mut tail)), Vec::<String>::new());
    assert_eq!(texts(&all(&mut begin(dir.path(), 0))), Vec::<String>::new());
    assert_eq!(all(&mut begin(dir.path(), u64::MAX)).len(), 6);
}

#[test]
fn a_line_feed_alone_ends_a_line_that_was_given_as_a_piece() {
    let dir = folder();
    fs::write(dir.path().join("log"), "half").unwrap();
    let mut tail = begin(dir.path(), 1);
    assert_eq!(texts(&all(&mut tail)), ["half"]);
    File::options().append(true).open(dir.path().join("log")).unwrap().write_all(b"\n").unwrap();
    assert_eq!(texts(&all(&mut tail)), ["$"]);
}

#[test]
fn files_that_come_go_and_shrink_are_followed() {
    let dir = folder();
    let path = dir.path().join("log");
    let mut tail = begin(dir.path(), 10);
    assert_eq!(all(&mut tail), [], "there is none yet");
    fs::write(&path, "first\n").unwrap();
    assert_eq!(texts(&all(&mut tail)), ["first$"]);
    fs::write(&path, "x\n").unwrap();
    assert_eq!(texts(&all(&mut tail)), ["x$"], "emptied and filled again");
    File::options().append(true).open(&path).unwrap().write_all(b"late\n").unwrap();
    fs::rename(&path, dir.path().join("old")).unwrap();
    fs::write(&path, "new\n").unwrap();
    assert_eq!(texts(&all(&mut tail)), ["late$", "new$"], "the old one to its end, then the new one");
    fs::remove_file(&path).unwrap();
    assert_eq!(all(&mut tail), []);
    fs::write(&path, "again\n").unwrap();
    assert_eq!(texts(&all(&mut tail)), ["again$"]);
}

#[test]
fn very_long_lines_come_in_bounded_pieces() {
    let dir = folder();
    let long = vec![b'x'; PIECE_MOST * 2 + 5];
    fs::write(dir.path().join("log"), [b"short\n", &long[..], b"\nend\n"].concat()).unwrap();
    let lines = all(&mut begin(dir.path(), 2));
    let shape: Vec<_> = lines.iter().map(|l| (l.line.as_bytes().len(), l.complete)).collect();
    assert_eq!(shape, [(PIECE_MOST, false), (PIECE_MOST, false), (5, true), (3, true)]);
}

#[test]
fn what_is_no_file_is_refused() {
    let dir = folder();
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("log"), 0o600.into()).unwrap();
    let source = Source { name: "web".to_owned(), instance: 0, stream: LogStream::Out };
    assert!(Tail::begin(dir.path(), "log", source, 1).unwrap_err().contains("not a regular file"));
}

/// Lines whose lengths lie around the size of a block, and short ones.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let length = prop_oneof![4 => 0..20_usize, 1 => 65_500..65_600_usize, 1 => 0..3000_usize];
    let line = (length, any::<u8>()).prop_map(|(n, b)| vec![if b == b'\n' { b'x' } else { b }; n]);
    (prop::collection::vec(line, 0..30), any::<bool>()).prop_map(|(lines, ended)| {
        let mut bytes = lines.join(&b'\n');
        if ended {
            bytes.push(b'\n');
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_last_lines_are_those_of_a_plain_reading(content in content(), lines in 0..40_usize) {
        let dir = folder();
        fs::write(dir.path().join("log"), &content).unwrap();
        let plain: Vec<&[u8]> = content.split_inclusive(|b| *b == b'\n').collect();
        let expected = plain[plain.len().saturating_sub(lines)..].concat();
        prop_assert_eq!(bytes(&all(&mut begin(dir.path(), lines as u64))), expected);
    }

    #[test]
    fn following_gives_every_byte_once_however_it_was_written(parts in prop::collection::vec(content(), 1..5)) {
        let dir = folder();
        let mut tail = begin(dir.path(), u64::MAX);
        let mut got = Vec::new();
        let mut file = File::create(dir.path().join("log")).unwrap();
        for part in &parts {
            file.write_all(part).unwrap();
            got.extend(all(&mut tail));
        }
        prop_assert_eq!(bytes(&got), parts.concat());
    }
}
