//! Reads env files: `NAME=value` lines.
//!
//! The form: blank lines and lines that begin with `#` are skipped; `export ` before a name is allowed; a value is bare
//! (trimmed, ended by ` #`), in single quotes (literal) or in double quotes (`\n \r \t \" \\ \$` are escapes); quoted values
//! may span lines. `$` means itself: nothing is expanded, so a secret may hold any character. Bytes that are not UTF-8 are
//! kept. The last of two equal names wins.
//!
//! What a reader would get wrong: error texts never show a line's text. Env files hold secrets, and errors are logged.

use super::env::is_name;
use crate::model::RawText;

/// The variables of a file, in its order.
///
/// # Errors
/// The first line that is none of the above, by number.
pub fn parse(bytes: &[u8]) -> Result<Vec<(RawText, RawText)>, String> {
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut number = 1;
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let line_end = rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len());
        let line = rest[..line_end].trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            rest = rest.get(line_end + 1..).unwrap_or_default();
            number += 1;
            continue;
        }
        let equals = rest[..line_end].iter().position(|b| *b == b'=').ok_or(format!("line {number} has no '='"))?;
        let name = name(&rest[..equals]).ok_or(format!("line {number}: what stands before '=' is no name"))?;
        let (value, used) = value(&rest[equals + 1..]).map_err(|why| format!("line {number} ({name}): {why}"))?;
        if value.contains(&0) {
            return Err(format!("line {number} ({name}): the value holds a NUL byte"));
        }
        let end = equals + 1 + used;
        number += rest[..end].iter().filter(|b| **b == b'\n').count();
        rest = &rest[end..];
        pairs.push((name, RawText::from(value)));
    }
    Ok(pairs)
}

fn name(text: &[u8]) -> Option<RawText> {
    let text = text.trim_ascii();
    let text = text
        .strip_prefix(b"export")
        .filter(|after| after.first().is_some_and(u8::is_ascii_whitespace))
        .map_or(text, <[u8]>::trim_ascii);
    (is_name(text)
        && !text.iter().any(|b| b.is_ascii_whitespace() || b.is_ascii_control() || matches!(b, b'"' | b'\'')))
    .then(|| RawText::from(text.to_vec()))
}

/// The value at the start of `text`, and how many bytes it takes up, its line feed included.
fn value(text: &[u8]) -> Result<(Vec<u8>, usize), String> {
    let line_end = text.iter().position(|b| *b == b'\n').unwrap_or(text.len());
    let start = text[..line_end].iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(line_end);
    let quote = match text.get(start) {
        Some(quote @ (b'"' | b'\'')) if start < line_end => *quote,
        Some(_) | None => {
            let line = &text[..line_end];
            let end = (0..line.len())
                .find(|i| line[*i] == b'#' && (*i == 0 || line[*i - 1].is_ascii_whitespace()))
                .unwrap_or(line.len());
            return Ok((line[..end].trim_ascii().to_vec(), (line_end + 1).min(text.len())));
        }
    };
    let mut value = Vec::new();
    let mut at = start + 1;
    loop {
        match text.get(at) {
            None => return Err("the quote is never closed".to_owned()),
            Some(b) if *b == quote => break,
            Some(b'\\') if quote == b'"' => {
                at += 1;
                match text.get(at) {
                    Some(b'n') => value.push(b'\n'),
                    Some(b'r') => value.push(b'\r'),
                    Some(b't') => value.push(b'\t'),
                    Some(b @ (b'"' | b'\\' | b'$')) => value.push(*b),
                    // Unknown escapes are kept as they are: a Windows path or a pattern is meant as it stands.
                    Some(b) => value.extend([b'\\', *b]),
                    None => return Err("the quote is never closed".to_owned()),
                }
            }
            Some(b) => value.push(*b),
        }
        at += 1;
    }
    let tail = &text[at + 1..];
    let tail_end = tail.iter().position(|b| *b == b'\n').unwrap_or(tail.len());
    let after = tail[..tail_end].trim_ascii();
    if after.is_empty() || after.starts_with(b"#") {
        Ok((value, at + 1 + (tail_end + 1).min(tail.len())))
    } else {
        Err("something follows the closing quote".to_owned())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        parse(text).unwrap().into_iter().map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).collect()
    }

    fn one(text: &str) -> String {
        let pairs = parse(text.as_bytes()).unwrap();
        assert_eq!(pairs.len(), 1, "{text}");
        pairs.first().unwrap().1.to_string()
    }

    #[test]
    fn values_are_read_as_people_write_them() {
        for (text, value) in [
            ("A=1", "1"),
            ("export A = two words  ", "two words"),
            ("A=url#part # note", "url#part"),
            ("A= # note", ""),
            ("A=", ""),
            ("A='single $X \\n' # note", "single $X \\n"),
            ("A=\"a\\nb\\\"c\\\\d\\$e\\f\"", "a\nb\"c\\d$e\\f"),
            ("A='two\nlines'", "two\nlines"),
            ("A=x=y", "x=y"),
            ("A=$HOME", "$HOME"),
            ("\u{feff}A=1\r\n", "1"),
        ] {
            assert_eq!(one(text), value, "{text}");
        }
    }

    #[test]
    fn comments_blank_lines_and_foreign_bytes() {
        assert_eq!(
            pairs(b"# c\n\n  # d\nA=\xff\xfe\nB=2"),
            [(b"A".to_vec(), b"\xff\xfe".to_vec()), (b"B".to_vec(), b"2".to_vec())]
        );
    }

    #[test]
    fn mistakes_are_told_by_line_and_never_show_the_value() {
        for (text, error) in [
            ("A=1\nsecret", "line 2 has no '='"),
            ("A='x\ny'\n\n=1", "line 4: what stands before '=' is no name"),
            ("A=1\nB=\"secret", "line 2 (B): the quote is never closed"),
            ("B='x' secret", "line 1 (B): something follows the closing quote"),
            ("two words=1", "line 1: what stands before '=' is no name"),
            ("A=\0", "line 1 (A): the value holds a NUL byte"),
        ] {
            let told = parse(text.as_bytes()).unwrap_err();
            assert_eq!(told, error, "{text}");
            assert!(!told.contains("secret"));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn quoting_marks_in_any_order_do_not_either(text in "[ABe=x \"'\\\\#\n\r\t]{0,60}") {
            let _ = parse(text.as_bytes());
        }

        #[test]
        fn a_value_in_single_quotes_comes_back_as_it_was(value in "[^'\0]{0,40}") {
            prop_assert_eq!(one(&format!("A='{value}'")), value);
        }
    }
}
