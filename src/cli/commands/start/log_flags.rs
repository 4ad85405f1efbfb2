//! The flags of `opm start` about an app's logs. PM2's spellings are understood and not shown.

use crate::config::appfile::dayjs;
use crate::config::asked::logs::{AskedLogs, CombinedFile};
use crate::config::asked::word;
use crate::model::{ByteSize, Cap, LogCompress, LogDrop, LogMode, LogSink, RawText, Span};
use std::ffi::OsString;

/// Where output goes and how much of it is kept. In files the same fields have underscores.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logs")]
pub(super) struct LogFlags {
    /// Where its output goes: files, journald, none
    #[arg(long, value_name = "SINK", value_parser = word::<LogSink>)]
    log_sink: Option<LogSink>,
    /// What log files hold: raw (as it was written), time (before each line), json
    #[arg(long, value_name = "MODE", value_parser = word::<LogMode>, alias = "log-type")]
    log_mode: Option<LogMode>,
    /// How the time before a line is written, as strftime(3) has it: '%F %T'
    #[arg(long, value_name = "FORMAT", conflicts_with = "log_date_format")]
    log_format: Option<String>,
    /// The file for standard output; 'none' for nowhere
    #[arg(short = 'o', long, value_name = "FILE", alias = "output")]
    out_file: Option<OsString>,
    /// The file for standard error; 'none' for nowhere
    #[arg(short = 'e', long, value_name = "FILE", aliases = ["err-file", "error"])]
    error_file: Option<OsString>,
    /// One more file, for the lines of both
    #[arg(short = 'l', long, value_name = "FILE", alias = "log")]
    log_file: Option<OsString>,
    /// All instances write into the same files
    #[arg(long)]
    merge_logs: bool,
    /// A log file this large is set aside and packed, and another begun; or 'none' [default: 10M]
    #[arg(long, value_name = "SIZE")]
    log_max_size: Option<Cap<ByteSize>>,
    /// So is one begun this long ago, and what was set aside this long ago goes; or 'none' [default: 90d]
    #[arg(long, value_name = "TIME")]
    log_max_age: Option<Cap<Span>>,
    /// So many of each log that were set aside are kept; or 'none' for all [default: 10]
    #[arg(long, value_name = "N")]
    log_keep: Option<Cap<u32>>,
    /// All its log files together; the oldest go first; or 'none' [default: 500M]
    #[arg(long, value_name = "SIZE")]
    log_total: Option<Cap<ByteSize>>,
    /// How what was set aside is packed: zstd, gzip, none
    #[arg(long, value_name = "HOW", value_parser = word::<LogCompress>)]
    log_compress: Option<LogCompress>,
    /// What becomes of output that a full disk cannot take: when-full (drop and count it), never (the app waits)
    #[arg(long, value_name = "WHEN", value_parser = word::<LogDrop>)]
    log_drop: Option<LogDrop>,
    /// The same as --log-mode time, for PM2 users
    #[arg(long, hide = true)]
    time: bool,
    /// The same as --log-format, in the letters of PM2
    #[arg(long, hide = true, value_parser = dayjs::strftime)]
    log_date_format: Option<String>,
    /// The same as --log-sink none, for PM2 users
    #[arg(long, hide = true)]
    disable_logs: bool,
}

impl LogFlags {
    pub(super) fn into_asked(self) -> AskedLogs {
        AskedLogs {
            sink: self.log_sink,
            mode: self.log_mode,
            format: self.log_format.or(self.log_date_format),
            out_file: self.out_file.map(RawText::from),
            error_file: self.error_file.map(RawText::from),
            log_file: self.log_file.map(|file| CombinedFile::At(file.into())),
            merge: self.merge_logs,
            max_size: self.log_max_size,
            max_age: self.log_max_age,
            keep: self.log_keep,
            total: self.log_total,
            compress: self.log_compress,
            drop: self.log_drop,
            time: self.time,
            disable: self.disable_logs,
        }
    }
}
