//! Bytes into lines.
//!
//! Owns where a line ends. It must not read, keep or change anything: the same bytes give the same lines, however they arrived.
//! What a reader would get wrong: a carriage return before the line feed belongs to the line; an app on Linux that writes one
//! means it.

use memchr::memchr;

/// A line longer than this comes in pieces. As JSON a byte may take six, and a reader takes a mebibyte for a line.
pub const LINE_MOST: usize = 128 << 10;

/// A line, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Without what ended it.
    pub text: &'a [u8],
    /// What ended it.
    pub end: End,
    /// How many bytes it takes, with what ended it.
    pub taken: usize,
}

/// What ended a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The line's own line feed.
    LineFeed,
    /// The line is too long for one frame, and goes on in the next.
    TooLong,
    /// The run ended without a line feed.
    RunOver,
}

/// The first frame of `bytes`, a place where one begins. `over`: nothing will ever follow them. None: its end is not there yet.
///
/// A piece of a line that is too long has `limit` bytes, or up to three less, so as not to tear a character of UTF-8.
#[must_use]
pub fn next(bytes: &[u8], limit: usize, over: bool) -> Option<Frame<'_>> {
    // One more than a line may have: whether that is a line feed decides whether the line is too long.
    let looked = &bytes[..bytes.len().min(limit.saturating_add(1))];
    let frame = |text, end, taken| Some(Frame { text: &bytes[..text], end, taken });
    match memchr(b'\n', looked) {
        Some(at) => frame(at, End::LineFeed, at + 1),
        None if looked.len() > limit => {
            let at = whole_characters(looked, limit);
            frame(at, End::TooLong, at)
        }
        None if over && !bytes.is_empty() => frame(bytes.len(), End::RunOver, bytes.len()),
        None => None,
    }
}

/// Where to cut so that no character is torn: at `limit`, or before the character that lies across it. What is no UTF-8 is cut
/// anywhere.
fn whole_characters(bytes: &[u8], limit: usize) -> usize {
    let continues = |at: usize| bytes[at] & 0b1100_0000 == 0b1000_0000;
    if !continues(limit) {
        return limit;
    }
    let first = (limit.saturating_sub(3)..limit).rev().find(|at| !continues(*at));
    first.filter(|at| *at > 0 && bytes[*at] >= 0b1100_0000).unwrap_or(limit)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a lane's bytes become when they arrive in such chunks and then no more come.
    fn framed(chunks: &[&[u8]], limit: usize) -> Vec<(Vec<u8>, End)> {
        let (mut held, mut frames) = (Vec::new(), Vec::new());
        for (n, chunk) in chunks.iter().chain([&&b""[..]]).enumerate() {
            held.extend_from_slice(chunk);
            while let Some(frame) = next(&held, limit, n == chunks.len()) {
                frames.push((frame.text.to_vec(), frame.end));
                let taken = frame.taken;
                held.drain(..taken);
            }
        }
        assert!(held.is_empty(), "all is a line in the end");
        frames
    }

    fn joined(frames: &[(Vec<u8>, End)]) -> Vec<u8> {
        let whole =
            |(text, end): &(Vec<u8>, End)| [&text[..], if *end == End::LineFeed { b"\n" } else { b"" }].concat();
        frames.iter().flat_map(whole).collect()
    }

    #[test]
    fn a_line_ends_with_its_line_feed_its_limit_or_its_run() {
        let said = |bytes: &[u8]| {
            let show = |(text, end): (Vec<u8>, End)| format!("{} {end:?}", text.escape_ascii());
            framed(&[bytes], 5).into_iter().map(show).collect::<Vec<_>>()
        };
        assert_eq!(said(b""), [""; 0]);
        assert_eq!(said(b"a\r\n\nb"), ["a\\r LineFeed", " LineFeed", "b RunOver"]);
        assert_eq!(said(b"12345\n"), ["12345 LineFeed"], "exactly as long as may be");
        assert_eq!(said(b"12345"), ["12345 RunOver"]);
        assert_eq!(said(b"123456\n"), ["12345 TooLong", "6 LineFeed"]);
        assert_eq!(said("123ää\n".as_bytes()), ["123\\xc3\\xa4 TooLong", "\\xc3\\xa4 LineFeed"]);
        assert_eq!(said("1234ä\n".as_bytes()), ["1234 TooLong", "\\xc3\\xa4 LineFeed"]);
        assert_eq!(said(b"1\x80\x80\x80\x80\x80\n"), ["1\\x80\\x80\\x80\\x80 TooLong", "\\x80 LineFeed"]);
    }

    #[test]
    fn a_line_that_may_go_on_is_waited_for() {
        assert_eq!(next(b"12345", 5, false), None);
        assert_eq!(next(b"", 5, true), None);
        assert_eq!(next(b"123456", 5, false).unwrap().end, End::TooLong);
    }

    proptest! {
        #[test]
        fn every_byte_is_in_one_frame_and_the_chunks_do_not_matter(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), Just(0xc3), Just(0xa4), any::<u8>()], 0..200),
            mut cuts in prop::collection::vec(0_usize..200, 0..8),
            limit in 1_usize..30,
        ) {
            cuts.retain(|cut| *cut < bytes.len());
            cuts.sort_unstable();
            let mut chunks: Vec<&[u8]> = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([bytes.len()]) {
                chunks.push(&bytes[from..cut]);
                from = cut;
            }
            let frames = framed(&chunks, limit);
            prop_assert_eq!(&frames, &framed(&[&bytes], limit));
            prop_assert_eq!(joined(&frames), &bytes[..]);
            for (text, end) in &frames {
                prop_assert!(text.len() <= limit && !text.contains(&b'\n'));
                prop_assert!(*end != End::TooLong || text.len() + 3 >= limit && !text.is_empty());
            }
        }

        #[test]
        fn text_stays_text(text in "[a\u{e4}\u{20ac}\u{1f980}]{0,80}", limit in 4_usize..20) {
            for (piece, _) in framed(&[text.as_bytes()], limit) {
                prop_assert!(std::str::from_utf8(&piece).is_ok());
            }
        }
    }
}
