//! Server-sent events, as far as opm's own streams need them: `data:` lines, an empty line ends an event, `:` is a comment,
//! `id:` is where to go on from.

/// More than this without an end is no event of ours.
const LARGEST: usize = 64 << 20;

/// Bytes in, events out, in whatever chunks they come.
#[derive(Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    /// Where the first unread line begins.
    at: usize,
    data: Option<String>,
    /// Of the event that is being read.
    id: Option<String>,
    last_id: Option<String>,
}

impl Frames {
    /// Takes what came.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let held = self.buffer.len() + self.data.as_ref().map_or(0, String::len);
        if held + bytes.len() > LARGEST {
            return Err("failed to read the daemon's stream: an event without an end".to_owned());
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The id of the last whole event that had one.
    pub(super) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// The data of the next event that is there completely.
    pub(super) fn next_event(&mut self) -> Option<String> {
        loop {
            let rest = self.buffer.get(self.at..)?;
            let end = rest.iter().position(|b| *b == b'\n')?;
            let line = rest.get(..end)?;
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
            self.at += end + 1;
            if line.is_empty() {
                // Not before the event is whole; and one without data is all the same a place to go on from.
                if let Some(id) = self.id.take() {
                    self.last_id = Some(id);
                }
                if let Some(data) = self.data.take() {
                    return Some(data);
                }
            } else if let Some(id) = line.strip_prefix("id:") {
                self.id = Some(id.trim().to_owned());
            } else if let Some(data) = line.strip_prefix("data:") {
                let data = data.strip_prefix(' ').unwrap_or(data);
                match &mut self.data {
                    Some(all) => {
                        all.push('\n');
                        all.push_str(data);
                    }
                    None => self.data = Some(data.to_owned()),
                }
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_however_they_are_cut() {
        let stream = b":hello\n\nevent: x\ndata: {\"a\":1}\n\ndata:two\r\ndata: lines\r\n\r\ndata: unfinished";
        for size in 1..stream.len() {
            let mut frames = Frames::default();
            let mut events = Vec::new();
            for chunk in stream.chunks(size) {
                frames.feed(chunk).unwrap();
                events.extend(std::iter::from_fn(|| frames.next_event()));
            }
            assert_eq!(events, ["{\"a\":1}", "two\nlines"], "in chunks of {size}");
        }
    }

    #[test]
    fn the_place_to_go_on_from_is_that_of_the_last_whole_event() {
        let mut frames = Frames::default();
        let mut feed = |text: &str| {
            frames.feed(text.as_bytes()).unwrap();
            let data = frames.next_event();
            (data, frames.last_id().map(str::to_owned))
        };
        assert_eq!(feed("data: 0\n\n"), (Some("0".into()), None));
        assert_eq!(feed("id: 1-a\ndata: one\n"), (None, None));
        assert_eq!(feed("\n"), (Some("one".into()), Some("1-a".into())));
        assert_eq!(feed("id: 2-b\n\n"), (None, Some("2-b".into())), "without data");
        assert_eq!(feed("id: 3-c\ndata: thr"), (None, Some("2-b".into())));
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
