//! Where each of several logs begins, as a query asks.
//!
//! Owns the counting of lines by instance. It must not tell any. What a reader would get wrong: the last lines of an instance may
//! stand in two logs, and in between those of others; so what may hold them is gone through once, keeping places and no lines.

use super::choice::{Chosen, Who};
use super::content::Listing;
use super::position::Position;
use super::walk::Walk;
use super::wanted::Wanted;
use super::{Log, Reading, start};
use crate::api::LogQuery;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// How many lines of each instance are shown where nothing else was asked.
const LINES: u64 = 15;
/// More than this is told from the beginning.
const MANY: u64 = 1_000_000;

/// Where the last lines of each instance begin.
type Found = HashMap<(Arc<str>, u32), VecDeque<(usize, Position)>>;

impl Reading {
    /// Which runs are meant by the one before the last.
    pub(super) fn previous(&mut self, listing: &mut Listing) {
        if !self.wanted.previous {
            return;
        }
        let mut of: BTreeMap<(Arc<str>, u32), BTreeSet<u64>> = BTreeMap::new();
        for log in &self.logs {
            let Chosen { series, owners } = &log.chosen;
            for (name, instance) in owners.instances().into_iter().collect::<HashSet<_>>() {
                let own = |who: Who| (&who.name, who.instance) == (&name, instance);
                let wanted = |lane| owners.who(Some(lane)).is_some_and(own);
                of.entry((Arc::clone(&name), instance))
                    .or_default()
                    .extend(start::last_runs(series, listing, wanted).unwrap_or_default());
            }
            if owners.instances().is_empty() {
                let runs = start::last_runs(series, listing, |lane| owners.want(lane)).unwrap_or_default();
                of.entry((Arc::clone(&log.key), 0)).or_default().extend(runs);
            }
        }
        let runs = of.into_values().filter_map(|runs| runs.into_iter().nth_back(1)).collect();
        self.wanted.runs = Some(runs);
    }

    pub(super) fn begin_asked(&mut self, query: &LogQuery, listing: &mut Listing) {
        let all = query.since.is_some() || query.run.is_some() || query.previous;
        // So many are all, and are told without being counted first: counting keeps a place for each.
        let lines = query.lines.or((!all).then_some(LINES)).filter(|lines| *lines < MANY);
        let base = |wanted: &Wanted, log: &Log, listing: &mut Listing| match wanted.since {
            Some(since) => start::since(&log.chosen.series, listing, since),
            None => start::beginning(&log.chosen.series, listing),
        };
        let wanted = self.wanted.clone();
        match lines {
            None => self.place(|log| base(&wanted, log, listing)),
            Some(0) => self.place(|log| start::end(&log.chosen.series, listing)),
            Some(lines) if wanted.since.is_some() || wanted.some() => {
                self.place(|log| base(&wanted, log, listing));
                let (found, ends) = self.scan(lines);
                self.at_last(&found, &ends);
            }
            Some(lines) => self.begin_last(lines, listing),
        }
    }

    /// At the last lines of each instance. In a log of several, it is not known how far back those of one are.
    fn begin_last(&mut self, lines: u64, listing: &mut Listing) {
        let mut counts: Vec<u64> = vec![lines; self.logs.len()];
        loop {
            let mut early = HashSet::new();
            let mut i = 0;
            self.place(|log| {
                let count = counts[i];
                i += 1;
                Ok(match start::last(&log.chosen.series, listing, count)? {
                    Some(position) => {
                        early.insert(i - 1);
                        position
                    }
                    None => start::beginning(&log.chosen.series, listing)?,
                })
            });
            let (found, ends) = self.scan(lines);
            let few = |of: &(Arc<str>, u32)| found.get(of).is_none_or(|last| (last.len() as u64) < lines);
            let further: Vec<usize> =
                early.into_iter().filter(|i| self.logs[*i].chosen.owners.instances().iter().any(few)).collect();
            if further.is_empty() || !(self.listens)() {
                return self.at_last(&found, &ends);
            }
            for i in further {
                counts[i] = counts[i].saturating_mul(8);
            }
        }
    }

    /// Goes through all that there is, and says where the last lines of each instance begin; then where each log ended.
    fn scan(&mut self, lines: u64) -> (Found, Vec<Position>) {
        self.queue_all();
        let mut found = Found::new();
        while let Some((i, piece, who)) = self.step() {
            if piece.begins {
                let last = found.entry((who.name, who.instance)).or_default();
                last.push_back((i, piece.start));
                if last.len() as u64 > lines {
                    last.pop_front();
                }
            }
        }
        (found, self.logs.iter().map(|log| log.walk.position()).collect())
    }

    /// Begins each log with the first of the lines that were found.
    fn at_last(&mut self, found: &Found, ends: &[Position]) {
        let owners: Vec<_> = self.logs.iter().map(|log| log.chosen.owners.instances()).collect();
        let begin = places(owners, found, ends);
        for (log, (begin, end)) in self.logs.iter_mut().zip(begin.into_iter().zip(ends)) {
            let first = begin.values().min().copied().unwrap_or(*end);
            log.walk = Walk::new(log.chosen.series.clone(), first, self.whole);
            log.begin = begin.into_iter().filter(|(_, position)| *position > first).collect();
            log.over = false;
        }
        (self.queue, self.open) = (BinaryHeap::new(), VecDeque::new());
    }
}

/// From where on each log's lines of its instances are wanted. Only of its own: there may be thousands of both.
fn places(
    owners: Vec<Vec<(Arc<str>, u32)>>,
    found: &Found,
    ends: &[Position],
) -> Vec<HashMap<(Arc<str>, u32), Position>> {
    let mut begin: Vec<HashMap<(Arc<str>, u32), Position>> = Vec::with_capacity(ends.len());
    for (own, end) in owners.into_iter().zip(ends) {
        // Who has lines in a log that an app left is known only by what was found.
        let own = if own.is_empty() { found.keys().cloned().collect() } else { own };
        // The end, if none of its last lines stand here.
        begin.push(own.into_iter().filter(|who| found.contains_key(who)).map(|who| (who, *end)).collect());
    }
    for (who, last) in found {
        for (i, position) in last.iter().rev() {
            begin[*i].insert(who.clone(), *position);
        }
    }
    begin
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_place_is_kept_of_an_instance_in_a_log_that_is_not_its() {
        let at = |offset| Position { number: 1, offset };
        let all: Vec<(Arc<str>, u32)> = (0..300).map(|n| (Arc::from(format!("app{n}")), 0)).collect();
        // Two logs of each, and all of its last lines in the first.
        let owners = all.iter().flat_map(|who| [vec![who.clone(), who.clone()], vec![who.clone()]]).collect();
        let last = |n: usize| (all[n].clone(), VecDeque::from([(2 * n, at(5)), (2 * n, at(7))]));
        let places = places(owners, &(0..300).map(last).collect(), &vec![at(9); 600]);
        for (n, who) in all.iter().enumerate() {
            assert_eq!(places[2 * n], HashMap::from([(who.clone(), at(5))]));
            assert_eq!(places[2 * n + 1], HashMap::from([(who.clone(), at(9))]));
        }
    }
}
