//! The only place that prints. Data goes to stdout, news and failures to stderr.
//!
//! Data is what was asked for (rows, lines, values, JSON); news is what happened (`started web ...`). So a script may read
//! stdout without sifting. What comes from outside is made harmless by the renderers before it gets here.

use super::exit::{Failure, Saying};
use super::render::{Paint, Screen};
use jiff::Timestamp;
use rustix::termios::{isatty, tcgetwinsize};
use serde::Serialize;
use std::io::{self, Write};

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(super) enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where a command speaks.
pub(super) struct Ui {
    out: Paint,
    err: Paint,
    terminal: bool,
}

/// A note by somebody who has no screen at hand: that what was asked for takes long, and why.
pub(super) fn aside(line: &str) {
    let _ = io::stderr().lock().write_all(format!("note: {}\n", super::render::printable(line)).as_bytes());
}

impl Ui {
    pub(super) fn new(color: Color) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_some_and(|v| v == "dumb");
        let paint = |terminal: bool| match color {
            Color::Auto => Paint { on: terminal && !plain },
            Color::Always => Paint { on: true },
            Color::Never => Paint { on: false },
        };
        let terminal = isatty(io::stdout());
        Self { out: paint(terminal), err: paint(isatty(io::stderr())), terminal }
    }

    /// Whether a person reads stdout.
    pub(super) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// What there is to draw on. No width where no terminal is: nothing is left out for a pipe.
    pub(super) fn screen(&self) -> Screen {
        let width = self.terminal.then(|| tcgetwinsize(io::stdout()).ok()).flatten();
        let width = width.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
        Screen { width, paint: self.out, now: Timestamp::now() }
    }

    /// How news is coloured.
    pub(super) fn news_paint(&self) -> Paint {
        self.err
    }

    /// Data: to stdout, as it is.
    pub(super) fn data(&self, data: impl AsRef<[u8]>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(data.as_ref())?;
        Ok(out.flush()?)
    }

    /// Data as JSON, for machines, with a line feed.
    pub(super) fn json<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let mut text = serde_json::to_vec_pretty(value).map_err(io::Error::other)?;
        text.push(b'\n');
        self.data(text)
    }

    /// A line of news, in one write, so that lines of several commands at once stay lines. If nobody can read it, that is no
    /// reason to fail.
    pub(super) fn news(&self, line: &str) {
        let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
    }

    /// A line of news about how things stand, rather than about what was ordered.
    pub(super) fn note(&self, line: &str) {
        self.news(&format!("{} {line}", self.err.yellow("note:")));
    }

    /// Why it did not work, and what to do about it.
    pub(super) fn failure(&self, saying: &Saying) {
        let mut text = format!("{} {}", self.err.red("error:"), super::render::printable(&saying.message));
        for difference in &saying.differences {
            let (now, asked) = (super::render::printable(&difference.now), super::render::printable(&difference.asked));
            text.push_str(&format!("\n  {}: {now} -> {asked}", difference.field));
        }
        if let Some(hint) = &saying.hint {
            text.push_str(&format!("\n{} {}", self.err.cyan("hint:"), super::render::printable(hint)));
        }
        self.news(&text);
    }
}
