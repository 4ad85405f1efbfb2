//! How a command ends when it does not end well: what is said, and the exit code (DESIGN.md 7.6).
//!
//! What a reader would get wrong: a closed pipe is no failure. `opm ls | head -1` got what it wanted, and ends with 0.

use crate::api::{DifferenceBody, Problem, ProblemKind};
use crate::config::{Mistake, cause};
use std::io;

/// The exit codes other than 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Exit {
    /// Refused or failed.
    Failed = 1,
    /// Wrong use.
    Usage = 2,
    /// No daemon to be reached.
    NoDaemon = 3,
    /// No such app.
    NoSuchApp = 4,
    /// Accepted, not reached in time.
    NotReached = 5,
}

/// Why a command did not end well.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something to say.
    Say(Box<Saying>),
    /// It has been said already, line by line.
    Told(Exit),
    /// Nobody reads what is printed any more.
    PipeClosed,
}

/// What is said of a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Saying {
    pub(super) exit: Exit,
    pub(super) message: String,
    pub(super) differences: Vec<DifferenceBody>,
    pub(super) hint: Option<String>,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self::Say(Box::new(Saying { exit, message: message.into(), differences: Vec::new(), hint: None }))
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        match self {
            Self::Say(mut saying) => {
                saying.hint = Some(hint.into());
                Self::Say(saying)
            }
            other @ (Self::Told(_) | Self::PipeClosed) => other,
        }
    }

    /// The same, with more to the message.
    pub(super) fn and(self, more: &str) -> Self {
        match self {
            Self::Say(mut saying) => {
                saying.message = format!("{}, {more}", saying.message);
                Self::Say(saying)
            }
            other @ (Self::Told(_) | Self::PipeClosed) => other,
        }
    }

    pub(super) fn has_hint(&self) -> bool {
        matches!(self, Self::Say(saying) if saying.hint.is_some())
    }

    /// Whether the failure is that no daemon is to be reached.
    pub(super) fn is_no_daemon(&self) -> bool {
        matches!(self, Self::Say(saying) if saying.exit == Exit::NoDaemon)
    }

    /// Whether the failure is that nothing matched the selector.
    pub(super) fn is_no_such_app(&self) -> bool {
        matches!(self, Self::Say(saying) if saying.exit == Exit::NoSuchApp)
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        let exit = match problem.kind {
            ProblemKind::BadRequest => Exit::Usage,
            ProblemKind::NoSuchApp => Exit::NoSuchApp,
            ProblemKind::Forbidden
            | ProblemKind::NameTaken
            | ProblemKind::Refused
            | ProblemKind::ShuttingDown
            | ProblemKind::Internal => Exit::Failed,
        };
        let usual = match problem.kind {
            ProblemKind::NameTaken => Some("--replace gives the app its new spec; --name makes another app".to_owned()),
            ProblemKind::BadRequest
            | ProblemKind::NoSuchApp
            | ProblemKind::Forbidden
            | ProblemKind::Refused
            | ProblemKind::ShuttingDown
            | ProblemKind::Internal => None,
        };
        let Problem { kind: _, message, hint, differences } = problem;
        Self::Say(Box::new(Saying { exit, message, differences, hint: hint.or(usual) }))
    }
}

impl From<Mistake> for Failure {
    fn from(mistake: Mistake) -> Self {
        let failure = Self::new(Exit::Failed, mistake.message);
        match mistake.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Writing to stdout failed.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::PipeClosed
        } else {
            Self::new(Exit::Failed, format!("failed to write to stdout: {}", cause(&error)))
        }
    }
}
