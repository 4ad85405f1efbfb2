//! Orders under way and lately answered: who waits for which, and what is said to a client that comes back.
//!
//! Owns the memory of keys within one life of the daemon; over its death the desired state remembers the last key of each app.
//! What the journal says of an order beyond what the core knows (who asked, which fields of a spec change) is kept here too.
//! It must not decide what an order does. What a reader would get wrong: an order is not undone when its client is gone.

use super::handle::Reply;
use crate::model::{
    Answer, AppId, AppName, AppSpec, Asked, Asker, DesiredApp, Event, InstanceId, Order, OrderId, OrderKey,
};
use std::collections::{HashMap, VecDeque};

/// How many answered orders are remembered by their key, for clients whose connection broke. The latest always is.
const REMEMBERED: usize = 256;
/// And how many outcomes all their answers have at most: what happens to thousands of apps at once, again and again, is not kept 256 times.
const OUTCOMES_MOST: usize = 16 << 10;

/// Orders under way and lately answered.
#[derive(Default)]
pub(super) struct Orders {
    waiting: HashMap<OrderId, Vec<(OrderId, Reply)>>,
    keys: HashMap<OrderKey, Known>,
    /// Oldest first, each with how many outcomes its answer has.
    answered: VecDeque<(OrderKey, usize)>,
    /// Of all answers that are remembered.
    outcomes: usize,
    key_of: HashMap<OrderId, OrderKey>,
    notes: HashMap<OrderKey, Note>,
}

/// What the journal will say of an order when it comes into force.
struct Note {
    asked: Asked,
    /// The apps that it gives another spec, and in which fields.
    changed: Vec<(AppId, AppName, Vec<String>)>,
}

/// What is known of a key.
enum Known {
    Underway(OrderId),
    Answered(Answer),
}

impl Orders {
    /// An order whose key is known is not given again: its answer is sent again, or waited for. None: it was.
    pub(super) fn already(&mut self, key: Option<&OrderKey>, order: OrderId, reply: Reply) -> Option<Reply> {
        match key.and_then(|k| self.keys.get(k)) {
            None => Some(reply),
            Some(Known::Answered(answer)) => {
                let _ = reply.send(Ok(answer.clone()));
                None
            }
            Some(Known::Underway(first)) => {
                self.waiting.entry(*first).or_default().push((order, reply));
                None
            }
        }
    }

    pub(super) fn begin(&mut self, order: OrderId, key: Option<OrderKey>, reply: Reply) {
        self.waiting.entry(order).or_default().push((order, reply));
        if let Some(key) = key {
            self.keys.insert(key.clone(), Known::Underway(order));
            self.key_of.insert(order, key);
        }
    }

    /// Remembers who asks and for what, until the order is recorded or answered.
    pub(super) fn note<'a>(
        &mut self,
        key: &OrderKey,
        by: Asker,
        request: &Order,
        apps: impl Iterator<Item = (AppId, &'a DesiredApp)>,
    ) {
        let (mut only, mut signal, mut changed) = (Vec::new(), None, Vec::new());
        match request {
            Order::Start { targets, .. }
            | Order::Stop { targets }
            | Order::Restart { targets, .. }
            | Order::Delete { targets }
            | Order::Signal { targets, .. }
            | Order::Reset { targets }
            | Order::Pause { targets }
            | Order::Resume { targets }
            | Order::Wait { targets, .. } => {
                only.extend(targets.iter().filter_map(|t| Some(InstanceId::new(t.app, t.instance?))));
                if let Order::Signal { signal: sent, .. } = request {
                    signal = Some(*sent);
                }
            }
            Order::Create { apps: asked, replace: true, .. } => {
                let asked: HashMap<_, _> = asked.iter().map(|new| (&new.spec.name, &*new.spec)).collect();
                changed.extend(apps.filter_map(|(id, app)| {
                    let fields = differing(&app.spec, asked.get(&app.spec.name)?);
                    (!fields.is_empty()).then(|| (id, app.spec.name.clone(), fields))
                }));
            }
            Order::Limit { targets, change } => {
                let meant = apps.filter(|(id, _)| targets.iter().any(|target| target.app == *id));
                changed.extend(meant.filter_map(|(id, app)| {
                    let mut asked = (*app.spec).clone();
                    let mut limits = asked.limits();
                    limits.change(change);
                    limits.put_into(&mut asked);
                    let fields = differing(&app.spec, &asked);
                    (!fields.is_empty()).then(|| (id, app.spec.name.clone(), fields))
                }));
            }
            Order::Create { .. } | Order::Restore { .. } | Order::Shutdown { .. } => {}
        }
        self.notes.insert(key.clone(), Note { asked: Asked { by, only, signal }, changed });
    }

    /// The event of an order that came into force, completed, and what else is to be recorded with it.
    pub(super) fn minutes(&mut self, event: Event) -> Vec<Event> {
        match event {
            Event::Ordered { verb, apps, key, asked } => {
                let note = key.as_ref().and_then(|key| self.notes.remove(key));
                let (asked, changed) = match note {
                    Some(Note { asked, changed }) => (Some(Box::new(asked)), changed),
                    None => (asked, Vec::new()),
                };
                let changed = changed.into_iter().map(|(app, name, fields)| Event::Changed { app, name, fields });
                std::iter::once(Event::Ordered { verb, apps, key, asked }).chain(changed).collect()
            }
            other => vec![other],
        }
    }

    pub(super) fn answer(&mut self, order: OrderId, answer: Answer) {
        for (_, reply) in self.waiting.remove(&order).unwrap_or_default() {
            let _ = reply.send(Ok(answer.clone()));
        }
        if let Some(key) = self.key_of.remove(&order) {
            self.notes.remove(&key);
            let outcomes = answer.as_ref().map_or(0, Vec::len);
            self.keys.insert(key.clone(), Known::Answered(answer));
            self.answered.push_back((key, outcomes));
            self.outcomes += outcomes;
            while self.answered.len() > REMEMBERED || self.outcomes > OUTCOMES_MOST && self.answered.len() > 1 {
                let Some((oldest, outcomes)) = self.answered.pop_front() else { break };
                self.outcomes -= outcomes;
                self.keys.remove(&oldest);
            }
        }
    }

    /// One who waited is gone. True: it was the last, and no key lets anybody come back for the answer.
    pub(super) fn abandon(&mut self, gone: OrderId) -> bool {
        for waiters in self.waiting.values_mut() {
            waiters.retain(|(who, _)| *who != gone);
        }
        let last = self.waiting.get(&gone).is_some_and(Vec::is_empty) && !self.key_of.contains_key(&gone);
        if last {
            self.waiting.remove(&gone);
        }
        last
    }
}

/// The names of the fields in which two specs differ.
fn differing(now: &AppSpec, asked: &AppSpec) -> Vec<String> {
    let fields = |spec| serde_json::to_value(spec).ok().and_then(|v| v.as_object().cloned()).unwrap_or_default();
    let (now, asked) = (fields(now), fields(asked));
    let mut names: Vec<String> =
        now.keys().chain(asked.keys()).filter(|name| now.get(*name) != asked.get(*name)).cloned().collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::{NewApp, Outcome, Verdict};
    use std::sync::Arc;
    use tokio::sync::oneshot;

    #[test]
    fn a_wait_is_given_up_with_its_last_client_and_a_keyed_order_is_not() {
        let mut orders = Orders::default();
        let reply = || oneshot::channel().0;
        orders.begin(OrderId(1), None, reply());
        assert!(orders.abandon(OrderId(1)), "nobody can come back for it");
        assert!(!orders.abandon(OrderId(1)), "once");
        orders.begin(OrderId(2), Some(OrderKey("k".into())), reply());
        assert!(!orders.abandon(OrderId(2)));
        orders.answer(OrderId(2), Ok(vec![]));
        let (again, answer) = oneshot::channel();
        assert!(orders.already(Some(&OrderKey("k".into())), OrderId(3), again).is_none());
        assert!(answer.blocking_recv().is_ok_and(|a| a == Ok(Ok(vec![]))), "the client that came back is told");
        assert!(orders.waiting.is_empty() && orders.key_of.is_empty(), "and nothing is left behind");
    }

    #[test]
    fn what_is_remembered_is_bounded_by_orders_and_by_outcomes_and_the_latest_always_is() {
        let (mut orders, mut next) = (Orders::default(), 0);
        let mut answer = |outcomes| {
            next += 1;
            let outcome = Outcome {
                app: AppId(1),
                name: "web".parse().unwrap(),
                instance: Some(0),
                verdict: Verdict::Stopped,
                changes: None,
                saved: true,
            };
            orders.begin(OrderId(next), Some(OrderKey(next.to_string())), oneshot::channel().0);
            orders.answer(OrderId(next), Ok(vec![outcome; outcomes]));
            (orders.keys.len(), orders.answered.len(), orders.outcomes)
        };
        assert_eq!((0..REMEMBERED + 9).map(|_| answer(1)).last(), Some((REMEMBERED, REMEMBERED, REMEMBERED)));
        assert_eq!(answer(OUTCOMES_MOST), (1, 1, OUTCOMES_MOST));
        assert_eq!(answer(OUTCOMES_MOST + 1), (1, 1, OUTCOMES_MOST + 1));
        assert_eq!(answer(2), (1, 1, 2));
        assert_eq!(answer(2), (2, 2, 4));
        assert!(orders.keys.contains_key(&OrderKey(next.to_string())));
    }

    #[test]
    fn the_journal_is_told_who_asked_and_which_fields_changed_and_no_values() {
        let mut orders = Orders::default();
        let mut spec = AppSpec::new("web".parse().unwrap(), "/srv/app".into(), "/srv".into());
        let app =
            DesiredApp { spec: Arc::new(spec.clone()), captured: Arc::default(), instances: vec![], last_order: None };
        spec.env.insert("TOKEN".into(), "s3cret".into());
        spec.max_restarts = 3;
        let new = NewApp { spec: Arc::new(spec), captured: Arc::default() };
        let request = Order::Create { apps: vec![new], replace: true, update_env: false };
        let (key, by) = (OrderKey("k".into()), Asker { uid: 7, ..Asker::default() });
        orders.note(&key, by.clone(), &request, [(AppId(3), &app)].into_iter());
        let ordered =
            |asked| Event::Ordered { verb: "create".into(), apps: vec![AppId(3)], key: Some(key.clone()), asked };
        let fields = vec!["env".to_owned(), "max_restarts".to_owned()];
        let changed = Event::Changed { app: AppId(3), name: "web".parse().unwrap(), fields };
        let asked = Some(Box::new(Asked { by, ..Asked::default() }));
        assert_eq!(orders.minutes(ordered(None)), [ordered(asked), changed]);
        assert_eq!(orders.minutes(ordered(None)), [ordered(None)], "once");
    }
}
