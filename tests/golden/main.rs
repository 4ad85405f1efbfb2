//! What released versions wrote and said, for ever: state files, the keeper's words and API bodies of each, held against today.
//!
//! `vX.Y/` holds them as that version made them; nothing in there is ever edited. What a reader would get wrong: a test here
//! that goes red is no test to be mended. Somebody's disk holds such a file. Load it, or raise a version that says who may.
//!
//! `OPM_GOLDEN_WRITE=1` writes the expectation of a version that has none yet.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub)]

mod answers;
mod keeper;
mod logs;
mod state;

use serde_json::Value;
use std::path::{Path, PathBuf};

/// Every released version.
const VERSIONS: &[&str] = &["v0.1"];

fn golden(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version)
}

fn json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Everything that `expected` says is so in `actual`, which may say more: fields are only ever added.
fn holds(expected: &Value, actual: &Value, at: &str) {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            for (key, value) in expected {
                // Left out and null are one thing to whoever reads it.
                holds(value, actual.get(key).unwrap_or(&Value::Null), &format!("{at}.{key}"));
            }
        }
        (Value::Array(expected), Value::Array(actual)) => {
            assert_eq!(expected.len(), actual.len(), "{at}");
            for (n, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                holds(expected, actual, &format!("{at}[{n}]"));
            }
        }
        (expected, actual) => assert_eq!(expected, actual, "{at}"),
    }
}

#[test]
fn what_is_missing_or_otherwise_goes_red() {
    let golden: Value = serde_json::json!({"a": [{"b": 1, "c": null}]});
    holds(&golden, &serde_json::json!({"a": [{"b": 1, "new": 2}], "more": 3}), "fine");
    for wrong in [serde_json::json!({"a": [{"b": 2}]}), serde_json::json!({"a": []}), serde_json::json!({})] {
        assert!(std::panic::catch_unwind(|| holds(&golden, &wrong, "")).is_err(), "{wrong}");
    }
}
