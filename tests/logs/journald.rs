//! Lines to journald: a socket in its place, and a small decoder of its protocol.

use crate::rig::Pump;
use opm::daemon::logs::frame::{End, Frame};
use opm::daemon::logs::journald::{Journald, Sent};
use opm::daemon::logs::pump::PumpEvent;
use opm::daemon::logs::stamp::About;
use opm::model::LogSink;
use proptest::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::SealFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

type Entry = BTreeMap<String, Vec<u8>>;

/// In journald's place.
struct Fake {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Fake {
    fn new(home: &Path) -> Self {
        let path = home.join("socket");
        Self { socket: UnixDatagram::bind(&path).unwrap(), path }
    }

    /// Waits until there is one.
    fn wait(&self) {
        let most = Timespec { tv_sec: 60, tv_nsec: 0 };
        assert_eq!(poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&most)), Ok(1), "nothing came");
    }

    /// The next entry, and whether it came in a file. None: there is none.
    fn next(&self) -> Option<(Entry, bool)> {
        let mut buffer = vec![0; 1 << 20];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let message = match recvmsg(&self.socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags) {
            Err(rustix::io::Errno::AGAIN) => return None,
            message => message.unwrap(),
        };
        buffer.truncate(message.bytes);
        let mut sealed = false;
        for control in control.drain() {
            let RecvAncillaryMessage::ScmRights(fds) = control else { panic!("nothing else was sent") };
            for fd in fds {
                assert!(buffer.is_empty(), "an entry is in one place");
                let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
                assert!(rustix::fs::fcntl_get_seals(&fd).unwrap().contains(seals), "journald refuses others");
                let file = File::from(fd);
                buffer.resize(usize::try_from(file.metadata().unwrap().len()).unwrap(), 0);
                file.read_exact_at(&mut buffer, 0).unwrap();
                sealed = true;
            }
        }
        Some((decode(&buffer), sealed))
    }
}

fn decode(mut bytes: &[u8]) -> Entry {
    let mut entry = Entry::new();
    while !bytes.is_empty() {
        let end = bytes.iter().position(|b| *b == b'=' || *b == b'\n').unwrap();
        let name = std::str::from_utf8(&bytes[..end]).unwrap().to_owned();
        let length = if bytes[end] == b'=' {
            bytes = &bytes[end + 1..];
            bytes.iter().position(|b| *b == b'\n').unwrap()
        } else {
            let length = u64::from_le_bytes(bytes[end + 1..end + 9].try_into().unwrap());
            bytes = &bytes[end + 9..];
            usize::try_from(length).unwrap()
        };
        assert_eq!(bytes[length], b'\n');
        assert_eq!(entry.insert(name, bytes[..length].to_vec()), None, "each field once");
        bytes = &bytes[length + 1..];
    }
    entry
}

fn about(err: bool) -> About<'static> {
    About { time_us: 1_795_248_000_123_456, app: "web", instance: 2, run: 17, err, seq: 12345 }
}

fn line(text: &[u8], end: End) -> Frame<'_> {
    Frame { text, end, taken: text.len() }
}

#[test]
fn an_entry_says_whose_line_it_is() {
    let home = tempfile::tempdir().unwrap();
    let fake = Fake::new(home.path());
    let mut journald = Journald::new(&fake.path);
    assert_eq!(journald.send(&about(false), &line(b"hello = world", End::LineFeed)), Ok(Sent::Taken));
    let fields = [
        ("MESSAGE", "hello = world"),
        ("OPM_APP", "web"),
        ("OPM_INSTANCE", "2"),
        ("OPM_RUN", "17"),
        ("OPM_SEQ", "12345"),
        ("OPM_STREAM", "out"),
        ("PRIORITY", "6"),
        ("SYSLOG_IDENTIFIER", "web"),
    ];
    let expected: Entry = fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    assert_eq!(fake.next(), Some((expected, false)));
    assert_eq!(fake.next(), None);
}

#[test]
fn a_priority_stands_at_a_lines_start_and_counts_for_all_its_pieces() {
    let home = tempfile::tempdir().unwrap();
    let fake = Fake::new(home.path());
    let mut journald = Journald::new(&fake.path);
    let mut said = |err, text: &str, end| {
        assert_eq!(journald.send(&about(err), &line(text.as_bytes(), end)), Ok(Sent::Taken));
        let (entry, _) = fake.next().unwrap();
        let field = |name: &str| entry.get(name).map(|value| String::from_utf8(value.clone()).unwrap());
        format!("{} {} {:?}", field("PRIORITY").unwrap(), field("MESSAGE").unwrap(), field("OPM_PARTIAL"))
    };
    assert_eq!(said(false, "x", End::LineFeed), "6 x None");
    assert_eq!(said(true, "x", End::LineFeed), "3 x None");
    assert_eq!(said(true, "<7>x", End::LineFeed), "7 x None");
    assert_eq!(said(false, "<0>", End::RunOver), "0  Some(\"true\")");
    for none in ["<8>x", "<11>x", "<x>x", " <3>x", "<3", ""] {
        assert_eq!(said(false, none, End::LineFeed), format!("6 {none} None"));
    }
    assert_eq!(said(false, "<4>a long", End::TooLong), "4 a long Some(\"true\")");
    assert_eq!(said(true, "another stream's", End::LineFeed), "3 another stream's None");
    assert_eq!(said(false, "<5>er", End::TooLong), "4 <5>er Some(\"true\")");
    assert_eq!(said(false, " line", End::LineFeed), "4  line None");
    assert_eq!(said(false, "<5>the next", End::LineFeed), "5 the next None");
    assert_eq!(said(false, "<4>never ends", End::TooLong), "4 never ends Some(\"true\")");
    journald.run_over(17);
    assert_eq!(journald.send(&about(false), &line(b"<2>x", End::LineFeed)), Ok(Sent::Taken));
    assert_eq!(fake.next().unwrap().0["PRIORITY"], b"2");
}

#[test]
fn what_is_too_large_for_a_datagram_goes_by_a_sealed_file() {
    let home = tempfile::tempdir().unwrap();
    let fake = Fake::new(home.path());
    let mut journald = Journald::new(&fake.path);
    let large: Vec<u8> = (0..300_000_u32).map(|n| b"abcdefghijk\xff"[n as usize % 12]).collect();
    for text in [&large[..], b"small", &large[..], b"small"] {
        assert_eq!(journald.send(&about(false), &line(text, End::LineFeed)), Ok(Sent::Taken));
        let (entry, sealed) = fake.next().unwrap();
        assert!(entry["MESSAGE"] == text && entry["OPM_SEQ"] == b"12345");
        assert_eq!(sealed, text.len() > 5);
    }
}

fn is_writable(journald: &Journald, most: Duration) -> bool {
    let Some(socket) = journald.socket() else { return true };
    let most = Timespec { tv_sec: most.as_secs().try_into().unwrap(), tv_nsec: 0 };
    poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&most)) != Ok(0)
}

/// Through the pump: a journald that reads slowly, and one that is away for a while.
#[test]
fn what_apps_write_reaches_journald_whole_although_it_is_behind_and_away() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let mut app = pump.app_as(5, pump.plan("web", |spec| spec.log_sink = LogSink::Journald));
    app.out.write_all(b"<3>before there is a journald\n").unwrap();
    assert!(matches!(pump.events.recv().unwrap(), PumpEvent::Trouble(why) if why.contains("socket")));
    let fake = Fake::new(home.path());
    assert_eq!(pump.events.recv().unwrap(), PumpEvent::TroubleOver);
    let writing = std::thread::spawn(move || {
        for n in 0..20_000 {
            writeln!(app.out, "line {n}").unwrap();
        }
        writeln!(app.err, "the end").unwrap();
        app
    });
    let (mut lines, mut at) = (Vec::new(), 0);
    while lines.len() < 20_002 {
        fake.wait();
        while let Some((entry, _)) = fake.next() {
            let text = |name: &str| String::from_utf8(entry[name].clone()).unwrap();
            assert_eq!(
                (text("OPM_APP"), text("OPM_RUN"), text("SYSLOG_IDENTIFIER")),
                ("web".into(), "5".into(), "web".into())
            );
            if text("OPM_STREAM") == "out" {
                assert_eq!(text("OPM_SEQ"), at.to_string(), "nothing is missing, nothing comes twice");
                at += text("MESSAGE").len() + 1 + if lines.is_empty() { 3 } else { 0 };
            }
            lines.push((text("PRIORITY"), text("MESSAGE")));
        }
    }
    assert_eq!(lines[0], ("3".into(), "before there is a journald".into()));
    assert!(lines.contains(&("6".into(), "line 19999".into())) && lines.contains(&("3".into(), "the end".into())));
    writing.join().unwrap();
    pump.finish(5);
    pump.end();
}

/// A busy pipe holds more than is sent at a time, and once its app is silent nobody comes by again.
#[test]
fn the_last_of_much_reaches_journald_too() {
    let home = tempfile::tempdir().unwrap();
    let pump = Pump::start(home.path());
    let fake = Fake::new(home.path());
    let mut app = pump.app_as(5, pump.plan("web", |spec| spec.log_sink = LogSink::Journald));
    let writing = std::thread::spawn(move || {
        let line = [vec![b'x'; 120_000], vec![b'\n']].concat();
        (0..200).for_each(|_| app.out.write_all(&line).unwrap());
    });
    let (mut heard, mut over) = (0, false);
    while heard < 200 {
        fake.wait();
        while fake.next().is_some() {
            heard += 1;
        }
        if writing.is_finished() && !std::mem::replace(&mut over, true) {
            pump.finish(5);
        }
    }
    writing.join().unwrap();
    pump.end();
}

#[test]
fn a_journald_that_is_behind_gets_each_line_once_when_it_has_room() {
    let home = tempfile::tempdir().unwrap();
    let fake = Fake::new(home.path());
    let mut journald = Journald::new(&fake.path);
    let (large, mut heard) = (vec![b'x'; 300_000], Vec::new());
    for seq in 0..2000 {
        let text = if seq % 50 == 49 { &large[..] } else { b"x" };
        let about = About { seq, ..about(false) };
        while journald.send(&about, &line(text, End::LineFeed)).unwrap() == Sent::Full {
            assert!(!is_writable(&journald, Duration::ZERO), "full is not writable");
            while let Some((entry, _)) = fake.next() {
                heard.push(entry);
            }
            assert!(is_writable(&journald, Duration::from_secs(60)));
        }
    }
    while let Some((entry, _)) = fake.next() {
        heard.push(entry);
    }
    let seqs: Vec<String> = heard.iter().map(|e| String::from_utf8(e["OPM_SEQ"].clone()).unwrap()).collect();
    assert_eq!(seqs, (0..2000).map(|n: u64| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_journald_that_is_away_is_told_of_and_found_when_it_is_back() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("socket");
    let mut journald = Journald::new(&path);
    let mut send = || journald.send(&about(false), &line(b"x", End::LineFeed));
    let failed = |why: &str| Err(format!("failed to write to {}: {why}", path.display()));
    assert_eq!(send(), failed("no such file or directory"));
    let fake = Fake::new(home.path());
    assert_eq!(send(), Ok(Sent::Taken));
    assert!(fake.next().is_some());
    drop(fake);
    assert_eq!(send(), failed("connection refused"));
    fs::remove_file(&path).unwrap();
    assert_eq!(send(), failed("no such file or directory"));
    let fake = Fake::new(home.path());
    assert_eq!(send(), Ok(Sent::Taken));
    fs::remove_file(&path).unwrap();
    let other = Fake::new(home.path());
    assert_eq!(send(), Ok(Sent::Taken));
    assert_eq!((fake.next().is_some(), fake.next().is_some()), (true, true), "the old one lives and listens");
    drop(fake);
    assert_eq!(send(), Ok(Sent::Taken));
    assert!(other.next().is_some());
}

proptest! {
    #[test]
    fn whatever_an_app_writes_arrives(text in prop::collection::vec(any::<u8>(), 0..60), err in any::<bool>()) {
        let home = tempfile::tempdir().unwrap();
        let fake = Fake::new(home.path());
        let mut journald = Journald::new(&fake.path);
        let text = [b" ", &text[..]].concat();
        prop_assert_eq!(journald.send(&about(err), &line(&text, End::LineFeed)), Ok(Sent::Taken));
        let (entry, _) = fake.next().unwrap();
        prop_assert_eq!(&entry["MESSAGE"], &text);
        prop_assert_eq!(entry.len(), 8);
    }
}
