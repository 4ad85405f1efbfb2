//! How people point at apps: `all`, `/regex/`, name, namespace, id, `web:0`.

use super::AppId;

/// What a user typed to point at apps. Which of name, namespace and id a word means depends on what exists, so that is
/// decided by the daemon, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// Everything.
    All,
    /// Apps whose name the expression matches.
    Pattern(String),
    /// A name, else a namespace, else an id; with the instance's number if one was given.
    Word {
        /// The word.
        word: String,
        /// From `web:0`.
        instance: Option<u32>,
    },
}

impl Selector {
    /// Reads a comma list: `web,api:1,/^job-/`. Commas inside `/.../` belong to the expression.
    ///
    /// # Errors
    /// A list without a word, or an instance that is not a number.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let mut selectors = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let end = match rest.strip_prefix('/') {
                // The expression ends at the first '/' that a comma or the end follows.
                Some(pattern) => pattern.find("/,").map(|i| i + 2),
                None => rest.find(','),
            };
            let end = end.unwrap_or(rest.len());
            let item = rest[..end].trim();
            if !item.is_empty() {
                selectors.push(Self::parse(item)?);
            }
            rest = rest[end..].trim_start_matches(',');
        }
        if selectors.is_empty() {
            Err(format!("'{text}' selects nothing; name an app, or write 'all'"))
        } else {
            Ok(selectors)
        }
    }

    fn parse(item: &str) -> Result<Self, String> {
        if item == "all" {
            return Ok(Self::All);
        }
        if let Some(pattern) = item.strip_prefix('/') {
            return pattern
                .strip_suffix('/')
                .filter(|p| !p.is_empty())
                .map(|p| Self::Pattern(p.to_owned()))
                .ok_or_else(|| format!("'{item}' is not a selector; an expression is written /like-this/"));
        }
        let Some((word, instance)) = item.rsplit_once(':') else {
            return Ok(Self::Word { word: item.to_owned(), instance: None });
        };
        instance
            .parse()
            .map(|instance| Self::Word { word: word.to_owned(), instance: Some(instance) })
            .map_err(|_| format!("'{item}' is not a selector; an instance is written like web:0"))
    }
}

/// What a selector turned out to mean: an app, or one instance of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// The app.
    pub app: AppId,
    /// One instance of it; none for all of them.
    pub instance: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_split_at_commas_outside_expressions() {
        let word = |w: &str, i| Selector::Word { word: w.into(), instance: i };
        assert_eq!(
            Selector::parse_list("web,api:1,/^a{1,2}/,all"),
            Ok(vec![word("web", None), word("api", Some(1)), Selector::Pattern("^a{1,2}".into()), Selector::All])
        );
        for bad in ["", ",", "web:x", "/", "//", "/abc"] {
            assert!(Selector::parse_list(bad).is_err(), "{bad}");
        }
    }
}
