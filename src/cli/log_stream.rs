//! The client's side of a stream of log lines: lines as they come, and how to ask for the rest where a stream broke.
//!
//! Owns the place where the reader stands. It must not print. What a reader would get wrong: a line here is borrowed from the
//! answer that it stands in, wherever that holds it as it is; `LogLine` is the same with owned text.

use super::client::{Ask, encoded};
use super::exit::{Exit, Failure};
use crate::api::{LogLine, LogQuery, LogResume, LogStart, LogStream};
use crate::model::RawText;
use serde::de::value::MapAccessDeserializer;
use serde::{Deserialize, Deserializer, de};
use std::borrow::Cow;
use std::fmt;

/// A line, or word of lines that are missing. The fields are those of [`LogLine`].
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    pub(super) instance: u32,
    pub(super) stream: LogStream,
    /// RFC 3339, in which nothing is ever escaped; so this can be lent, too.
    #[serde(borrow, default)]
    pub(super) time: Option<&'a str>,
    #[serde(default)]
    pub(super) run: Option<u64>,
    #[serde(borrow)]
    pub(super) line: Text<'a>,
    #[serde(default = "yes")]
    pub(super) complete: bool,
    #[serde(default)]
    pub(super) missing: Option<u64>,
    #[serde(borrow)]
    pub(super) log: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) at: Cow<'a, str>,
}

fn yes() -> bool {
    true
}

/// Bytes that are usually UTF-8.
#[derive(Debug, Clone)]
pub(super) struct Text<'a>(pub(super) Cow<'a, [u8]>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Cow<'de, [u8]>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, or {\"hex\": \"...\"}")
            }
            fn visit_borrowed_str<E: de::Error>(self, v: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(v.as_bytes()))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(v.as_bytes().to_vec()))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let text = RawText::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Cow::Owned(text.as_bytes().to_vec()))
            }
        }
        d.deserialize_any(Visitor).map(Text)
    }
}

impl<'a> From<&'a LogLine> for Line<'a> {
    fn from(line: &'a LogLine) -> Self {
        Self {
            name: Cow::Borrowed(&line.name),
            instance: line.instance,
            stream: line.stream,
            time: line.time.as_deref(),
            run: line.run,
            line: Text(Cow::Borrowed(line.line.as_bytes())),
            complete: line.complete,
            missing: line.missing,
            log: Cow::Borrowed(&line.log),
            at: Cow::Borrowed(&line.at),
        }
    }
}

/// What was asked, and how far the answer has come.
pub(super) struct Position {
    resume: LogResume,
    begun: bool,
}

impl Position {
    pub(super) fn new(query: LogQuery) -> Self {
        Self { resume: LogResume { query, ..LogResume::default() }, begun: false }
    }

    /// What asks for all of it; or, once something of it came, for the rest.
    pub(super) fn ask(&self) -> Result<Ask, Failure> {
        if !self.begun {
            return Ok(Ask::Get(path(&self.resume.query)));
        }
        let body = serde_json::to_vec(&self.resume)
            .map_err(|e| Failure::new(Exit::Failed, format!("failed to write the request: {e}")))?;
        Ok(Ask::Post("/v1/logs".to_owned(), body.into()))
    }

    /// Logs begin, or join.
    pub(super) fn begin(&mut self, start: LogStart) {
        self.begun = true;
        self.resume.from.extend(start.from);
    }

    /// Such a line came.
    pub(super) fn advance(&mut self, line: &Line<'_>) {
        match self.resume.from.get_mut(&*line.log) {
            Some(at) => line.at.as_ref().clone_into(at),
            None => {
                self.resume.from.insert(line.log.to_string(), line.at.to_string());
            }
        }
    }
}

fn path(query: &LogQuery) -> String {
    let LogQuery { select, lines, follow, stream, since, until, grep, invert, run, previous } = query;
    let mut path = format!("/v1/logs?select={}&follow={follow}", encoded(select));
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", encoded(&value)));
        }
    };
    add("lines", lines.map(|n| n.to_string()));
    add(
        "stream",
        stream.map(|stream| {
            match stream {
                LogStream::Out => "out",
                LogStream::Err => "err",
            }
            .to_owned()
        }),
    );
    add("since", since.clone());
    add("until", until.clone());
    add("grep", grep.clone());
    add("invert", invert.then(|| "true".to_owned()));
    add("run", run.map(|n| n.to_string()));
    add("previous", previous.then(|| "true".to_owned()));
    path
}
