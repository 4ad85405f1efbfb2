//! Rust source as plain text, with all that is not shipped code blanked: comments, string and character literals, test modules.
//!
//! It must not parse more than that. Newlines stay where they are, so that line numbers hold.

/// The code of a file: comments, literals and `#[cfg(test)]` modules become spaces.
pub fn code_of(text: &str) -> String {
    without_tests(blank(text.as_bytes()))
}

fn blank(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match literal_end(bytes, at) {
            Some(end) => end,
            None => {
                out.push(bytes[at]);
                at += 1;
                continue;
            }
        };
        out.extend(bytes[at..end].iter().map(|b| if *b == b'\n' { b'\n' } else { b' ' }));
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that begins here ends; none if code stands here.
fn literal_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let word_before = at > 0 && is_word(bytes[at - 1]);
    if rest.starts_with(b"//") {
        return Some(at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()));
    }
    if rest.starts_with(b"/*") {
        return Some(at + block_comment(rest));
    }
    if rest[0] == b'"' {
        return Some(at + quoted(rest, b'"'));
    }
    if rest[0] == b'r' && !word_before {
        let hashes = rest[1..].iter().take_while(|b| **b == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
            let body = &rest[2 + hashes..];
            let end = body.windows(close.len()).position(|w| w == close).map_or(body.len(), |i| i + close.len());
            return Some(at + 2 + hashes + end);
        }
    }
    // 'x' and '\n' are literals; 'a in <'a> is not.
    if rest[0] == b'\'' && !word_before {
        let text = std::str::from_utf8(&rest[1..rest.len().min(8)])
            .or_else(|e| std::str::from_utf8(&rest[1..=e.valid_up_to()]));
        let first = text.ok().and_then(|t| t.chars().next())?;
        if first == '\\' || rest.get(1 + first.len_utf8()) == Some(&b'\'') {
            return Some(at + quoted(rest, b'\''));
        }
    }
    None
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Whether the byte can be part of an identifier.
pub fn is_word(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

fn without_tests(code: String) -> String {
    let mut code = code;
    while let Some(start) = code.find("#[cfg(test)]") {
        let rest = &code[start..];
        let open = rest.find('{').unwrap_or(rest.len());
        // `#[cfg(test)] mod tests;` or `use`: up to the semicolon.
        let end = match rest.find(';') {
            Some(semicolon) if semicolon < open => semicolon + 1,
            _ => open + braces(&rest.as_bytes()[open..]),
        };
        let blanked: String = rest[..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..start + end, &blanked);
    }
    code
}

/// How long the `{...}` is that begins here.
pub fn braces(bytes: &[u8]) -> usize {
    let mut depth = 0_i32;
    for (i, b) in bytes.iter().enumerate() {
        match b {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    bytes.len()
}

/// Where `word` stands as a word of its own, and the number of its line.
pub fn find_word(code: &str, word: &str) -> Vec<(usize, usize)> {
    let bytes = code.as_bytes();
    code.match_indices(word)
        .filter(|(at, _)| {
            let starts = !is_word(word.as_bytes()[0]) || *at == 0 || !is_word(bytes[at - 1]);
            let end = at + word.len();
            starts && (!is_word(bytes[end - 1]) || end == bytes.len() || !is_word(bytes[end]))
        })
        .map(|(at, _)| (at, code[..at].matches('\n').count() + 1))
        .collect()
}

#[test]
fn only_code_is_left() {
    let text = "a /* b /* c */ d */ 'e' \"f \\\" g\" r#\"h \" i\"# j // k\nl<'m> '\\'' n\n";
    assert_eq!(code_of(text).split_whitespace().collect::<Vec<_>>(), ["a", "j", "l<'m>", "n"]);
    assert_eq!(code_of("#[cfg(test)]\nmod tests { fn f() { {} } }\nb").trim(), "b");
    assert_eq!(code_of("#[cfg(test)]\nmod tests;\nb{}").trim(), "b{}");
    assert_eq!(find_word("fs std::fs fsync", "fs"), [(0, 1), (8, 1)]);
}
