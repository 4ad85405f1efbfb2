//! From the core's answers to the wire's: outcomes, refusals, and problems with their HTTP status.

use crate::api::{DifferenceBody, OrderAnswer, OutcomeBody, Problem, ProblemKind, Word};
use crate::model::order::Difference;
use crate::model::{Answer, Outcome, Refusal, Verdict};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// A problem on its way to the client.
pub(super) struct Trouble(Problem);

impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let status = match self.0.kind {
            ProblemKind::BadRequest => StatusCode::BAD_REQUEST,
            ProblemKind::Forbidden => StatusCode::FORBIDDEN,
            ProblemKind::NoSuchApp => StatusCode::NOT_FOUND,
            ProblemKind::NameTaken | ProblemKind::Refused => StatusCode::CONFLICT,
            ProblemKind::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            ProblemKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, Json(self.0)).into_response()
    }
}

pub(super) fn problem(kind: ProblemKind, message: impl Into<String>, hint: Option<&str>) -> Problem {
    Problem { kind, message: message.into(), hint: hint.map(str::to_owned), differences: vec![] }
}

pub(super) fn internal(message: &str) -> Problem {
    problem(ProblemKind::Internal, message, None)
}

pub(super) fn forbidden() -> Trouble {
    problem(ProblemKind::Forbidden, "this opm daemon belongs to another user", None).into()
}

pub(super) fn bad_request(message: String) -> Trouble {
    problem(ProblemKind::BadRequest, message, None).into()
}

pub(super) fn no_such_route() -> Trouble {
    problem(ProblemKind::BadRequest, "no such route", Some("GET /v1/openapi.json lists them")).into()
}

/// What an order came to, in the wire's words.
pub(super) fn order(answer: Answer) -> Result<Json<OrderAnswer>, Trouble> {
    match answer {
        Ok(outcomes) => Ok(Json(OrderAnswer { outcomes: outcomes.into_iter().map(outcome).collect() })),
        Err(refusal) => Err(refused(refusal).into()),
    }
}

fn outcome(Outcome { app, name, instance, verdict, changes, saved }: Outcome) -> OutcomeBody {
    let (result, pid, message) = match verdict {
        Verdict::Started { pid } => (Word::Started, Some(pid), None),
        Verdict::Restarted { pid } => (Word::Restarted, Some(pid), None),
        Verdict::AlreadyOnline { pid } => (Word::AlreadyOnline, Some(pid), None),
        Verdict::Added => (Word::Added, None, None),
        Verdict::Finished => (Word::Finished, None, None),
        Verdict::Stopped => (Word::Stopped, None, None),
        Verdict::AlreadyStopped => (Word::AlreadyStopped, None, None),
        Verdict::Deleted => (Word::Deleted, None, None),
        Verdict::Signalled { pid, paused } => {
            let why = "it is paused: what handles this signal does so once resumed";
            (Word::Signalled, Some(pid), paused.then(|| why.to_owned()))
        }
        Verdict::Paused { pid } => (Word::Paused, Some(pid), None),
        Verdict::AlreadyPaused { pid } => (Word::AlreadyPaused, Some(pid), None),
        Verdict::Resumed { pid } => (Word::Resumed, Some(pid), None),
        Verdict::Limited { pid } => (Word::Limited, pid, None),
        Verdict::Reset => (Word::Reset, None, None),
        Verdict::Kept => (Word::Kept, None, None),
        Verdict::Failed(why) => (Word::Failed, None, Some(why)),
        Verdict::Pending { state, detail } => {
            let why = detail.map_or_else(|| state.to_string(), |d| format!("{state}: {d}"));
            (Word::Pending, None, Some(why))
        }
        Verdict::Superseded => (Word::Superseded, None, None),
    };
    let changes = changes.map(|changes| changes.to_string());
    OutcomeBody { id: app.0, name: name.to_string(), instance, result, pid, message, changes, saved }
}

fn refused(refusal: Refusal) -> Problem {
    match refusal {
        Refusal::NameTaken { name, differences } => {
            let body = |Difference { field, now, asked }| DifferenceBody { field, now, asked };
            Problem {
                kind: ProblemKind::NameTaken,
                message: format!("an app named '{name}' exists already, with another spec"),
                hint: Some(format!(
                    "'opm start ... --name {name} --replace' replaces it; 'opm restart {name}' restarts it as it is"
                )),
                differences: differences.into_iter().map(body).collect(),
            }
        }
        Refusal::NamedTwice(name) => {
            problem(ProblemKind::BadRequest, format!("the name '{name}' stands twice in this order"), None)
        }
        Refusal::Gone(what) => problem(ProblemKind::NoSuchApp, what, Some("'opm ls' shows what there is")),
        Refusal::Leaving(name) => problem(
            ProblemKind::Refused,
            format!("app '{name}' is being deleted, and something of it still lives"),
            Some("add it again when it is gone; 'opm delete' of the same name waits for that"),
        ),
        Refusal::WholeAppsOnly { name, what } => problem(
            ProblemKind::Refused,
            format!("one instance of '{name}' cannot be {what}"),
            Some("'opm stop' takes an instance (web:0); 'opm delete' and 'opm limit' take whole apps"),
        ),
        Refusal::NotSaved(why) => {
            problem(ProblemKind::Refused, format!("it could not be saved, so it was not done: {why}"), None)
        }
        Refusal::ShuttingDown => problem(ProblemKind::ShuttingDown, "the daemon is on its way out", None),
    }
}
