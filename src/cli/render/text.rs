//! Text on a terminal: colours, widths, and nothing that moves the cursor.

use std::borrow::Cow;

/// Colours, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Paint {
    /// Whether to colour at all.
    pub(in crate::cli) on: bool,
}

/// A colour by what it is for is chosen where it is used; these are the means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::cli) enum Style {
    #[default]
    Plain,
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    Cyan,
}

impl Paint {
    pub(in crate::cli) fn styled(self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Plain => return text.to_owned(),
            Style::Bold => "1",
            Style::Dim => "2",
            Style::Red => "31",
            Style::Green => "32",
            Style::Yellow => "33",
            Style::Cyan => "36",
        };
        if self.on && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    pub(in crate::cli) fn bold(self, text: &str) -> String {
        self.styled(Style::Bold, text)
    }
    pub(in crate::cli) fn dim(self, text: &str) -> String {
        self.styled(Style::Dim, text)
    }
    pub(in crate::cli) fn red(self, text: &str) -> String {
        self.styled(Style::Red, text)
    }
    pub(in crate::cli) fn green(self, text: &str) -> String {
        self.styled(Style::Green, text)
    }
    pub(in crate::cli) fn yellow(self, text: &str) -> String {
        self.styled(Style::Yellow, text)
    }
    pub(in crate::cli) fn cyan(self, text: &str) -> String {
        self.styled(Style::Cyan, text)
    }
}

/// The text with everything escaped that a terminal would act upon instead of showing it: control characters, and those that
/// turn the direction of writing (a name must not be able to look like another).
pub(in crate::cli) fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().fold(String::new(), |mut out, c| {
        if acts(c) {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
        out
    }))
}

fn acts(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How many columns a terminal gives the text. An estimate: East Asian letters and pictures count two, combining marks none.
pub(in crate::cli) fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

fn width(c: char) -> usize {
    match u32::from(c) {
        0x0300..=0x036f | 0x200b..=0x200d | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        0..=u32::MAX => 1,
    }
}

/// The text in at most `room` columns, with an ellipsis where something was cut.
pub(in crate::cli) fn shortened(text: &str, room: usize) -> Cow<'_, str> {
    if columns(text) <= room {
        return Cow::Borrowed(text);
    }
    let mut used = 1;
    let mut out = String::new();
    for c in text.chars() {
        used += width(c);
        if used > room {
            break;
        }
        out.push(c);
    }
    if room > 0 {
        out.push('…');
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_acts_upon_gets_through() {
        assert_eq!(printable("web ünï 日本"), "web ünï 日本");
        assert_eq!(printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(printable("\u{202e}gpj.exe\u{9b}31m"), "\\u{202e}gpj.exe\\u{9b}31m");
    }

    #[test]
    fn text_is_cut_by_columns_and_not_by_bytes() {
        assert_eq!(columns("日本"), 4);
        assert_eq!(shortened("日本語", 5), "日本…");
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcd", 3), "ab…");
        assert_eq!(shortened("abcd", 0), "");
    }
}
