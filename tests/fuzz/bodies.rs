//! API bodies: what each route's request type makes of a mutated one.

use crate::mutate::{apply, edits};
use crate::{config, seed};
use opm::api::{AppInfo, CreateRequest, LogQuery, OrderAnswer, Problem, Row, ShutdownRequest, TargetRequest};
use opm::model::Selector;
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Refused with a reason, or understood; then saying it again means the same.
fn taken<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<(), TestCaseError> {
    match serde_json::from_slice::<T>(bytes) {
        Err(why) => prop_assert!(!why.to_string().is_empty() && why.to_string().len() < bytes.len() + 4000),
        Ok(value) => {
            let said = serde_json::to_vec(&value).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let again: T = serde_json::from_slice(&said).map_err(|e| TestCaseError::fail(e.to_string()))?;
            // Length, since serde_json reads a float of many digits to within its last one.
            prop_assert!(said.len().abs_diff(serde_json::to_vec(&again).unwrap().len()) < 4);
        }
    }
    Ok(())
}

#[test]
fn requests_are_refused_with_a_reason_or_mean_one_thing() {
    let golden: serde_json::Value = serde_json::from_slice(&seed("api/requests.json")).unwrap();
    let bodies: Vec<Vec<u8>> = golden.as_object().unwrap().values().map(|v| v.to_string().into_bytes()).collect();
    let log = br#"{"select":"web,api","lines":15,"follow":true,"stream":"err"}"#.to_vec();
    let bodies: Vec<Vec<u8>> = bodies.into_iter().chain([log]).collect();
    proptest!(config(1000, 2), |(which in 0..bodies.len(), edits in edits())| {
        let bytes = apply(&bodies[which], &edits);
        taken::<CreateRequest>(&bytes)?;
        taken::<TargetRequest>(&bytes)?;
        taken::<ShutdownRequest>(&bytes)?;
        taken::<LogQuery>(&bytes)?;
        if let Ok(request) = serde_json::from_slice::<TargetRequest>(&bytes) {
            for select in &request.select {
                let _ = Selector::parse_list(select);
            }
        }
    });
}

/// A client too reads what somebody else may have written.
#[test]
fn answers_are_refused_with_a_reason_or_mean_one_thing() {
    let answers: Vec<Vec<u8>> =
        ["get-apps", "get-instances", "post-stop", "problem-name-taken"].map(|n| seed(&format!("api/{n}.json"))).into();
    proptest!(config(300, 10), |(which in 0..answers.len(), edits in edits())| {
        let bytes = apply(&answers[which], &edits);
        match which {
            0 => taken::<Vec<AppInfo>>(&bytes)?,
            1 => taken::<Vec<Row>>(&bytes)?,
            2 => taken::<OrderAnswer>(&bytes)?,
            _ => taken::<Problem>(&bytes)?,
        }
    });
}
