//! What policy is made of: when to restart, how long to wait, how to stop, what a run may use.

use super::{ByteSize, Span};
use serde::{Deserialize, Serialize, de};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A run this long is healthy: it clears the count of failures that backoff goes by.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// The window in which `max_restarts` failures make an instance `errored`.
pub const START_LIMIT_WINDOW: Duration = Duration::from_secs(60);

/// When a run that ended by itself gets a successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// After every end, a clean exit included. The default, as in PM2.
    #[default]
    Always,
    /// After a failure: a code other than 0 and the stop exit codes, a signal, or an exit nobody observed.
    OnFailure,
    /// Never.
    Never,
}

/// The delay before the successor of a run that failed early: `initial`, doubling to `max`. Text form `100ms..15s`, or the
/// initial delay alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Backoff {
    /// Before the first successor.
    pub initial: Span,
    /// The longest.
    pub max: Span,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { initial: Span::millis(100), max: Span::millis(15_000) }
    }
}

impl FromStr for Backoff {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (initial, max) = match text.split_once("..") {
            Some((initial, max)) => (initial.parse()?, max.parse()?),
            None => {
                let initial: Span = text.parse()?;
                (initial, initial.max(Self::default().max))
            }
        };
        if initial > max {
            return Err(format!("'{text}' starts above its own end"));
        }
        Ok(Self { initial, max })
    }
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.initial, self.max)
    }
}

/// What an errored instance does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErroredRetry {
    /// One attempt each time this much has passed. The default, with 60 s.
    Every(Span),
    /// Nothing, until somebody orders it.
    Never,
}

impl Default for ErroredRetry {
    fn default() -> Self {
        Self::Every(Span::millis(60_000))
    }
}

impl FromStr for ErroredRetry {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            Ok(Self::Never)
        } else {
            text.parse().map(Self::Every).map_err(|e| format!("{e}, or 'never'"))
        }
    }
}

impl fmt::Display for ErroredRetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(span) => span.fmt(f),
            Self::Never => f.write_str("never"),
        }
    }
}

/// Whom a stop reaches, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KillMode {
    /// The main process first; once it has exited, what it left behind gets the same signal and a short while.
    #[default]
    Mixed,
    /// Every process of the run at once.
    Cgroup,
    /// The main process only. What it leaves behind lives on, and still blocks a successor.
    Process,
}

/// A share of processor time, in thousandths of one CPU. Written `1.5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpus(pub u32);

impl FromStr for Cpus {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<f64>()
            .ok()
            .filter(|v| (0.001..=4096.0).contains(v))
            .map(|v| Self((v * 1000.0).round() as u32))
            .ok_or_else(|| format!("'{text}' is not a number of CPUs; write 0.5, 2 or another number above 0"))
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 1000.0)
    }
}

/// A resource limit of each process (setrlimit(2)). `None` is unlimited. Text form `1024`, `1024:4096`, `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rlimit {
    /// What is enforced.
    pub soft: Option<u64>,
    /// How far the process may raise it.
    pub hard: Option<u64>,
}

impl FromStr for Rlimit {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let one = |s: &str| match s {
            "unlimited" | "infinity" => Ok(None),
            s => s
                .parse::<u64>()
                .map(Some)
                .or_else(|_| s.parse::<ByteSize>().map(|b| Some(b.0)))
                .map_err(|_| format!("'{s}' is not a limit; write a number or 'unlimited'")),
        };
        let (soft, hard) = text.split_once(':').unwrap_or((text, text));
        let limit = Self { soft: one(soft)?, hard: one(hard)? };
        match (limit.soft, limit.hard) {
            (Some(soft), Some(hard)) if soft > hard => Err(format!("'{text}': the soft limit is above the hard one")),
            (None, Some(_)) => Err(format!("'{text}': the soft limit is above the hard one")),
            _ => Ok(limit),
        }
    }
}

impl fmt::Display for Rlimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |v: Option<u64>| v.map_or_else(|| "unlimited".to_owned(), |v| v.to_string());
        write!(f, "{}:{}", one(self.soft), one(self.hard))
    }
}

/// Types whose one text form is `Display` and `FromStr`, in files and on the wire too. Numbers are read as their text.
macro_rules! serde_as_text {
    ($($type:ty),+) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                d.deserialize_any($crate::model::policy::TextOrNumber)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(super) use serde_as_text;
serde_as_text!(Backoff, ErroredRetry, Cpus, Rlimit);

/// What is written as text or as a number.
pub(super) struct TextOrNumber;

impl de::Visitor<'_> for TextOrNumber {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a number")
    }
    fn visit_str<E: de::Error>(self, v: &str) -> Result<String, E> {
        Ok(v.to_owned())
    }
    fn visit_u64<E: de::Error>(self, v: u64) -> Result<String, E> {
        Ok(v.to_string())
    }
    fn visit_i64<E: de::Error>(self, v: i64) -> Result<String, E> {
        Ok(v.to_string())
    }
    fn visit_f64<E: de::Error>(self, v: f64) -> Result<String, E> {
        Ok(v.to_string())
    }
}
