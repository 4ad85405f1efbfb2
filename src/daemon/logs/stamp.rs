//! A line as it stands in a log file, and out of a log file the line.
//!
//! Owns both ways, so that they cannot come apart. It must not touch a file, nor ask for the time. What a reader would get wrong:
//! somebody may have edited the file, so a line that is not as it was stamped is given whole, as the app's own.
//!
//! ```text
//! raw   the line
//! time  2026-11-21T08:00:00.123456Z the line
//! json  {"time":"2026-11-21T08:00:00.123456Z","app":"web","instance":0,"run":17,"stream":"out","seq":12345,"line":"the line"}
//! ```
//! `seq` counts bytes: where in all that this stream of this instance ever wrote the line begins. So of two lines in a row the
//! second has the first one's `seq` + its length + 1, and whoever ships the file can prove that nothing is missing. A piece of a
//! line is `"partial":true` and has no line feed to count. A line that is not UTF-8 is `{"hex":"..."}`.

use super::frame::{End, Frame, LINE_MOST};
use crate::api::LogStream;
use crate::model::{LogMode, RawText};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde::Deserialize;
use std::borrow::Cow;

/// What a piece ends with, in mode `time`, when the line goes on.
const GOES_ON: &[u8] = b" [...]";
/// The length of `2026-11-21T08:00:00.123456Z`.
const ISO: usize = 27;

/// What is known about a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About<'a> {
    /// When it was captured, in us since 1970.
    pub time_us: u64,
    /// The app's name.
    pub app: &'a str,
    /// The instance's number.
    pub instance: u32,
    /// Which run wrote it.
    pub run: u64,
    /// To standard error.
    pub err: bool,
    /// Where in all that this stream of this instance ever wrote it begins.
    pub seq: u64,
}

/// What stands before a line, up to what is its own.
#[derive(Debug)]
struct Head {
    time_us: u64,
    app: String,
    instance: u32,
    run: u64,
    err: bool,
    written: Vec<u8>,
}

/// Stamps the lines of one file.
#[derive(Debug)]
pub struct Stamper {
    mode: LogMode,
    format: Option<String>,
    /// What the last line began with. Lines come in batches that were captured at once, and have all that in common.
    head: Option<Head>,
}

impl Stamper {
    /// `format`: how the time is written with mode `time`, in the system's time zone; ISO 8601 in UTC if there is none.
    #[must_use]
    pub fn new(mode: LogMode, format: Option<String>) -> Self {
        Self { mode, format: format.filter(|format| mode == LogMode::Time && !format.is_empty()), head: None }
    }

    /// Puts a line, or a piece of one, behind what is in `out`, with a line feed in any case.
    pub fn stamp(&mut self, out: &mut Vec<u8>, about: &About<'_>, frame: &Frame<'_>) {
        match self.mode {
            LogMode::Raw => out.extend_from_slice(frame.text),
            LogMode::Time => {
                out.extend_from_slice(self.head(about));
                out.extend_from_slice(frame.text);
                if frame.end == End::TooLong {
                    out.extend_from_slice(GOES_ON);
                }
            }
            LogMode::Json => {
                out.extend_from_slice(self.head(about));
                number(out, about.seq);
                out.extend_from_slice(b",\"line\":");
                match std::str::from_utf8(frame.text) {
                    Ok(line) => text(out, line),
                    Err(_) => hex(out, frame.text),
                }
                out.extend_from_slice(match frame.end {
                    End::LineFeed => b"}",
                    End::TooLong | End::RunOver => b",\"partial\":true}",
                });
            }
        }
        out.push(b'\n');
    }

    fn head(&mut self, about: &About<'_>) -> &[u8] {
        let head = self.head.take().filter(|head| head.is_of(about));
        &self.head.insert(head.unwrap_or_else(|| Head::new(self.mode, self.format.as_deref(), about))).written
    }
}

impl Head {
    fn new(mode: LogMode, format: Option<&str>, about: &About<'_>) -> Self {
        let mut out = Vec::new();
        let time = written(about.time_us, format);
        match mode {
            LogMode::Raw => {}
            LogMode::Time => {
                out.extend_from_slice(time.as_bytes());
                out.push(b' ');
            }
            LogMode::Json => {
                out.extend_from_slice(b"{\"time\":\"");
                out.extend_from_slice(time.as_bytes());
                out.extend_from_slice(b"\",\"app\":");
                text(&mut out, about.app);
                out.extend_from_slice(b",\"instance\":");
                number(&mut out, u64::from(about.instance));
                out.extend_from_slice(b",\"run\":");
                number(&mut out, about.run);
                out.extend_from_slice(b",\"stream\":\"");
                out.extend_from_slice(if about.err { b"err" } else { b"out" });
                out.extend_from_slice(b"\",\"seq\":");
            }
        }
        let &About { time_us, app, instance, run, err, seq: _ } = about;
        Self { time_us, app: app.to_owned(), instance, run, err, written: out }
    }

    fn is_of(&self, about: &About<'_>) -> bool {
        let &About { time_us, app, instance, run, err, seq: _ } = about;
        (self.time_us, self.instance, self.run, self.err) == (time_us, instance, run, err) && self.app == app
    }
}

fn written(us: u64, format: Option<&str>) -> String {
    let time = i64::try_from(us).ok().and_then(|us| Timestamp::from_microsecond(us).ok()).unwrap_or_default();
    // Asked anew each time, since an administrator may set another zone; jiff keeps it for a while.
    let local = |format| BrokenDownTime::from(&Zoned::new(time, TimeZone::system())).to_string(format).ok();
    format.and_then(local).unwrap_or_else(|| format!("{time:.6}"))
}

fn text(out: &mut Vec<u8>, text: &str) {
    // Looked at as a whole, many bytes at once: most lines hold nothing that must be said otherwise.
    let plain = text.bytes().fold(true, |plain, b| plain & (b >= b' ') & (b != b'"') & (b != b'\\'));
    if plain {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Writing into memory does not fail, and any text can be said in JSON.
        let _ = serde_json::to_writer(out, text);
    }
}

fn number(out: &mut Vec<u8>, number: u64) {
    let _ = serde_json::to_writer(out, &number);
}

fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"{\"hex\":\"");
    out.extend(bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]));
    out.extend_from_slice(b"\"}");
}

/// A line out of a log file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unstamped<'a> {
    /// When it was captured, in us since 1970.
    pub time_us: Option<u64>,
    /// Whose it is.
    pub app: Option<Cow<'a, str>>,
    /// The instance's number.
    pub instance: Option<u32>,
    /// Which run wrote it.
    pub run: Option<u64>,
    /// Where to.
    pub stream: Option<LogStream>,
    /// Where in all that this stream of this instance ever wrote it begins.
    pub seq: Option<u64>,
    /// As the app wrote it.
    pub text: Cow<'a, [u8]>,
    /// It goes on in the next one, or (mode `json`) its run ended in the middle of it.
    pub partial: bool,
}

/// A line of a file that was stamped so, without its line feed. `format` is empty for ISO 8601.
#[must_use]
pub fn unstamp<'a>(mode: LogMode, format: &str, line: &'a [u8]) -> Unstamped<'a> {
    let stamped = match mode {
        LogMode::Raw => None,
        LogMode::Time => with_time(format, line),
        LogMode::Json => from_json(line),
    };
    stamped.unwrap_or_else(|| Unstamped { text: line.into(), ..Unstamped::default() })
}

fn with_time<'a>(format: &str, line: &'a [u8]) -> Option<Unstamped<'a>> {
    let (length, time) = if format.is_empty() { iso(line)? } else { local(format, line)? };
    let (b' ', text) = line.get(length..)?.split_first()? else { return None };
    // Only a piece is longer than a line may be: so an app's own line is never taken for one.
    let piece = text.strip_suffix(GOES_ON).filter(|_| text.len() > LINE_MOST);
    let time_us = time.and_then(|time| u64::try_from(time.as_microsecond()).ok());
    Some(Unstamped { time_us, text: piece.unwrap_or(text).into(), partial: piece.is_some(), ..Unstamped::default() })
}

fn iso(line: &[u8]) -> Option<(usize, Option<Timestamp>)> {
    let time = std::str::from_utf8(line.get(..ISO)?).ok()?;
    Some((ISO, Some(time.parse().ok()?)))
}

/// Where the time ends, and what it is, if that can be told from it: not from `%H:%M` alone. One without an offset, in the hour
/// that comes twice when summer ends, is taken for the first.
fn local(format: &str, line: &[u8]) -> Option<(usize, Option<Timestamp>)> {
    let (time, length) = BrokenDownTime::parse_prefix(format, line).ok()?;
    let local = || time.to_datetime().ok()?.to_zoned(TimeZone::system()).ok().map(|zoned| zoned.timestamp());
    Some((length, time.to_timestamp().ok().or_else(local)))
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    app: Cow<'a, str>,
    instance: u32,
    run: u64,
    stream: LogStream,
    seq: u64,
    line: RawText,
    #[serde(default)]
    partial: bool,
}

fn from_json(line: &[u8]) -> Option<Unstamped<'_>> {
    let written: Written<'_> = serde_json::from_slice(line).ok()?;
    let time: Timestamp = written.time.parse().ok()?;
    Some(Unstamped {
        time_us: u64::try_from(time.as_microsecond()).ok(),
        app: Some(written.app),
        instance: Some(written.instance),
        run: Some(written.run),
        stream: Some(written.stream),
        seq: Some(written.seq),
        text: written.line.as_bytes().to_vec().into(),
        partial: written.partial,
    })
}

#[cfg(test)]
#[path = "stamp/tests.rs"]
mod tests;
