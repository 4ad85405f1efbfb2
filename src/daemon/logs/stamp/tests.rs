//! What is stamped comes out again, whatever the app wrote; what somebody edited comes out as it stands.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::super::frame;
use super::*;
use proptest::prelude::*;

const TIME: u64 = 1_795_248_000_123_456;

fn about() -> About<'static> {
    About { time_us: TIME, app: "web", instance: 0, run: 17, err: false, seq: 12345 }
}

fn stamped(mode: LogMode, format: &str, frame: &Frame<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    Stamper::new(mode, Some(format.to_owned())).stamp(&mut out, &about(), frame);
    assert_eq!(out.pop(), Some(b'\n'));
    assert!(!out.contains(&b'\n'));
    out
}

fn line(text: &[u8]) -> Frame<'_> {
    Frame { text, end: End::LineFeed, taken: text.len() + 1 }
}

fn shown(mode: LogMode, format: &str, text: &[u8], end: End) -> String {
    stamped(mode, format, &Frame { text, end, taken: 0 }).escape_ascii().to_string().replace("\\\"", "\"")
}

#[test]
fn each_mode_in_one_look() {
    let iso = "2026-11-21T08:00:00.123456Z";
    assert_eq!(shown(LogMode::Raw, "", b"hello", End::LineFeed), "hello");
    assert_eq!(shown(LogMode::Time, "", b"hello", End::LineFeed), format!("{iso} hello"));
    assert_eq!(shown(LogMode::Time, "", b"hel", End::TooLong), format!("{iso} hel [...]"));
    assert_eq!(shown(LogMode::Time, "", b"hel", End::RunOver), format!("{iso} hel"));
    assert_eq!(shown(LogMode::Time, "%s", b" hello", End::LineFeed), "1795248000  hello");
    let head = format!(r#"{{"time":"{iso}","app":"web","instance":0,"run":17,"stream":"out","seq":12345,"line":"#);
    assert_eq!(shown(LogMode::Json, "", b"hello", End::LineFeed), format!(r#"{head}"hello"}}"#));
    assert_eq!(shown(LogMode::Json, "%s", b"hel", End::TooLong), format!(r#"{head}"hel","partial":true}}"#));
    assert_eq!(shown(LogMode::Json, "", b"hel", End::RunOver), format!(r#"{head}"hel","partial":true}}"#));
    assert_eq!(shown(LogMode::Json, "", b"\xffA", End::LineFeed), format!(r#"{head}{{"hex":"ff41"}}}}"#));
}

#[test]
fn a_time_is_written_out_once_for_all_that_was_captured_at_once() {
    let mut stamper = Stamper::new(LogMode::Time, None);
    let (mut out, later) = (Vec::new(), About { time_us: TIME + 1, ..about() });
    for about in [about(), about(), later, about()] {
        stamper.stamp(&mut out, &about, &line(b"x"));
    }
    let ends: Vec<_> = std::str::from_utf8(&out).unwrap().lines().map(|l| &l[20..]).collect();
    assert_eq!(ends, ["123456Z x", "123456Z x", "123457Z x", "123456Z x"]);
}

#[test]
fn what_was_edited_is_given_whole() {
    let whole = |mode, format: &str, text: &[u8]| {
        let expected = Unstamped { text: text.into(), ..Unstamped::default() };
        assert_eq!(unstamp(mode, format, text), expected, "{}", text.escape_ascii());
    };
    for text in
        [&b""[..], b"hello", b"2026-11-21T08:00:00.123456Z", b"2026-11-21T08:00:00.123456Zx", b"2026-11-21 \xff"]
    {
        whole(LogMode::Time, "", text);
        whole(LogMode::Time, "%F %T", text);
        whole(LogMode::Json, "", text);
        whole(LogMode::Raw, "", text);
    }
    whole(LogMode::Json, "", br#"{"time":"now","app":"web","instance":0,"run":1,"stream":"out","seq":1,"line":"x"}"#);
    whole(LogMode::Json, "", br#"{"level":"info","line":"x"}"#);
}

#[test]
fn a_time_of_day_alone_is_taken_off_though_it_says_little() {
    let out = unstamp(LogMode::Time, "%H:%M", b"23:59 hello");
    assert_eq!((out.time_us, &*out.text), (None, &b"hello"[..]));
}

#[test]
fn a_line_that_ends_like_a_piece_is_none_and_a_piece_is_one() {
    let mark = [b"a line".as_slice(), GOES_ON].concat();
    let all = stamped(LogMode::Time, "", &line(&mark));
    let out = unstamp(LogMode::Time, "", &all);
    assert_eq!((&*out.text, out.partial), (&mark[..], false));
    let long = [vec![b'a'; LINE_MOST - GOES_ON.len()], GOES_ON.to_vec()].concat();
    let all = stamped(LogMode::Time, "", &line(&long));
    assert!(!unstamp(LogMode::Time, "", &all).partial, "a line as long as may be");
    let characters = "€".repeat(LINE_MOST);
    let piece = frame::next(characters.as_bytes(), LINE_MOST, false).unwrap();
    let all = stamped(LogMode::Time, "", &piece);
    let out = unstamp(LogMode::Time, "", &all);
    assert_eq!((&*out.text, out.partial), (piece.text, true));
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::LineFeed), Just(End::TooLong), Just(End::RunOver)]
}

proptest! {
    #[test]
    fn what_is_stamped_comes_out_again(
        mut text in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            "[ \\t\"\\\\{}a-z0-9:.\u{0}\u{7f}\u{e4}\u{1f980}\r-]{0,60}".prop_map(String::into_bytes),
        ],
        time_us in 0_u64..4_000_000_000_000_000,
        (instance, run, err, seq) in (any::<u32>(), any::<u64>(), any::<bool>(), any::<u64>()),
        app in "[a-z\"\\\\ \u{e4}]{1,9}",
        end in ends(),
    ) {
        text.retain(|b| *b != b'\n');
        let about = About { time_us, app: &app, instance, run, err, seq };
        for (mode, format, grain) in [
            (LogMode::Raw, "", 1),
            (LogMode::Json, "", 1),
            (LogMode::Time, "", 1),
            (LogMode::Time, "%Y-%m-%d %H:%M:%S%.3f %z", 1000),
            (LogMode::Time, "[%d/%b/%Y %I:%M:%S.%6f %p %:z]", 1),
            (LogMode::Time, "%s", 1_000_000),
        ] {
            // A piece has its length; the marker is looked for nowhere else.
            let end = if mode == LogMode::Time && end == End::TooLong { End::LineFeed } else { end };
            let mut out = b"before\n".to_vec();
            Stamper::new(mode, Some(format.into())).stamp(&mut out, &about, &Frame { text: &text, end, taken: 0 });
            let stamped = out.strip_prefix(b"before\n").unwrap().strip_suffix(b"\n").unwrap();
            let found = unstamp(mode, format, stamped);
            let json = mode == LogMode::Json;
            prop_assert_eq!(&*found.text, &text[..]);
            prop_assert_eq!(found.time_us, (mode != LogMode::Raw).then_some(time_us - time_us % grain));
            prop_assert_eq!(found.app.as_deref(), json.then_some(&app[..]));
            prop_assert_eq!((found.instance, found.run, found.seq), if json { (Some(instance), Some(run), Some(seq)) } else { (None, None, None) });
            prop_assert_eq!(found.stream, json.then_some(if err { LogStream::Err } else { LogStream::Out }));
            prop_assert_eq!(found.partial, json && end != End::LineFeed);
        }
    }

    #[test]
    fn nothing_in_a_file_makes_the_reader_fail(text in prop::collection::vec(any::<u8>(), 0..80), format in "[%a-zA-Z :.0-9-]{0,12}") {
        for mode in [LogMode::Raw, LogMode::Time, LogMode::Json] {
            let out = unstamp(mode, &format, &text);
            prop_assert!(text.ends_with(&out.text));
        }
    }
}

/// Of what a line in a row begins at, whoever ships the file can tell that none is missing.
#[test]
fn where_a_line_begins_is_where_the_one_before_ended() {
    let bytes = b"one\ntwo\r\n\nfour\n\xff\nend";
    let (mut out, mut stamper, mut at) = (Vec::new(), Stamper::new(LogMode::Json, None), 1000);
    while let Some(frame) = frame::next(&bytes[at - 1000..], 3, true) {
        stamper.stamp(&mut out, &About { seq: at as u64, ..about() }, &frame);
        at += frame.taken;
    }
    let mut expected = 1000;
    for stamped in out.strip_suffix(b"\n").unwrap().split(|b| *b == b'\n') {
        let line = unstamp(LogMode::Json, "", stamped);
        assert_eq!(line.seq, Some(expected));
        expected += line.text.len() as u64 + u64::from(!line.partial);
    }
    assert_eq!(expected, 1000 + bytes.len() as u64);
}

/// Run by hand, with --release: how fast lines of 100 bytes are cut and stamped.
#[test]
#[ignore = "measures"]
fn how_fast() {
    let bytes = [&[b'x'; 99][..], b"\n"].concat().repeat(200_000);
    for (mode, format) in [(LogMode::Raw, ""), (LogMode::Time, ""), (LogMode::Time, "%F %T%.3f"), (LogMode::Json, "")] {
        let (mut stamper, mut out) = (Stamper::new(mode, Some(format.into())), Vec::with_capacity(8 << 20));
        let before = std::time::Instant::now();
        let (mut at, mut batch) = (0, 0);
        while let Some(frame) = frame::next(&bytes[at..], LINE_MOST, false) {
            stamper.stamp(&mut out, &About { time_us: TIME + batch, seq: at as u64, ..about() }, &frame);
            at += frame.taken;
            if out.len() > 1 << 20 {
                out.clear();
                batch += 1;
            }
        }
        let mb = bytes.len() as f64 / 1e6 / before.elapsed().as_secs_f64();
        std::fs::write("/dev/stderr", format!("{mode:?} {format:?}: {mb:.0} MB/s\n")).unwrap();
    }
}
