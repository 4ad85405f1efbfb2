//! `opm doctor`: what works here, what is lost, and how to mend it.
//!
//! The daemon answers for itself; without one the same looks are taken from here. Whatever is found, this works: no daemon, no
//! systemd and no permission are lines like others.

use super::super::client::{Client, NoDaemon};
use super::super::context::Context;
use super::super::exit::{Exit, Failure};
use super::super::render::doctor;
use super::super::service::health;
use crate::api::{Check, DOCTOR_VERSION, Doctor, Examination, Verdict};
use crate::config::Paths;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

const OURS: &str = env!("CARGO_PKG_VERSION");

pub(in crate::cli) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let found = match context.paths() {
        Ok(paths) => examine(&paths, context),
        Err(failure) => report(None, vec![nowhere(&failure)]),
    };
    if args.json {
        context.ui.json(&found)?;
    } else {
        context.ui.data(doctor::screen(&found, &context.ui.screen()))?;
    }
    match found.verdict {
        Verdict::Ok | Verdict::Note => Ok(()),
        Verdict::Bad => Err(Failure::Told(Exit::Failed)),
    }
}

fn examine(paths: &Paths, context: &Context<'_>) -> Doctor {
    let asked = Client::connect(paths).map(|mut client| {
        let pong = client.ping().map(|pong| pong.version);
        (pong, client.get::<Examination>("/v1/doctor"))
    });
    let serves = asked.is_ok();
    let (answer, examination) = match asked {
        Ok((Ok(version), Ok(examination))) => (Answer::Here(version), examination),
        // It does not know the question: an older one.
        Ok((Ok(version), Err(_))) => (Answer::Here(version), context.hooks.examine(paths)),
        Ok((Err(failure), _)) => (Answer::Unreachable(words(&failure), mend(&failure)), context.hooks.examine(paths)),
        Err(NoDaemon::Absent) => (Answer::Absent, context.hooks.examine(paths)),
        Err(NoDaemon::Unreachable(failure)) => {
            (Answer::Unreachable(words(&failure), mend(&failure)), context.hooks.examine(paths))
        }
    };
    let mut checks = vec![answers(&answer)];
    checks.extend(health::examine(paths, serves));
    checks.extend(examination.checks);
    let version = match answer {
        Answer::Here(version) => Some(version),
        Answer::Absent | Answer::Unreachable(..) => None,
    };
    report(version, checks)
}

/// Whether there is a daemon to ask.
enum Answer {
    /// Of that version.
    Here(String),
    Absent,
    /// Why, and what to do.
    Unreachable(String, String),
}

fn answers(answer: &Answer) -> Check {
    let id = "daemon.answers";
    match answer {
        Answer::Here(version) if version == OURS => Check::ok(id, format!("opm {version}")),
        Answer::Here(version) => Check::note(
            id,
            format!("opm {version}, and this is opm {OURS}"),
            "what only one of the two knows cannot be used",
            "opm daemon reload",
        ),
        Answer::Absent => Check::note(
            id,
            "no daemon runs",
            "nothing is supervised; what only a daemon can know is not looked at here",
            "opm daemon start (any order does it, too)",
        ),
        Answer::Unreachable(why, mend) => Check::bad(id, why.clone(), "no order gets through", mend.clone()),
    }
}

/// Not even where it would be is known.
fn nowhere(failure: &Failure) -> Check {
    Check::bad(
        "places.known",
        words(failure),
        "opm does not know where its files are",
        "set what is missing, or OPM_HOME",
    )
}

fn words(failure: &Failure) -> String {
    match failure {
        Failure::Say(saying) => saying.message.clone(),
        Failure::Told(_) | Failure::PipeClosed => "it failed".to_owned(),
    }
}

/// What the failure itself proposes, if it does.
fn mend(failure: &Failure) -> String {
    let own = match failure {
        Failure::Say(saying) => saying.hint.clone(),
        Failure::Told(_) | Failure::PipeClosed => None,
    };
    own.unwrap_or_else(|| "'opm daemon logs' may say more".to_owned())
}

fn report(daemon: Option<String>, checks: Vec<Check>) -> Doctor {
    let verdict = checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok);
    Doctor { version: DOCTOR_VERSION, opm: OURS.to_owned(), daemon, verdict, checks }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_version_is_held_against_ours() {
        assert_eq!(answers(&Answer::Here(OURS.to_owned())).verdict, Verdict::Ok);
        let older = answers(&Answer::Here("0.0.1".to_owned()));
        assert_eq!((older.verdict, older.mend.as_deref()), (Verdict::Note, Some("opm daemon reload")));
        assert_eq!(answers(&Answer::Absent).verdict, Verdict::Note, "a line, and no error");
        let refused = Failure::new(Exit::NoDaemon, "permission denied").hint("ask as root (sudo)");
        let bad = answers(&Answer::Unreachable(words(&refused), mend(&refused)));
        assert_eq!((bad.verdict, bad.mend.as_deref()), (Verdict::Bad, Some("ask as root (sudo)")));
        assert!(mend(&Failure::new(Exit::NoDaemon, "broken pipe")).contains("daemon logs"));
    }

    #[test]
    fn the_worst_line_is_the_verdict() {
        let (ok, note) = (Check::ok("a", ""), Check::note("b", "", "", ""));
        let bad = Check::bad("c", "", "", "");
        assert_eq!(report(None, vec![ok.clone(), note.clone()]).verdict, Verdict::Note);
        assert_eq!(report(None, vec![bad, note, ok]).verdict, Verdict::Bad);
    }
}
