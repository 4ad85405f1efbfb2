//! Command lines that are known by heart, and need no parser: what keeper and daemon are started with, and what scripts ask
//! most often.
//!
//! Owns no meaning: what stands here is what clap makes of the same words, and a test holds the two together. Anything else, even
//! if it means the same, is clap's. What a reader would get wrong: this is not about speed alone. To describe all commands takes
//! some 200 KiB of heap and 60 KiB of stack, and keeper and daemon would never give them back.

use super::args::{Cli, Command};
use super::commands::{daemon, ping};
use super::ui::Color;
use std::ffi::OsString;

/// What `opm --version` says.
pub(super) const VERSION: &str = concat!("opm ", env!("CARGO_PKG_VERSION"), "\n");

/// Whether the version is all that is asked for.
pub(super) fn asks_for_version(args: &[OsString]) -> bool {
    matches!(words(args).as_deref(), Some(["--version" | "-V"]))
}

/// The command line, if it is one of these.
pub(super) fn read(args: &[OsString]) -> Option<Cli> {
    let command = match words(args)?.as_slice() {
        ["ping"] => Command::Ping(ping::Args::default()),
        ["daemon", rest @ ..] => Command::Daemon(daemon::Args::by_heart(rest)?),
        _ => return None,
    };
    Some(Cli { system: false, color: Color::Auto, command })
}

fn words(args: &[OsString]) -> Option<Vec<&str>> {
    args.iter().skip(1).map(|arg| arg.to_str()).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    fn line(text: &str) -> Vec<OsString> {
        std::iter::once("opm").chain(text.split(' ')).map(OsString::from).collect()
    }

    #[test]
    fn each_is_what_clap_makes_of_it() {
        for text in ["ping", "daemon serve", "daemon run", "daemon run --detach", "daemon run --resume 7"] {
            let by_heart = read(&line(text)).unwrap();
            assert_eq!(format!("{by_heart:?}"), format!("{:?}", Cli::try_parse_from(line(text)).unwrap()), "{text}");
        }
        for text in
            ["ping --json", "daemon", "daemon run --resume x", "daemon run --watchdog 5s", "--system ping", "ls"]
        {
            assert!(read(&line(text)).is_none(), "{text}");
        }
    }

    #[test]
    fn the_version_is_the_one_that_clap_says() {
        assert_eq!(VERSION, Cli::command().render_version());
        assert!(asks_for_version(&line("--version")) && asks_for_version(&line("-V")));
        assert!(!asks_for_version(&line("--version ls")));
    }
}
