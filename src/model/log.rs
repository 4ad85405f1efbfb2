//! What a user asks about an app's logs: where they go, how lines look, how much is kept.
//!
//! Owns the words and the defaults. It must not know a path or a file. What a reader would get wrong: the caps are of one log
//! (one stream of one instance, unless streams share a file), except `log_total`, which is of the app.

use super::{ByteSize, Span};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt::{self, Display};
use std::str::FromStr;

/// Where an app's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogSink {
    /// Into files.
    #[default]
    Files,
    /// To systemd-journald, one entry for each line.
    Journald,
    /// Nowhere.
    None,
}

/// What stands in a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogMode {
    /// Exactly the bytes that were written.
    #[default]
    Raw,
    /// Each line with its time before it.
    Time,
    /// One JSON object for each line.
    Json,
}

/// How files are packed that are written no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogCompress {
    /// Zstandard: `zstdcat`.
    #[default]
    Zstd,
    /// gzip: `zcat`.
    Gzip,
    /// Not at all.
    None,
}

/// What becomes of output that a full disk cannot take, once the oldest rotated files are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDrop {
    /// It is dropped and counted, and the log says so where it is missing; the app goes on.
    #[default]
    WhenFull,
    /// It waits, and so does the app.
    Never,
}

/// A limit that may be absent: `10M`, or `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cap<T> {
    /// This much.
    At(T),
    /// No limit.
    None,
}

impl<T: Copy> Cap<T> {
    /// The limit, if there is one.
    #[must_use]
    pub fn limit(self) -> Option<T> {
        match self {
            Self::At(limit) => Some(limit),
            Self::None => None,
        }
    }
}

impl<T: FromStr<Err: Display>> FromStr for Cap<T> {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        text.parse().map(Self::At).map_err(|e: T::Err| format!("{e}, or 'none'"))
    }
}

impl<T: Display> Display for Cap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(limit) => limit.fmt(f),
            Self::None => f.write_str("none"),
        }
    }
}

impl<T: Serialize> Serialize for Cap<T> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::At(limit) => limit.serialize(s),
            Self::None => s.serialize_str("none"),
        }
    }
}

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Cap<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = String;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a limit, or \"none\"")
            }
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<String, E> {
                Ok(v.to_string())
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<String, E> {
                Ok(v.to_owned())
            }
        }
        d.deserialize_any(Visitor)?.parse().map_err(de::Error::custom)
    }
}

/// How much of an app's logs is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogCaps {
    /// A file this large is set aside, and another begun.
    pub size: Cap<ByteSize>,
    /// So is one that was begun this long ago; and what was set aside this long ago goes.
    pub age: Cap<Span>,
    /// So many that were set aside are kept.
    pub keep: Cap<u32>,
    /// All files of the app together; the oldest go first.
    pub total: Cap<ByteSize>,
    /// How those set aside are packed.
    pub compress: LogCompress,
}

impl Default for LogCaps {
    /// 10 MiB a file, 10 of them, 90 days, 500 MiB an app.
    fn default() -> Self {
        Self {
            size: Cap::At(ByteSize(10 << 20)),
            age: Cap::At(Span::millis(90 * 86_400_000)),
            keep: Cap::At(10),
            total: Cap::At(ByteSize(500 << 20)),
            compress: LogCompress::Zstd,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_cap_is_written_as_it_is_read() {
        for (text, json, cap) in [("10M", "\"10M\"", Cap::At(ByteSize(10 << 20))), ("none", "\"none\"", Cap::None)] {
            assert_eq!(text.parse(), Ok(cap));
            assert_eq!(serde_json::to_string(&cap).unwrap(), json);
            assert_eq!(serde_json::from_str::<Cap<ByteSize>>(json).unwrap(), cap);
        }
        assert_eq!(serde_json::from_str::<Cap<u32>>("7").unwrap(), Cap::At(7));
        assert_eq!(serde_json::to_string(&Cap::At(7_u32)).unwrap(), "7");
        assert!("lots".parse::<Cap<ByteSize>>().unwrap_err().ends_with("or 'none'"));
    }
}
