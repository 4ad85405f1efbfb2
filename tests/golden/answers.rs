//! A client of each released version still gets answers that it understands, and is still understood.

use crate::{VERSIONS, golden, holds, json};
use opm::api::{
    AppEnv, AppInfo, CreateRequest, DaemonStatus, Examination, OrderAnswer, Pong, Problem, Row, SaveAnswer,
    ShutdownRequest, TargetRequest,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Today's type reads the old body, and what it says for the same thing has every field that the old client may look at.
fn kept<T: Serialize + DeserializeOwned>(body: &Value, at: &str) {
    let today: T = serde_json::from_value(body.clone()).unwrap_or_else(|e| panic!("{at}: {e}"));
    let said = serde_json::to_value(&today).unwrap();
    holds(body, &said, at);
    present(body, &said, at);
}

/// A field that was there is there, null or not: a client may insist on it.
fn present(then: &Value, now: &Value, at: &str) {
    match (then, now) {
        (Value::Object(then), Value::Object(now)) => {
            for (key, value) in then {
                present(value, now.get(key).unwrap_or_else(|| panic!("{at}.{key} is gone")), &format!("{at}.{key}"));
            }
        }
        (Value::Array(then), Value::Array(now)) => {
            then.iter().zip(now).for_each(|(then, now)| present(then, now, at));
        }
        _ => {}
    }
}

#[test]
fn every_answer_of_a_released_version_is_still_given() {
    for version in VERSIONS {
        let api = golden(version).join("api");
        let mut seen = 0;
        for entry in std::fs::read_dir(&api).unwrap().map(Result::unwrap) {
            let (name, at) = (entry.file_name().into_string().unwrap(), format!("{version}/{:?}", entry.file_name()));
            let body = json(&entry.path());
            match &name[..] {
                "requests.json" => continue,
                "get-ping.json" => kept::<Pong>(&body, &at),
                "get-daemon.json" => kept::<DaemonStatus>(&body, &at),
                "get-doctor.json" => kept::<Examination>(&body, &at),
                "get-instances.json" => kept::<Vec<Row>>(&body, &at),
                "get-apps.json" => kept::<Vec<AppInfo>>(&body, &at),
                "get-env.json" => kept::<Vec<AppEnv>>(&body, &at),
                "post-save.json" => kept::<SaveAnswer>(&body, &at),
                name if name.starts_with("post-") => kept::<OrderAnswer>(&body, &at),
                name if name.starts_with("problem-") => kept::<Problem>(&body, &at),
                name => panic!("nobody reads {name}"),
            }
            seen += 1;
        }
        assert!(seen >= 12, "{version}: only {seen} answers");
    }
}

#[test]
fn every_request_of_a_released_version_is_still_taken() {
    for version in VERSIONS {
        let requests = json(&golden(version).join("api/requests.json"));
        for (name, body) in requests.as_object().unwrap() {
            let at = format!("{version}: request {name}");
            match &name[..] {
                "create" | "create_limits" => kept::<CreateRequest>(body, &at),
                "create_least" => drop(serde_json::from_value::<CreateRequest>(body.clone()).expect(&at)),
                "shutdown" | "shutdown_least" => {
                    assert!(serde_json::from_value::<ShutdownRequest>(body.clone()).is_ok(), "{at}")
                }
                _ => kept::<TargetRequest>(body, &at),
            }
        }
    }
}
