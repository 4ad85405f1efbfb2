//! The core broken on purpose, one mistake at a time: a simulation proves little until it has caught some.
//!
//! Owns the table. A mistake is caught when some random day ends with an invariant broken.

use crate::chaos;
use opm::supervise::bug::{Bug, seed};
use std::panic::{AssertUnwindSafe, catch_unwind};

#[test]
fn every_seeded_bug_is_caught() {
    let days = crate::number("OPM_SIM_RUNS").unwrap_or(5_000);
    let mut survivors = Vec::new();
    let mut table = String::new();
    for bug in Bug::ALL.iter().copied() {
        seed(Some(bug));
        let caught = (1..=days).find_map(|day| match catch_unwind(AssertUnwindSafe(|| chaos::day(day))) {
            Ok(Ok(())) => None,
            Ok(Err(broken)) => Some((day, broken.invariant)),
            Err(_) => Some((day, "it does not panic")),
        });
        seed(None);
        let name = format!("{bug:?}");
        let line = match caught {
            Some((day, invariant)) => format!("caught    {name:<26} day {day:>4}  {invariant}\n"),
            None => {
                survivors.push(bug);
                format!("SURVIVED  {name:<26}\n")
            }
        };
        table.push_str(&line);
    }
    #[expect(clippy::print_stderr, reason = "the table is what this test is for")]
    {
        eprintln!("\n{table}{} of {} caught", Bug::ALL.len() - survivors.len(), Bug::ALL.len());
    }
    assert!(survivors.is_empty(), "nobody noticed {survivors:?}");
}
