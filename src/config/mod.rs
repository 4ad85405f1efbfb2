//! Files that people write, and what they mean: places, commands, environments, lists of apps.
//!
//! It must not talk to the daemon, start anything or print. Everything but [`Paths::find`] and the reading of files that
//! were named is pure, so that the daemon (at every spawn) and `opm env --why` come to the same answer.

pub mod appfile;
pub mod asked;
pub mod command;
pub mod env;
pub mod envfile;
pub mod instances;
pub mod interpreter;
pub mod log_format;
pub mod paths;
pub mod settings;
pub mod suggest;

pub use asked::{Asked, Place};
pub use paths::{Paths, runtime_dir, usual_runtime_dir};
pub use settings::Settings;

use std::fmt;

/// Something a person wrote that cannot be meant, with the mend where one is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong, naming the thing.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Mistake {
    /// A mistake nobody has advice for.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// The same, with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// All of it in one line, for where there is no place for advice of its own.
    #[must_use]
    pub fn with_hint(&self) -> String {
        self.hint.iter().fold(self.message.clone(), |told, hint| format!("{told} ({hint})"))
    }

    /// The same, said of `place`: `apps.json, app 'web': ...`.
    #[must_use]
    pub fn within(mut self, place: &str) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<String> for Mistake {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

/// Why a system call failed, as it stands at the end of a message: lower case, without the number.
pub(crate) fn cause(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}
