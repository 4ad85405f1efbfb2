//! Names that people give: of apps and of namespaces.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name, in bytes: a log file is called `<name>-<instance>-out.log`, and a file name holds 255.
const LONGEST: usize = 128;

/// What an app's name may be, or why not.
fn check(text: &str) -> Result<(), String> {
    let why = if text.is_empty() {
        "is empty"
    } else if text.len() > LONGEST {
        "is longer than 128 bytes"
    } else if text.contains('/') {
        "holds a '/'"
    } else if text.contains(':') {
        "holds a ':', which separates an app from its instance (web:0)"
    } else if text.contains(',') {
        "holds a ',', which separates selectors (web,api)"
    } else if text.chars().any(char::is_control) {
        "holds a control character"
    } else if text == "all" {
        "is the selector for everything"
    } else if text == "." || text == ".." {
        "is a directory"
    } else if text.starts_with('-') {
        "starts with '-', like an option"
    } else if text.trim() != text {
        "starts or ends with a space"
    } else {
        return Ok(());
    };
    Err(format!("name '{}' {why}", text.escape_debug()))
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                check(text).map(|()| Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name_type! {
    /// The name of an app, e.g. `web`: unique, at most 128 bytes, without `/`, `:`, `,` or control characters.
    AppName
}

name_type! {
    /// A label that groups apps for selection and display. Written under the same rules as [`AppName`].
    Namespace
}

impl Default for Namespace {
    /// `default`, which `ls` does not show.
    fn default() -> Self {
        Self("default".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_confuse_are_refused_with_the_reason() {
        for good in ["web", "my app", "7", "ünï", "a.b-c_d"] {
            assert!(good.parse::<AppName>().is_ok(), "{good}");
        }
        for bad in ["", "a/b", "web:0", "a,b", "a\nb", "\u{1b}[31m", "all", "..", "-x", " x", &"x".repeat(129)] {
            assert!(bad.parse::<AppName>().is_err(), "{bad}");
        }
    }
}
