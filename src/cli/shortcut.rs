//! Command lines that need less than the whole parser: what keeper and daemon are started with is known by heart, and so is what scripts ask
//! most often; for the orders that scripts give, the parser is told of that one command.
//!
//! Owns no meaning: what stands here is what clap makes of the same words, and a test holds the two together. Anything else, even
//! if it means the same, and all that is wrong, is the whole parser's. What a reader would get wrong: this is not about speed alone. To
//! describe all commands takes some 200 KiB of heap and 60 KiB of stack, and keeper and daemon would never give them back.

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
    let command = match words(args).as_deref() {
        Some(["ping"]) => Command::Ping(ping::Args::default()),
        Some(["daemon", rest @ ..]) => Command::Daemon(daemon::Args::by_heart(rest)?),
        _ => alone(args.get(1)?.to_str()?, args.get(2..)?)?,
    };
    Some(Cli { system: false, color: Color::Auto, command })
}

/// An order, parsed as if there were no other command and no global flag.
fn alone(name: &str, rest: &[OsString]) -> Option<Command> {
    Some(match name {
        "start" => Command::Start(parsed(rest)?),
        "stop" => Command::Stop(parsed(rest)?),
        "restart" => Command::Restart(parsed(rest)?),
        "delete" => Command::Delete(parsed(rest)?),
        "ls" => Command::Ls(parsed(rest)?),
        _ => return None,
    })
}

fn parsed<A: clap::Args>(rest: &[OsString]) -> Option<A> {
    let command = A::augment_args(clap::Command::new("opm").no_binary_name(true));
    A::from_arg_matches(&command.try_get_matches_from(rest).ok()?).ok()
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
            ["ping --json", "daemon", "daemon run --resume x", "daemon run --watchdog 5s", "--system ping", "info x"]
        {
            assert!(read(&line(text)).is_none(), "{text}");
        }
    }

    #[test]
    fn an_order_alone_is_what_it_is_among_all() {
        for text in [
            "start app.js --name web -i 4 --env A=B -- --port 80",
            "start web api",
            "start sleep\\ 1000 --memory-max 100M --max-restarts 3 --json",
            "stop web /x/ --json",
            "restart all --update-env",
            "delete web",
            "ls",
            "ls --json web",
        ] {
            let whole = Cli::try_parse_from(line(text)).ok();
            assert!(whole.is_some(), "{text}");
            assert_eq!(format!("{:?}", read(&line(text))), format!("{whole:?}"), "{text}");
        }
        // Mistakes, help and global flags are the whole parser's, which knows what to say.
        for text in [
            "stop",
            "stop --help",
            "stop web --system",
            "start --nmae x y",
            "start a --color never",
            "list",
            "ls --version",
        ] {
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
