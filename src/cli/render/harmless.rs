//! What an app wrote, without whatever would drive the terminal of those who read it.
//!
//! Colours (`ESC [ ... m`) stay if colours are wanted, and end with the line. Everything else that a terminal acts upon goes:
//! cursor, titles, clipboard, hyperlinks, C1 controls in either encoding. Three things are shown rather than taken out,
//! because what is around them would read as something else without them: a carriage return amid a line (a space: progress
//! bars rewrite themselves, and a line must not overwrite its own prefix), letters that turn the direction of writing, and
//! line separators, as escapes. What a reader would get wrong: matches are highlighted in the text that is *shown*.

use regex_lite::Regex;
use std::borrow::Cow;

/// A longer one is no colour that anybody meant.
const LONGEST_COLOUR: usize = 64;

const BRIGHT: &str = "\x1b[7m";
const BRIGHT_ENDS: &str = "\x1b[27m";

/// Appends what may be shown of the line.
pub(in crate::cli) fn harmless(line: &[u8], colours: bool, highlight: Option<&Regex>, out: &mut Vec<u8>) {
    let highlight = highlight.filter(|_| colours);
    if highlight.is_none() && is_plain(line) {
        out.extend_from_slice(line);
        return;
    }
    let text = String::from_utf8_lossy(line);
    let matches = highlight.map(|regex| matches(&text, regex)).unwrap_or_default();
    let mut bright = Bright { matches: &matches, at: 0, on: false };
    let mut coloured = false;
    pieces(&text, |piece| match piece {
        Piece::Text(text) => bright.text(text, out),
        Piece::Colour(sequence) if colours => {
            coloured = true;
            out.extend_from_slice(sequence.as_bytes());
            // It may have been "everything off".
            if bright.on {
                out.extend_from_slice(BRIGHT.as_bytes());
            }
        }
        Piece::Colour(_) => {}
    });
    if coloured || bright.on {
        out.extend_from_slice(b"\x1b[0m");
    }
}

/// Nothing but what every terminal shows as it is. Most lines are, and there may be millions.
fn is_plain(line: &[u8]) -> bool {
    line.iter().all(|b| matches!(b, b' '..=b'~' | b'\t'))
}

/// Where the expression finds something in the text as it is shown.
fn matches(text: &str, regex: &Regex) -> Vec<(usize, usize)> {
    let mut shown = String::with_capacity(text.len());
    pieces(text, |piece| match piece {
        Piece::Text(text) => shown.push_str(text),
        Piece::Colour(_) => {}
    });
    regex.find_iter(&shown).map(|found| (found.start(), found.end())).filter(|(start, end)| start < end).collect()
}

/// Writes text with its matches bright.
struct Bright<'a> {
    matches: &'a [(usize, usize)],
    /// How much was written.
    at: usize,
    on: bool,
}

impl Bright<'_> {
    fn text(&mut self, mut text: &str, out: &mut Vec<u8>) {
        while let Some((start, end)) = self.matches.first().copied() {
            let (edge, next) = if self.on { (end, BRIGHT_ENDS) } else { (start, BRIGHT) };
            let Some((before, after)) = text.split_at_checked(edge.saturating_sub(self.at)).filter(|_| {
                // An edge at the very end belongs to what comes next, or to the end of the line.
                edge < self.at + text.len() || self.on && edge == self.at + text.len()
            }) else {
                break;
            };
            out.extend_from_slice(before.as_bytes());
            out.extend_from_slice(next.as_bytes());
            self.at = edge;
            text = after;
            if self.on {
                self.matches = self.matches.get(1..).unwrap_or_default();
            }
            self.on = !self.on;
        }
        out.extend_from_slice(text.as_bytes());
        self.at += text.len();
    }
}

enum Piece<'a> {
    Text(&'a str),
    /// A whole sequence that sets colours.
    Colour(&'a str),
}

/// Cuts a line into what is shown and what colours it; the rest is passed over.
fn pieces(text: &str, mut tell: impl FnMut(Piece<'_>)) {
    let mut rest = text;
    while let Some(at) = rest.find(acts) {
        let (plain, from) = rest.split_at(at);
        if !plain.is_empty() {
            tell(Piece::Text(plain));
        }
        let (piece, after) = first(from);
        match piece {
            First::Nothing => {}
            First::Text(text) => tell(Piece::Text(&text)),
            First::Colour(sequence) => tell(Piece::Colour(sequence)),
        }
        rest = after;
    }
    if !rest.is_empty() {
        tell(Piece::Text(rest));
    }
}

fn acts(c: char) -> bool {
    c != '\t' && (c.is_control() || turns(c))
}

/// Characters that make other text read otherwise than it stands: overrides, embeddings and isolates of the writing direction,
/// and separators that some terminals break lines at. Marks (U+200E, U+200F) stay: languages need them, and they turn nothing.
fn turns(c: char) -> bool {
    matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

enum First<'a> {
    Nothing,
    Text(Cow<'a, str>),
    Colour(&'a str),
}

/// What the text begins with, which acts upon a terminal; and the rest.
fn first(text: &str) -> (First<'_>, &str) {
    let mut chars = text.chars();
    match chars.next() {
        Some('\x1b') => escape(text, chars.as_str()),
        Some('\r') => {
            let rest = text.trim_start_matches('\r');
            // At the end it belongs to the line feed that stood there.
            (if rest.is_empty() { First::Nothing } else { First::Text(Cow::Borrowed(" ")) }, rest)
        }
        Some(c) if turns(c) => (First::Text(Cow::Owned(c.escape_default().to_string())), chars.as_str()),
        Some(_) | None => (First::Nothing, chars.as_str()),
    }
}

/// `after`: behind the ESC.
fn escape<'a>(text: &'a str, after: &'a str) -> (First<'a>, &'a str) {
    let mut chars = after.chars();
    match chars.next() {
        // CSI: parameters up to a final byte from @ to ~.
        Some('[') => {
            let body = chars.as_str();
            let end = body.find(|c| !matches!(c, '\x20'..='\x3f')).unwrap_or(body.len());
            let (parameters, rest) = body.split_at(end);
            let Some(last) = rest.chars().next().filter(|c| matches!(c, '@'..='~')) else {
                return (First::Nothing, rest);
            };
            let rest = rest.get(1..).unwrap_or_default();
            let is_colour = last == 'm'
                && parameters.len() <= LONGEST_COLOUR
                && parameters.chars().all(|c| matches!(c, '0'..='9' | ';' | ':'));
            let sequence = text.get(..text.len() - rest.len()).unwrap_or_default();
            (if is_colour { First::Colour(sequence) } else { First::Nothing }, rest)
        }
        // OSC, DCS, SOS, PM, APC: a string up to BEL, ST, or ESC \; titles and clipboards among them.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            let body = chars.as_str();
            let bell = body.find(['\x07', '\u{9c}']).map(|at| body.get(at..).unwrap_or_default());
            let bell = bell.map(|rest| rest.strip_prefix(['\x07', '\u{9c}']).unwrap_or(rest));
            let st = body.find("\x1b\\").map(|at| body.get(at + 2..).unwrap_or_default());
            let rest = [bell, st].into_iter().flatten().max_by_key(|rest| rest.len());
            (First::Nothing, rest.unwrap_or_default())
        }
        // Two characters, perhaps with intermediates between.
        Some(_) => {
            let rest = after.trim_start_matches(|c| matches!(c, '\x20'..='\x2f'));
            let mut chars = rest.chars();
            // Another escape begins anew.
            let taken = chars.next().filter(|c| *c != '\x1b');
            (First::Nothing, if taken.is_some() { chars.as_str() } else { rest })
        }
        None => (First::Nothing, ""),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(line: &[u8], colours: bool, highlight: Option<&str>) -> String {
        let mut out = Vec::new();
        let regex = highlight.map(|text| Regex::new(text).unwrap());
        harmless(line, colours, regex.as_ref(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_taken_out_and_colours_kept_where_wanted() {
        for (text, plain, coloured) in [
            ("\x1b[31mred", "red", "\x1b[31mred\x1b[0m"),
            ("a\x1b[2Jb\x1b[1;1Hc", "abc", "abc"),
            ("\x1b]0;title\x07x\x1b]52;c;AAAA\x1b\\y", "xy", "xy"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07!", "link!", "link!"),
            ("\x1bPq#0\x1b\\z", "z", "z"),
            ("\x1bcreset\x1b(Bz", "resetz", "resetz"),
            ("\x1b\x1b[31mx", "x", "\x1b[31mx\x1b[0m"),
            ("over\rwrite\x08\x7f\u{9b}31m", "over write31m", "over write31m"),
            ("dos\r", "dos", "dos"),
            ("10%\r\r20%\r\r", "10% 20%", "10% 20%"),
            ("tab\tstays\x0b\x0c\u{85}", "tab\tstays", "tab\tstays"),
            ("\x1b[31", "", ""),
            ("\x1b[3\u{e9}1m", "\u{e9}1m", "\u{e9}1m"),
            ("\x1b[?25lm", "m", "m"),
            ("\x1b", "", ""),
            ("ab\u{202e}gpj\u{2066}\u{2028}", "ab\\u{202e}gpj\\u{2066}\\u{2028}", "ab\\u{202e}gpj\\u{2066}\\u{2028}"),
            ("\u{5d0}\u{200f}!", "\u{5d0}\u{200f}!", "\u{5d0}\u{200f}!"),
        ] {
            assert_eq!(shown(text.as_bytes(), false, None), plain, "{text:?}");
            assert_eq!(shown(text.as_bytes(), true, None), coloured, "{text:?}");
        }
        let endless = format!("\x1b[{}mx", "1;".repeat(1 << 20));
        assert_eq!(shown(endless.as_bytes(), true, None), "x");
        assert_eq!(shown(b"\x9b31mx", true, None), "\u{fffd}31mx", "the eight-bit form is no UTF-8");
    }

    #[test]
    fn matches_are_bright_and_colours_go_on_beneath() {
        for (text, regex, bright) in [
            ("an error here", "error", "an <error> here"),
            ("error", "error", "<error>"),
            ("aXbXc", "X", "a<X>b<X>c"),
            ("XX", "X", "<X><X>"),
            ("none", "x*", "none"),
            ("er\x1b[31mror!", "error", "<er\x1b[31m<ror>!\x1b[0m"),
            ("\x1b[31mred\x1b[0m", "d", "\x1b[31mre<d>\x1b[0m\x1b[0m"),
            ("f\u{fc}r Gr\u{fc}n", "Gr\u{fc}", "f\u{fc}r <Gr\u{fc}>n"),
        ] {
            let drawn = shown(text.as_bytes(), true, Some(regex)).replace(BRIGHT_ENDS, ">").replace(BRIGHT, "<");
            assert_eq!(drawn, bright, "{text:?}");
            assert!(!shown(text.as_bytes(), false, Some(regex)).contains('\x1b'));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_line_drives_a_terminal(
            line in proptest::collection::vec(prop_oneof![
                any::<u8>(),
                proptest::sample::select(b"\x1b\x1b\x1b[]();:?0123mPX^_\\\x07\x9b\x9c\r\n\xc2\xe2\x80\xae".as_slice()),
            ], 0..60),
            find in proptest::option::of("[a-z0-9]"),
        ) {
            let plain = shown(&line, false, None);
            prop_assert!(plain.chars().all(|c| !acts(c)), "{plain:?}");
            let coloured = shown(&line, true, find.as_deref());
            let mut rest = coloured.as_str();
            let mut text = String::new();
            while let Some(at) = rest.find('\x1b') {
                text.push_str(&rest[..at]);
                let sequence = &rest[at..];
                let end = sequence.find('m').unwrap();
                prop_assert!(sequence[1..end].starts_with('['));
                prop_assert!(sequence[2..end].bytes().all(|b| matches!(b, b'0'..=b'9' | b';' | b':')), "{coloured:?}");
                rest = &sequence[end + 1..];
            }
            text.push_str(rest);
            prop_assert_eq!(text, plain);
        }
    }
}
