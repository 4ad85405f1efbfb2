//! From what is asked to orders of the core: selectors resolved, specs held against what this machine can do.
//!
//! It must not carry out anything. What a reader would get wrong: what a selector means is decided in the same step as the order is
//! given, so nothing can come between.

use super::deletions::Again;
use super::event_loop::EventLoop;
use super::handle::{Ask, Reply, Verb};
use super::resolve;
use crate::api::{Problem, ProblemKind};
use crate::kernel::clock;
use crate::model::{Asker, LimitChange, Order, OrderId, OrderKey, Target};
use crate::supervise::Input;

impl EventLoop {
    pub(super) fn order(&mut self, order: OrderId, key: Option<OrderKey>, by: Asker, ask: Ask, reply: Reply) {
        let Some(reply) = self.orders.already(key.as_ref(), order, reply) else { return };
        let deletes = matches!(ask, Ask::Targets { verb: Verb::Delete, .. });
        let again = key.as_ref().filter(|_| deletes).and_then(|key| self.deletions.again(key, &self.core));
        let request = match again {
            Some(Again::Done(answer)) => return drop(reply.send(Ok(answer))),
            Some(Again::Rest(targets)) => Ok(Order::Delete { targets }),
            None => self.understand(ask),
        };
        match request {
            Ok(request) => {
                // One without a name gets one, so that the journal can say whose it was.
                let key = key.or_else(|| Some(OrderKey(format!("unnamed-{:x}-{}", clock::now().0, order.0))));
                // A wait changes nothing, so it is simply given again; kept by its key it would never be given up.
                let key = key.filter(|_| !matches!(request, Order::Wait { .. }));
                // It may have been put off for longer than its client would wait. The order stands; the wait does not.
                let gone = reply.is_closed();
                if let Some(key) = &key {
                    self.orders.note(key, by, &request, self.core.apps());
                }
                self.orders.begin(order, key.clone(), reply);
                self.tell(Input::Ordered { order, key, request });
                if gone && self.orders.abandon(order) {
                    self.tell(Input::Abandoned { order });
                }
            }
            Err(problem) => drop(reply.send(Err(problem))),
        }
    }

    /// Whether this machine can enforce what apps are to be limited to.
    fn check_limits(&self, targets: &[Target], change: &LimitChange) -> Result<(), Problem> {
        let meant = self.core.apps().filter(|(id, _)| targets.iter().any(|target| target.app == *id));
        for (_, app) in meant {
            let mut limits = app.spec.limits();
            limits.change(change);
            self.hands.check_limits(&limits).map_err(|e| Problem {
                kind: ProblemKind::Refused,
                message: format!("app '{}': {}", app.spec.name, e.why),
                hint: e.mend,
                differences: vec![],
            })?;
        }
        Ok(())
    }

    /// From what was asked to an order about apps that exist, checked against what this machine can do.
    fn understand(&self, ask: Ask) -> Result<Order, Problem> {
        let refused = |message: String, hint: Option<String>| Problem {
            kind: ProblemKind::Refused,
            message,
            hint,
            differences: vec![],
        };
        Ok(match ask {
            Ask::Create { apps, replace, update_env } => {
                for app in &apps {
                    self.hands
                        .check(&app.spec)
                        .map_err(|e| refused(format!("app '{}': {}", app.spec.name, e.why), e.mend))?;
                }
                self.hands.check_room(&self.core, apps.iter()).map_err(|e| refused(e.0, Some(e.1)))?;
                Order::Create { apps, replace, update_env }
            }
            Ask::Restore { apps } => {
                self.hands
                    .check_room(&self.core, apps.iter().map(|(app, _)| app))
                    .map_err(|e| refused(e.0, Some(e.1)))?;
                Order::Restore { apps }
            }
            Ask::Shutdown { keep_apps } => Order::Shutdown { keep_apps },
            Ask::Targets { verb, select } => {
                let known = match verb {
                    Verb::Delete => resolve::with_leaving(&self.core),
                    Verb::Start { .. }
                    | Verb::Stop
                    | Verb::Restart(_)
                    | Verb::Signal(_)
                    | Verb::Pause
                    | Verb::Resume
                    | Verb::Limit(_)
                    | Verb::Reset
                    | Verb::Wait(_) => resolve::listed(&self.core),
                };
                let targets = resolve::resolve(&known, &select)?;
                match verb {
                    Verb::Start { captured, leave_running } => Order::Start { targets, captured, leave_running },
                    Verb::Stop => Order::Stop { targets },
                    Verb::Restart(captured) => Order::Restart { targets, captured },
                    Verb::Delete => Order::Delete { targets },
                    Verb::Signal(signal) => Order::Signal { targets, signal },
                    Verb::Pause => Order::Pause { targets },
                    Verb::Resume => Order::Resume { targets },
                    Verb::Limit(change) => {
                        self.check_limits(&targets, &change)?;
                        Order::Limit { targets, change }
                    }
                    Verb::Reset => Order::Reset { targets },
                    Verb::Wait(until) => Order::Wait { targets, until },
                }
            }
        })
    }
}
