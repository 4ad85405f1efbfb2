//! Orders under way and lately answered: who waits for which, and what is said to a client that comes back.
//!
//! Owns the memory of keys within one life of the daemon; over its death the desired state remembers the last key of each app.
//! It must not decide what an order does. What a reader would get wrong: an order is not undone when its client is gone.

use super::handle::Reply;
use crate::model::{Answer, OrderId, OrderKey};
use std::collections::{HashMap, VecDeque};

/// How many answered orders are remembered by their key, for clients whose connection broke.
const REMEMBERED: usize = 256;

/// Orders under way and lately answered.
#[derive(Default)]
pub(super) struct Orders {
    waiting: HashMap<OrderId, Vec<(OrderId, Reply)>>,
    keys: HashMap<OrderKey, Known>,
    answered: VecDeque<OrderKey>,
    key_of: HashMap<OrderId, OrderKey>,
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

    pub(super) fn answer(&mut self, order: OrderId, answer: Answer) {
        for (_, reply) in self.waiting.remove(&order).unwrap_or_default() {
            let _ = reply.send(Ok(answer.clone()));
        }
        if let Some(key) = self.key_of.remove(&order) {
            self.keys.insert(key.clone(), Known::Answered(answer));
            self.answered.push_back(key);
            if self.answered.len() > REMEMBERED
                && let Some(oldest) = self.answered.pop_front()
            {
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

#[cfg(test)]
mod tests {
    use super::*;
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
}
