//! What is asked about an app's logs, by flags or in a file, and which wishes do not go together.
//!
//! Owns the meaning of what people write: PM2's words among it, relative paths, `NULL` for nowhere. It must not look at a disk:
//! log files are made by the first byte. What a reader would get wrong: [`check`] is asked by the daemon as well, of every spec
//! that reaches it, since not everybody who speaks to it went through here.

use super::super::command::absolute;
use super::super::{Mistake, log_format};
use super::set;
use crate::model::{AppName, AppSpec, ByteSize, Cap, LogCompress, LogDrop, LogMode, LogSink, RawText, Span};
use std::path::Path;

/// Where nothing is kept.
const NOWHERE: &str = "/dev/null";
/// A smaller file would be set aside for every few lines.
const SMALLEST: ByteSize = ByteSize(4 << 10);
/// A bare number is milliseconds, and whoever writes `7` means days.
const SHORTEST: Span = Span::millis(60_000);

/// What is asked about logs. Absent means "the default".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of AppSpec, documented there")]
pub struct AskedLogs {
    pub sink: Option<LogSink>,
    pub mode: Option<LogMode>,
    pub format: Option<String>,
    pub out_file: Option<RawText>,
    pub error_file: Option<RawText>,
    pub log_file: Option<CombinedFile>,
    pub merge: bool,
    pub max_size: Option<Cap<ByteSize>>,
    pub max_age: Option<Cap<Span>>,
    pub keep: Option<Cap<u32>>,
    pub total: Option<Cap<ByteSize>>,
    pub compress: Option<LogCompress>,
    pub drop: Option<LogDrop>,
    /// PM2's `time`: lines are stamped, unless they are to be JSON.
    pub time: bool,
    /// PM2's `disable_logs`, which wins over everything that is said of files.
    pub disable: bool,
}

/// The file that gets the lines of both streams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CombinedFile {
    /// PM2's `log_file: true`: one in opm's own folder.
    Own,
    /// This one.
    At(RawText),
}

impl AskedLogs {
    /// Puts it into the spec, whose name and working directory are known by now.
    pub(super) fn apply(self, spec: &mut AppSpec) -> Result<(), Mistake> {
        if self.disable {
            spec.log_sink = LogSink::None;
            return match self.sink {
                None | Some(LogSink::None) => Ok(()),
                Some(LogSink::Files | LogSink::Journald) => {
                    Err(Mistake::new("logs are both disabled and sent somewhere").hint("keep one of the two"))
                }
            };
        }
        let file = |asked: Option<RawText>, field| asked.map(|path| place(&path, &spec.cwd, field)).transpose();
        let (out, err) = (file(self.out_file, "out_file")?, file(self.error_file, "error_file")?);
        let both = match self.log_file {
            None => None,
            // A bare name is one in opm's own folder, wherever that is.
            Some(CombinedFile::Own) => Some(own(&spec.name)),
            Some(CombinedFile::At(path)) => file(Some(path), "log_file")?,
        };
        (spec.out_file, spec.error_file, spec.log_file) = (out, err, both);
        spec.merge_logs = self.merge;
        let stamped = self.time || self.format.is_some();
        if self.time && self.mode == Some(LogMode::Raw) {
            return Err(Mistake::new("lines are to have their time, and to be as they were written")
                .hint("keep one of 'time' and log_mode raw"));
        }
        set(&mut spec.log_mode, self.mode.or(stamped.then_some(LogMode::Time)));
        spec.log_format = self.format;
        set(&mut spec.log_sink, self.sink);
        set(&mut spec.log_max_size, self.max_size);
        set(&mut spec.log_max_age, self.max_age);
        set(&mut spec.log_keep, self.keep);
        set(&mut spec.log_total, self.total);
        set(&mut spec.log_compress, self.compress);
        set(&mut spec.log_drop, self.drop);
        check(spec)
    }
}

/// `-all`, because that is no name of a stream: so no app's file can be another's.
fn own(name: &AppName) -> RawText {
    format!("{name}-all.log").into()
}

/// The file that a word means: absolute, or nowhere.
fn place(asked: &RawText, cwd: &RawText, field: &str) -> Result<RawText, Mistake> {
    match asked.as_bytes() {
        b"" => return Err(Mistake::new(format!("{field} names no file"))),
        b"NULL" | b"null" | b"none" | b"/dev/null" => return Ok(NOWHERE.into()),
        [b'~', ..] => {
            return Err(Mistake::new(format!("{field}: '{asked}' begins with '~', which only shells understand"))
                .hint("write the whole path"));
        }
        [.., b'/'] => return Err(Mistake::new(format!("{field}: '{asked}' is a folder")).hint("name a file in it")),
        _ => {}
    }
    let file = absolute(Path::new(cwd.as_os_str()), Path::new(asked.as_os_str()));
    Ok(file.into_os_string().into())
}

/// Whether what a spec says of logs can be meant.
///
/// # Errors
/// It cannot, and what to write instead.
pub fn check(spec: &AppSpec) -> Result<(), Mistake> {
    let files = [("out_file", &spec.out_file), ("error_file", &spec.error_file), ("log_file", &spec.log_file)];
    let elsewhere = match spec.log_sink {
        LogSink::Files => None,
        LogSink::Journald => Some("journald"),
        LogSink::None => Some("none"),
    };
    if let Some(sink) = elsewhere {
        // Limits are no contradiction: they hold for the files that there are.
        let of_files = [
            ("merge_logs", spec.merge_logs),
            ("log_mode", spec.log_mode != LogMode::Raw),
            ("log_format", spec.log_format.is_some()),
        ];
        let named = files.iter().map(|(field, file)| (*field, file.is_some()));
        if let Some((field, _)) = named.chain(of_files).find(|(_, said)| *said) {
            return Err(Mistake::new(format!("{field} is about files, and log_sink is {sink}"))
                .hint("keep one of the two; log_sink 'files' is the default"));
        }
    }
    for (field, file) in files {
        let Some(file) = file else { continue };
        let path = Path::new(file.as_os_str());
        let is_name = path.components().count() == 1 && !path.has_root();
        if path.file_name().is_none() || !(path.is_absolute() || is_name) || file.as_bytes().contains(&0) {
            return Err(Mistake::new(format!("{field}: '{file}' is not the absolute path of a file")));
        }
    }
    if spec.log_format.is_some() && spec.log_mode == LogMode::Raw {
        return Err(Mistake::new("log_format is about lines with their time, and log_mode is raw")
            .hint("log_mode 'time' puts it before each line; log_mode 'json' into each object"));
    }
    if let Some(format) = &spec.log_format {
        log_format::check(format)?;
    }
    caps(spec)
}

fn caps(spec: &AppSpec) -> Result<(), Mistake> {
    if let Some(size) = spec.log_max_size.limit()
        && size < SMALLEST
    {
        return Err(Mistake::new(format!("log_max_size {size} is less than {SMALLEST}"))
            .hint("'none' sets no limit; a bare number is bytes"));
    }
    if let Some(age) = spec.log_max_age.limit()
        && age < SHORTEST
    {
        return Err(Mistake::new(format!("log_max_age {age} is less than {SHORTEST}"))
            .hint("'none' sets no limit; a bare number is milliseconds, so write 7d"));
    }
    if let (Some(total), Some(size)) = (spec.log_total.limit(), spec.log_max_size.limit())
        && total < size
    {
        return Err(Mistake::new(format!("log_total {total} is less than log_max_size {size}"))
            .hint("only files that were set aside can go, and one is once it has log_max_size; give both"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
