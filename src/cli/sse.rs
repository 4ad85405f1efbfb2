//! Server-sent events, as far as opm's own streams need them: `data:` lines, an empty line ends an event, `:` is a comment,
//! `event:` is its name, `id:` is where to go on from.
//!
//! What a reader would get wrong: an event's text is lent, not given. A million log lines are no place for a copy of each.

use std::borrow::Cow;
use std::io::BufRead;

/// More than this without an end is no event of ours.
const LARGEST: usize = 64 << 20;

/// Bytes in, events out, in whatever chunks they come.
#[derive(Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    /// Where the next event begins.
    at: usize,
    /// Where the first line begins that was not looked at.
    line: usize,
    /// How far its end was looked for.
    searched: usize,
    /// How many lines before it belong to that event.
    lines: u32,
    last_id: Option<String>,
}

/// One event that is there completely.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// What it is called; most have no name.
    pub(super) name: Cow<'a, str>,
    /// What it says.
    pub(super) data: Cow<'a, str>,
}

impl Frames {
    /// Takes what came.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.buffer.drain(..self.at);
        self.line -= self.at;
        self.searched -= self.at;
        self.at = 0;
        if self.buffer.len() + bytes.len() > LARGEST {
            return Err("failed to read the daemon's stream: an event without an end".to_owned());
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The id of the last whole event that had one.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// The next event that is there completely.
    pub(super) fn next_event(&mut self) -> Option<Event<'_>> {
        loop {
            let begin = self.at;
            let (end, lines) = self.end()?;
            let block = self.buffer.get(begin..end).unwrap_or_default();
            if lines == 1 && block.starts_with(b"data:") {
                // Most are so, and are not looked through again.
                let data = self.buffer.get(begin + 5..end).map(value).unwrap_or_default();
                return Some(Event { name: Cow::default(), data: String::from_utf8_lossy(data) });
            }
            if let Some(id) = fields(block).filter_map(|(name, value)| (name == b"id").then_some(value)).last() {
                // One without data is all the same a place to go on from.
                self.last_id = Some(String::from_utf8_lossy(id).into_owned());
            }
            if fields(block).any(|(name, _)| name == b"data") {
                return Some(event(self.buffer.get(begin..end).unwrap_or_default()));
            }
        }
    }

    /// Where the event that begins at `at` ends: before an empty line; and how many lines it has. `at` is behind that then.
    fn end(&mut self) -> Option<(usize, u32)> {
        loop {
            let mut rest = self.buffer.get(self.searched..)?;
            // The one search of the standard library for a byte that is as fast as the processor can.
            let length = rest.skip_until(b'\n').ok()?;
            let (begin, after) = (self.line, self.searched + length);
            self.searched = after;
            if length == 0 || self.buffer.get(after - 1) != Some(&b'\n') {
                return None;
            }
            self.line = after;
            if matches!(self.buffer.get(begin..after), Some(b"\n" | b"\r\n")) {
                self.at = after;
                return Some((begin, std::mem::take(&mut self.lines)));
            }
            self.lines += 1;
        }
    }
}

fn event(block: &[u8]) -> Event<'_> {
    let mut event = Event { name: Cow::default(), data: Cow::default() };
    let mut first = true;
    for (name, value) in fields(block) {
        if name == b"event" {
            event.name = String::from_utf8_lossy(value);
        } else if name == b"data" && std::mem::take(&mut first) {
            event.data = String::from_utf8_lossy(value);
        } else if name == b"data" {
            let data = event.data.to_mut();
            data.push('\n');
            data.push_str(&String::from_utf8_lossy(value));
        }
    }
    event
}

/// Without the end of its line, and the one space that may stand before it.
fn value(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    text.strip_prefix(b" ").unwrap_or(text)
}

/// The fields of an event.
fn fields(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    block.split(|b| *b == b'\n').filter_map(|line| {
        let colon = line.iter().position(|b| *b == b':').filter(|at| *at > 0)?;
        Some((line.get(..colon)?, value(line.get(colon + 1..)?)))
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_however_they_are_cut() {
        let stream = b":hello\n\nevent: x\ndata: {\"a\":1}\n\ndata:two\r\ndata: lines\r\n\r\nid: 7\n\ndata: unfinished";
        for size in 1..stream.len() {
            let mut frames = Frames::default();
            let mut events = Vec::new();
            for chunk in stream.chunks(size) {
                frames.feed(chunk).unwrap();
                while let Some(event) = frames.next_event() {
                    events.push((event.name.into_owned(), event.data.into_owned()));
                }
            }
            let expected = [("x", "{\"a\":1}"), ("", "two\nlines")].map(|(n, d)| (n.to_owned(), d.to_owned()));
            assert_eq!(events, expected, "in chunks of {size}");
            assert_eq!(frames.last_id(), Some("7"));
        }
    }

    #[test]
    fn the_place_to_go_on_from_is_that_of_the_last_whole_event() {
        let mut frames = Frames::default();
        let mut feed = |text: &str| {
            frames.feed(text.as_bytes()).unwrap();
            let data = frames.next_event().map(|event| event.data.into_owned());
            (data, frames.last_id().map(str::to_owned))
        };
        assert_eq!(feed("data: 0\n\n"), (Some("0".into()), None));
        assert_eq!(feed("id: 1-a\ndata: one\n"), (None, None));
        assert_eq!(feed("\n"), (Some("one".into()), Some("1-a".into())));
        assert_eq!(feed("id: 2-b\n\n"), (None, Some("2-b".into())), "without data");
        assert_eq!(feed("id: 3-c\ndata: thr"), (None, Some("2-b".into())));
    }

    #[test]
    fn what_is_common_is_not_copied() {
        let mut frames = Frames::default();
        frames.feed(b"data: {\"line\":\"x\"}\n\n").unwrap();
        assert!(matches!(frames.next_event().unwrap().data, Cow::Borrowed(_)));
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut frames = Frames::default();
        let chunk = vec![b'x'; LARGEST];
        assert!(frames.feed(&chunk).is_ok());
        assert!(frames.next_event().is_none());
        assert!(frames.feed(b"x").is_err());
    }
}
