//! How everybody else in the daemon asks the event loop: one mailbox, and answers that come back when it has happened.
//!
//! Owns the words between the server's tasks and threads and the loop. It must not decide. What a reader would get wrong: an
//! order goes on when its client is gone; only waiting for the reply ends.

use super::logs::pump::LastBytes;
use super::store::StoreEvent;
use crate::api::{Problem, ProblemKind};
use crate::kernel::plan::Program;
use crate::model::{Answer, Asker, EnvMap, LimitChange, NewApp, OrderId, OrderKey, RunId, Signal};
use crate::supervise::Spawn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// What is asked, with selectors not resolved yet: what they mean is decided by the loop, in the same step as the order.
pub(super) enum Ask {
    /// Add apps, all or none.
    Create { apps: Vec<NewApp>, replace: bool, update_env: bool },
    /// An order about apps that exist.
    Targets { verb: Verb, select: Vec<String> },
    /// Converge on the dump.
    Restore { apps: Vec<(NewApp, crate::model::Desired)> },
    /// End the daemon.
    Shutdown { keep_apps: bool },
}

/// What is to be done with the targets.
pub(super) enum Verb {
    Start { captured: Option<Arc<EnvMap>>, leave_running: bool },
    Stop,
    Restart(Option<Arc<EnvMap>>),
    Delete,
    Signal(Signal),
    Pause,
    Resume,
    Limit(Box<LimitChange>),
    Reset,
    Wait(crate::model::Desired),
}

/// Whoever waits for the answer to an order.
pub(super) type Reply = oneshot::Sender<Result<Answer, Problem>>;
/// A question that is answered from what the loop knows, at once.
pub(super) type Question = Box<dyn FnOnce(&super::event_loop::View<'_>) + Send>;

/// One letter to the loop.
pub(super) enum Mail {
    /// Somebody orders something.
    Order { order: OrderId, key: Option<OrderKey>, by: Asker, ask: Ask, reply: Reply },
    /// The client of that order is gone.
    Abandoned(OrderId),
    /// The installed program is to take over; the order is called that.
    HandOver { key: OrderKey, by: Asker },
    /// Somebody wants to know something.
    Question(Question),
    /// The store has done something.
    Store(StoreEvent),
    /// The log pump has something to complain of, or no longer has.
    Trouble { about: &'static str, message: Option<String> },
    /// A run that lives is under the limits that were asked for, or not under all of them. None: it is gone.
    Limited { run: RunId, turn: u64, result: Option<Result<(), String>> },
    /// The pipes of that run are drained into its files; this is the last that it wrote to standard error.
    Drained(RunId, LastBytes),
    /// The program of a run that had to wait for files or user databases is ready, or cannot be.
    Programmed(Box<Spawn>, Result<Box<Program>, String>),
}

/// The way to the loop.
#[derive(Clone)]
pub(super) struct Handle {
    mailbox: mpsc::UnboundedSender<Mail>,
    next: Arc<AtomicU64>,
}

/// Tells the loop when whoever waited for an order is gone.
struct Waiting<'a>(&'a Handle, OrderId);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send(Mail::Abandoned(self.1));
    }
}

impl Handle {
    pub(super) fn new(mailbox: mpsc::UnboundedSender<Mail>) -> Self {
        Self { mailbox, next: Arc::new(AtomicU64::new(1)) }
    }

    /// Sends a letter. It is dropped if the loop has ended, and with it whatever it would have answered on.
    pub(super) fn send(&self, mail: Mail) {
        let _ = self.mailbox.send(mail);
    }

    pub(super) fn next_order(&self) -> OrderId {
        OrderId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Orders something, and waits until it has happened.
    pub(super) async fn order(&self, key: Option<OrderKey>, by: Asker, ask: Ask) -> Result<Answer, Problem> {
        let order = self.next_order();
        let (reply, answer) = oneshot::channel();
        self.send(Mail::Order { order, key, by, ask, reply });
        let waiting = Waiting(self, order);
        let answer = answer.await.unwrap_or_else(|_| Err(ended()));
        // Answered: nobody has to be told.
        std::mem::forget(waiting);
        answer
    }

    /// Asks something, answered from what the loop knows.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&super::event_loop::View<'_>) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let (reply, answer) = oneshot::channel();
        self.send(Mail::Question(Box::new(move |view| {
            let _ = reply.send(question(view));
        })));
        answer.await.map_err(|_| ended())
    }
}

fn ended() -> Problem {
    Problem {
        kind: ProblemKind::ShuttingDown,
        message: "the daemon is on its way out".to_owned(),
        hint: None,
        differences: vec![],
    }
}
