//! Lines of apps on a person's terminal: whose they are, when they were written, and nothing in them but text and colours.
//!
//! What a reader would get wrong: an app's line may end without a line feed and go on later (`complete: false`). The line is
//! left open then, and what follows from the same source is appended without a new prefix. Word of missing lines has `!`
//! where lines have `|`, so no app can say it. (What a terminal wraps begins in its first column, and there an app can write
//! what it likes; breaking lines ourselves would spoil every long one for whoever copies it.)

use super::harmless::harmless;
use super::text::{Paint, Style, printable};
use crate::api::LogStream;
use crate::cli::log_stream::Line;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use regex_lite::Regex;
use std::collections::{BTreeMap, HashMap};

/// How lines are drawn.
pub(in crate::cli) struct Drawing {
    pub(in crate::cli) paint: Paint,
    /// The bytes as they were written, without prefixes.
    pub(in crate::cli) raw: bool,
    /// How the time before a line is written, if it is.
    pub(in crate::cli) time: Option<TimeFormat>,
    /// What is shown bright.
    pub(in crate::cli) highlight: Option<Regex>,
}

/// How times are written.
pub(in crate::cli) struct TimeFormat {
    format: String,
    zone: TimeZone,
    /// As long as the last one, for lines of which nobody knows the time.
    blank: String,
}

impl TimeFormat {
    /// `format`: strftime(3)'s.
    pub(in crate::cli) fn new(format: &str, zone: TimeZone) -> Result<Self, String> {
        let sample = Zoned::new(Timestamp::UNIX_EPOCH, zone.clone());
        let sample = strtime::format(format, &sample).map_err(|e| e.to_string())?;
        Ok(Self { format: format.to_owned(), zone, blank: " ".repeat(super::columns(&sample)) })
    }

    fn text(&mut self, time: Option<&str>) -> String {
        let time = time.and_then(|time| time.parse::<Timestamp>().ok());
        match time.and_then(|time| strtime::format(&self.format, &time.to_zoned(self.zone.clone())).ok()) {
            Some(text) => printable(&text).into_owned(),
            None => self.blank.clone(),
        }
    }
}

/// Draws lines one by one.
pub(in crate::cli) struct LogScreen {
    how: Drawing,
    /// Prefixes as wide as the widest one so far.
    width: usize,
    /// By name and instance; in order of appearance, for their colours.
    sources: HashMap<String, BTreeMap<u32, Source>>,
    seen: usize,
    /// Whose line is not ended yet.
    open: Option<Open>,
    /// Those between whose line and its end others came.
    interrupted: Vec<Open>,
}

struct Source {
    style: Style,
    /// `web:0`.
    label: String,
}

/// Everything by which a line knows that it goes on.
#[derive(PartialEq, Eq)]
struct Open {
    log: String,
    name: String,
    instance: u32,
    stream: LogStream,
    run: Option<u64>,
}

impl Open {
    fn of(line: &Line<'_>) -> Self {
        let Line { log, name, instance, stream, run, .. } = line;
        Self { log: log.to_string(), name: name.to_string(), instance: *instance, stream: *stream, run: *run }
    }

    fn is(&self, line: &Line<'_>) -> bool {
        self.run == line.run && self.of_the_same_stream(line)
    }

    fn of_the_same_stream(&self, line: &Line<'_>) -> bool {
        self.log == line.log && self.name == line.name && (self.instance, self.stream) == (line.instance, line.stream)
    }
}

const COLOURS: [Style; 4] = [Style::Cyan, Style::Green, Style::Yellow, Style::Bold];

impl LogScreen {
    pub(in crate::cli) fn new(how: Drawing) -> Self {
        Self { how, width: 0, sources: HashMap::new(), seen: 0, open: None, interrupted: Vec::new() }
    }

    /// Draws a line, or what there is of it.
    pub(in crate::cli) fn line(&mut self, line: &Line<'_>, out: &mut Vec<u8>) {
        if let Some(bytes) = line.missing {
            return self.notice(line, bytes, out);
        }
        let goes_on = self.open.as_ref().is_some_and(|open| open.is(line));
        if !goes_on {
            self.break_open(line, out);
            let before = self.interrupted.len();
            self.interrupted.retain(|open| !open.is(line));
            let was_broken = before > self.interrupted.len();
            if was_broken && line.complete && line.line.0.is_empty() {
                // It has ended, and so has what is shown of it.
                return;
            }
        }
        if self.how.raw {
            out.extend_from_slice(&line.line.0);
        } else {
            if !goes_on {
                self.prefix(line, "|", out);
            }
            harmless(&line.line.0, self.how.paint.on, self.how.highlight.as_ref(), out);
        }
        if line.complete {
            out.push(b'\n');
            self.open = None;
        } else if !goes_on {
            self.open = Some(Open::of(line));
        }
    }

    /// What ends the last line, if it is still open. Raw output is left as the app wrote it.
    pub(in crate::cli) fn end(&self) -> &'static [u8] {
        if self.open.is_some() && !self.how.raw { b"\n" } else { b"" }
    }

    /// Word of what is missing, where it is not drawn among the lines.
    pub(in crate::cli) fn aside(&self, line: &Line<'_>) -> Option<String> {
        let bytes = line.missing.filter(|_| self.how.raw)?;
        Some(format!("{}:{}: {}", printable(&line.name), line.instance, words(line, bytes)))
    }

    fn notice(&mut self, line: &Line<'_>, bytes: u64, out: &mut Vec<u8>) {
        if self.how.raw {
            return;
        }
        self.break_open(line, out);
        self.prefix(line, "!", out);
        out.extend_from_slice(self.how.paint.dim(&words(line, bytes)).as_bytes());
        out.push(b'\n');
    }

    /// Ends an open line before another begins. Raw bytes of one log follow each other as they do in the file.
    fn break_open(&mut self, next: &Line<'_>, out: &mut Vec<u8>) {
        let Some(open) = self.open.take() else { return };
        if self.how.raw && open.log == next.log {
            return;
        }
        out.push(b'\n');
        let ended = open.run != next.run && open.of_the_same_stream(next);
        if !ended {
            self.interrupted.push(open);
        }
    }

    fn prefix(&mut self, line: &Line<'_>, bar: &str, out: &mut Vec<u8>) {
        let paint = self.how.paint;
        if let Some(time) = &mut self.how.time {
            out.extend_from_slice(paint.dim(&time.text(line.time)).as_bytes());
            out.push(b' ');
        }
        let known = self.sources.get(&*line.name).is_some_and(|all| all.contains_key(&line.instance));
        if !known {
            let label = format!("{}:{}", printable(&line.name), line.instance);
            self.width = self.width.max(super::columns(&label));
            let style = COLOURS.get(self.seen % COLOURS.len()).copied().unwrap_or_default();
            self.seen += 1;
            self.sources.entry(line.name.to_string()).or_default().insert(line.instance, Source { style, label });
        }
        let source = self.sources.get(&*line.name).and_then(|all| all.get(&line.instance));
        let Some(Source { style, label }) = source else { return };
        let pad = self.width - super::columns(label);
        out.extend_from_slice(paint.styled(*style, label).as_bytes());
        out.resize(out.len() + pad + 1, b' ');
        let style = match line.stream {
            LogStream::Out => Style::Dim,
            LogStream::Err => Style::Red,
        };
        out.extend_from_slice(paint.styled(style, bar).as_bytes());
        out.push(b' ');
    }
}

fn words(line: &Line<'_>, bytes: u64) -> String {
    let why = String::from_utf8_lossy(&line.line.0);
    let what = match bytes {
        0 => "output is missing here".to_owned(),
        1 => "1 byte is missing here".to_owned(),
        bytes => format!("{bytes} bytes are missing here"),
    };
    if why.is_empty() { what } else { format!("{what}: {}", printable(&why)) }
}

#[cfg(test)]
mod tests;
