//! PM2's way of writing a time format, which is that of day.js (`YYYY-MM-DD HH:mm:ss`), into strftime's.
//!
//! Owns the tokens. It must not judge the result; `log_format` does. What a reader would get wrong: a token is the longest run
//! of letters that is one (`MMM` is not `M` three times), and what is no token stands for itself, letters too.

/// Longest first among those that begin alike. None: strftime has no such thing. `S`, `SS` and `X` are of moment.js, which PM2
/// had before; day.js writes them as they stand, which nobody means.
const TOKENS: [(&str, Option<&str>); 31] = [
    ("YYYY", Some("%Y")),
    ("YYY", None),
    ("YY", Some("%y")),
    ("Y", None),
    ("MMMM", Some("%B")),
    ("MMM", Some("%b")),
    ("MM", Some("%m")),
    ("M", Some("%-m")),
    ("DD", Some("%d")),
    ("D", Some("%-d")),
    ("dddd", Some("%A")),
    ("ddd", Some("%a")),
    ("dd", None),
    ("d", Some("%w")),
    ("HH", Some("%H")),
    ("H", Some("%-H")),
    ("hh", Some("%I")),
    ("h", Some("%-I")),
    ("mm", Some("%M")),
    ("m", Some("%-M")),
    ("ss", Some("%S")),
    ("s", Some("%-S")),
    ("SSS", Some("%3f")),
    ("SS", Some("%2f")),
    ("S", Some("%1f")),
    ("A", Some("%p")),
    ("a", Some("%P")),
    ("ZZ", Some("%z")),
    ("Z", Some("%:z")),
    ("X", Some("%s")),
    ("x", None),
];

/// The same format for strftime(3).
///
/// # Errors
/// It holds what strftime cannot say, or a `[` that is not closed.
pub fn strftime(day_js: &str) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), day_js);
    while let Some(first) = rest.chars().next() {
        if first == '[' {
            let (literal, after) = rest[1..].split_once(']').ok_or("a [ has no ]")?;
            literal.chars().for_each(|c| push(&mut out, c));
            rest = after;
        } else if let Some((token, directive)) = TOKENS.iter().find(|(token, _)| rest.starts_with(*token)) {
            out.push_str(directive.ok_or_else(|| format!("strftime(3) has nothing for {token}"))?);
            rest = &rest[token.len()..];
        } else {
            push(&mut out, first);
            rest = &rest[first.len_utf8()..];
        }
    }
    Ok(out)
}

/// A letter that stands for itself.
fn push(out: &mut String, letter: char) {
    out.push(letter);
    if letter == '%' {
        out.push('%');
    }
}

#[cfg(test)]
mod tests {
    use super::strftime;

    #[test]
    fn what_people_have_in_their_files_means_the_same() {
        for (day_js, expected) in [
            ("YYYY-MM-DD HH:mm Z", "%Y-%m-%d %H:%M %:z"),
            ("YYYY-MM-DD HH:mm:ss.SSS ZZ", "%Y-%m-%d %H:%M:%S.%3f %z"),
            ("YYYY-MM-DDTHH:mm:ss", "%Y-%m-%dT%H:%M:%S"),
            ("DD/MMM/YY h:m:s a", "%d/%b/%y %-I:%-M:%-S %P"),
            ("dddd, MMMM D, YYYY hh:mm A", "%A, %B %-d, %Y %I:%M %p"),
            ("[at 100%: YYYY] H", "at 100%%: YYYY %-H"),
            ("X", "%s"),
            ("", ""),
        ] {
            assert_eq!(strftime(day_js).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn most_of_them_can_be_read_back_out_of_a_log() {
        for good in ["YYYY-MM-DD HH:mm Z", "YYYY-MM-DDTHH:mm:ss.SSSZ", "ddd D MMM YYYY h:mm:ss A", "[log] X"] {
            assert_eq!(crate::config::log_format::check(&strftime(good).unwrap_or_default()), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        assert_eq!(strftime("[at HH"), Err("a [ has no ]".to_owned()));
        assert_eq!(strftime("dd HH"), Err("strftime(3) has nothing for dd".to_owned()));
    }
}
