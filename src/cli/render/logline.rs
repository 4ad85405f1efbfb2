//! Lines of apps on a person's terminal: whose they are, and nothing in them but text and colours.
//!
//! What a reader would get wrong: an app's line may end without a line feed and go on later (`complete: false`). The line is
//! left open then, and what follows from the same stream is appended without a new prefix.

use super::text::{Paint, Style, printable};
use crate::api::{LogLine, LogStream};

/// Draws lines one by one.
pub(in crate::cli) struct LogScreen {
    paint: Paint,
    raw: bool,
    /// Prefixes as wide as the widest one so far.
    width: usize,
    /// Sources in order of appearance, for their colours.
    seen: Vec<(String, u32)>,
    /// Whose line is not ended yet.
    open: Option<(String, u32, LogStream)>,
}

const COLOURS: [Style; 4] = [Style::Cyan, Style::Green, Style::Yellow, Style::Bold];

impl LogScreen {
    pub(in crate::cli) fn new(paint: Paint, raw: bool) -> Self {
        Self { paint, raw, width: 0, seen: Vec::new(), open: None }
    }

    /// The bytes to print for a line.
    pub(in crate::cli) fn line(&mut self, line: &LogLine) -> Vec<u8> {
        let source = (line.name.clone(), line.instance, line.stream);
        let mut out = Vec::new();
        let goes_on = self.open.as_ref() == Some(&source);
        if self.open.is_some() && !goes_on {
            out.push(b'\n');
        }
        if self.raw {
            out.extend_from_slice(line.line.as_bytes());
        } else {
            if !goes_on {
                out.extend_from_slice(self.prefix(line).as_bytes());
            }
            out.extend_from_slice(harmless(line.line.as_bytes(), self.paint.on).as_bytes());
        }
        if line.complete {
            out.push(b'\n');
            self.open = None;
        } else {
            self.open = Some(source);
        }
        out
    }

    /// What ends the last line, if it is still open. Raw output is left as the app wrote it.
    pub(in crate::cli) fn end(&self) -> &'static [u8] {
        if self.open.is_some() && !self.raw { b"\n" } else { b"" }
    }

    fn prefix(&mut self, line: &LogLine) -> String {
        let key = (line.name.clone(), line.instance);
        let place = self.seen.iter().position(|seen| *seen == key).unwrap_or_else(|| {
            self.seen.push(key);
            self.seen.len() - 1
        });
        let name = format!("{}:{}", printable(&line.name), line.instance);
        self.width = self.width.max(super::columns(&name));
        let pad = " ".repeat(self.width - super::columns(&name));
        let bar = match line.stream {
            LogStream::Out => self.paint.dim("|"),
            LogStream::Err => self.paint.red("|"),
        };
        let style = COLOURS.get(place % COLOURS.len()).copied().unwrap_or_default();
        format!("{}{pad} {bar} ", self.paint.styled(style, &name))
    }
}

/// The line with everything taken out that would drive the terminal. Colours (`ESC [ ... m`) stay if colours are wanted,
/// and end with the line. A carriage return ends up as nothing: it would let a line overwrite its own prefix.
pub(super) fn harmless(line: &[u8], colours: bool) -> String {
    let text = String::from_utf8_lossy(line);
    let mut out = String::with_capacity(text.len());
    let mut coloured = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => match chars.peek() {
                // CSI: parameters up to a final byte from @ to ~.
                Some('[') => {
                    chars.next();
                    let mut body = String::new();
                    let end = loop {
                        match chars.next_if(|c| matches!(c, '\x20'..='\x7e')) {
                            Some(c @ '@'..='~') => break Some(c),
                            Some(c) => body.push(c),
                            None => break None,
                        }
                    };
                    let is_colour = end == Some('m') && body.chars().all(|c| matches!(c, '0'..='9' | ';' | ':'));
                    if is_colour && colours {
                        out.push_str(&format!("\x1b[{body}m"));
                        coloured = true;
                    }
                }
                // OSC, DCS, SOS, PM, APC: a string up to BEL or ESC \, titles and clipboards among them.
                Some(']' | 'P' | 'X' | '^' | '_') => {
                    while let Some(c) = chars.next() {
                        if c == '\x07' || c == '\u{9c}' || (c == '\x1b' && chars.next_if_eq(&'\\').is_some()) {
                            break;
                        }
                    }
                }
                // Two characters, perhaps with intermediates between.
                Some(_) => {
                    while chars.next_if(|c| matches!(c, '\x20'..='\x2f')).is_some() {}
                    chars.next();
                }
                None => {}
            },
            '\t' => out.push('\t'),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    if coloured {
        out.push_str("\x1b[0m");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RawText;

    fn line(name: &str, stream: LogStream, text: &[u8], complete: bool) -> LogLine {
        LogLine {
            name: name.into(),
            instance: 0,
            stream,
            line: RawText::from(text.to_vec()),
            complete,
            time: None,
            run: None,
            missing: None,
            log: String::new(),
            at: String::new(),
        }
    }

    fn drawn(screen: &mut LogScreen, lines: &[LogLine]) -> String {
        let bytes: Vec<u8> = lines.iter().flat_map(|l| screen.line(l)).collect();
        String::from_utf8_lossy(&bytes).into_owned() + &String::from_utf8_lossy(screen.end())
    }

    #[test]
    fn escapes_are_taken_out_and_colours_kept_where_wanted() {
        for (text, plain, coloured) in [
            ("\x1b[31mred", "red", "\x1b[31mred\x1b[0m"),
            ("a\x1b[2Jb\x1b[1;1Hc", "abc", "abc"),
            ("\x1b]0;title\x07x\x1b]52;c;AAAA\x1b\\y", "xy", "xy"),
            ("\x1bPq#0\x1b\\z", "z", "z"),
            ("\x1bcreset\x1b(Bz", "resetz", "resetz"),
            ("over\rwrite\x08\x7f\u{9b}31m", "overwrite31m", "overwrite31m"),
            ("tab\tstays", "tab\tstays", "tab\tstays"),
            ("\x1b[31", "", ""),
            ("\x1b[?25lm", "m", "m"),
            ("\x1b", "", ""),
        ] {
            assert_eq!(harmless(text.as_bytes(), false), plain, "{text:?}");
            assert_eq!(harmless(text.as_bytes(), true), coloured, "{text:?}");
        }
    }

    #[test]
    fn a_line_that_goes_on_is_not_broken_unless_another_comes_between() {
        let mut screen = LogScreen::new(Paint { on: false }, false);
        let lines = [
            line("web", LogStream::Out, b"one ", false),
            line("web", LogStream::Out, b"two", true),
            line("web", LogStream::Out, b"open", false),
            line("longer", LogStream::Err, b"other", true),
            line("web", LogStream::Out, b"last", false),
        ];
        assert_eq!(drawn(&mut screen, &lines), "web:0 | one two\nweb:0 | open\nlonger:0 | other\nweb:0    | last\n");
    }

    #[test]
    fn raw_is_what_was_written() {
        let mut screen = LogScreen::new(Paint { on: true }, true);
        let lines = [line("web", LogStream::Out, b"\x1b[2J\xff", true), line("web", LogStream::Out, b"end", false)];
        let bytes: Vec<u8> = lines.iter().flat_map(|l| screen.line(l)).collect();
        assert_eq!(bytes, b"\x1b[2J\xff\nend");
        assert!(screen.end().is_empty());
    }
}
