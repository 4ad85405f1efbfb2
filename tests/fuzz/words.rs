//! The small words that people type: names, selectors, times, sizes, signals. What is taken has one text form, which is
//! taken again and means the same.

use crate::config;
use crate::mutate::{apply, edits};
use opm::config::asked;
use opm::model::limits::{IoMax, Weight};
use opm::model::policy::{Backoff, Cpus, ErroredRetry, Rlimit};
use opm::model::{AppName, ByteSize, Namespace, Selector, Signal, Span};
use proptest::prelude::*;
use std::fmt::{Debug, Display};
use std::str::FromStr;

fn once<T: FromStr<Err: Display> + Display + PartialEq + Debug>(text: &str) -> Result<(), TestCaseError> {
    match text.parse::<T>() {
        Err(why) => prop_assert!(!why.to_string().is_empty()),
        Ok(value) => {
            let said = value.to_string();
            let again = said.parse::<T>().map_err(|e| TestCaseError::fail(format!("{text:?} -> {said:?}: {e}")))?;
            prop_assert_eq!(again, value, "{:?} -> {:?}", text, said);
        }
    }
    Ok(())
}

fn all(text: &str) -> Result<(), TestCaseError> {
    once::<Span>(text)?;
    once::<ByteSize>(text)?;
    once::<Backoff>(text)?;
    once::<ErroredRetry>(text)?;
    once::<Cpus>(text)?;
    once::<Rlimit>(text)?;
    once::<Weight>(text)?;
    once::<IoMax>(text)?;
    once::<Signal>(text)?;
    once::<AppName>(text)?;
    once::<Namespace>(text)?;
    let _ = Selector::parse_list(text);
    let _ = (asked::umask(text), asked::nice(text), asked::rlimit("nofile", text), asked::rlimit(text, "1"));
    Ok(())
}

const GOOD: &[&str] = &[
    "1500ms",
    "2s",
    "1h30m",
    "10",
    "0",
    "0.5",
    "300M",
    "1G",
    "1.5GiB",
    "100ms..15s",
    "never",
    "30s",
    "1024:4096",
    "unlimited",
    "/dev/sda:rbps=10M,wiops=5",
    "8:0 rbps=1M",
    "SIGTERM",
    "USR1",
    "15",
    "SIGRTMIN+3",
    "web",
    "all",
    "web:0,api",
    "/^we.*b$/,1:2",
    "shop",
    "18446744073709551615",
    "027",
];

#[test]
fn words_are_refused_with_a_reason_or_mean_one_thing() {
    for word in GOOD {
        all(word).unwrap();
    }
    proptest!(config(2000, 1), |(which in 0..GOOD.len(), edits in edits(), other in ".{0,12}")| {
        let bytes = apply(GOOD[which].as_bytes(), &edits);
        all(&String::from_utf8_lossy(&bytes))?;
        all(&other)?;
    });
}

/// Numbers at the edges of every width, with every unit.
#[test]
fn numbers_at_the_edges_do_not_overflow() {
    proptest!(config(1000, 1), |(bits in 0_u32..65, off in -2_i64..3, fraction in proptest::option::of(0_u32..1000),
                                unit in "(|ms|s|m|h|d|w|us|ns|K|M|G|T|P|E|KiB|GiB|B|%)")| {
        let number = (1_u128 << bits).wrapping_add_signed(off.into());
        let fraction = fraction.map(|f| format!(".{f}")).unwrap_or_default();
        all(&format!("{number}{fraction}{unit}"))?;
        all(&format!("{number}{unit}..{number}{unit}"))?;
        all(&format!("{number}:{number}"))?;
    });
}
