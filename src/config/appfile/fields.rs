//! The fields of one app in a file: their names, and how each is read.
//!
//! The table is the documentation: the first name of each line is opm's own (as in `AppSpec`), the others are PM2's. All may
//! be written in camelCase, too. Numbers may be strings, as PM2 allows; `null` is the same as leaving a field out.

use super::super::Mistake;
use super::super::asked::logs::CombinedFile;
use super::super::asked::{self, Asked, word};
use super::super::{command, instances};
use super::dayjs;
use super::pm2::{self, Verdict};
use crate::model::policy::{KillMode, RestartPolicy};
use crate::model::{RawText, Span};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

type Read = fn(&mut Asked, &Value, u32) -> Result<(), String>;

const SCRIPT: &[&str] = &["script", "exec", "cmd", "command"];

/// Names that mean the same, and what they set.
const FIELDS: &[(&[&str], Read)] = &[
    (SCRIPT, |a, v, _| raw(v).map(|v| a.script = v)),
    (&["name"], |a, v, _| text(v).map(|v| a.name = Some(v))),
    (&["namespace"], |a, v, _| parsed(v).map(|v| a.namespace = Some(v))),
    (&["instances"], |a, v, cpus| instances::parse(&text(v)?, cpus).map(|v| a.instances = Some(v))),
    (&["args"], |a, v, _| words(v).map(|v| a.args = v)),
    (&["shell"], |a, v, _| boolean(v).map(|v| a.shell = v)),
    (&["interpreter", "exec_interpreter"], |a, v, _| raw(v).map(|v| a.interpreter = Some(v))),
    (&["interpreter_args", "node_args"], |a, v, _| words(v).map(|v| a.interpreter_args = v)),
    (&["cwd"], |a, v, _| raw(v).map(|v| a.cwd = Some(v))),
    (&["env"], |a, v, _| variables(v).map(|v| a.env = v)),
    (&["env_file"], |a, v, _| list(v, raw).map(|v| a.env_file = v)),
    (&["env_clean"], |a, v, _| boolean(v).map(|v| a.env_clean = v)),
    (&["user", "uid"], |a, v, _| text(v).map(|v| a.user = Some(v))),
    (&["group", "gid"], |a, v, _| text(v).map(|v| a.group = Some(v))),
    (&["umask"], |a, v, _| match v {
        // A number would be decimal to JSON and octal to the person who wrote it.
        Value::String(v) => asked::umask(v).map(|v| a.umask = Some(v)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(format!("{v} is not a umask; write octal digits as a string, \"022\""))
        }
    }),
    (&["nice"], |a, v, _| asked::nice(&text(v)?).map(|v| a.nice = Some(v))),
    (&["rlimit"], |a, v, _| {
        let Value::Object(limits) = v else { return Err("is not an object such as {\"nofile\": 65536}".to_owned()) };
        for (name, limit) in limits {
            let (name, limit) = asked::rlimit(name, &text(limit)?).map_err(|mistake| mistake.message)?;
            a.rlimit.insert(name, limit);
        }
        Ok(())
    }),
    (&["restart", "autorestart"], |a, v, _| {
        a.restart = match v {
            Value::Bool(true) => None,
            Value::Bool(false) => Some(RestartPolicy::Never),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                Some(word(&text(v)?)?)
            }
        };
        Ok(())
    }),
    (&["max_restarts"], |a, v, _| number(v).map(|v| a.max_restarts = Some(v))),
    (&["min_uptime"], |a, v, _| parsed(v).map(|v| a.min_uptime = Some(v))),
    (&["restart_delay"], |a, v, _| parsed(v).map(|v| a.restart_delay = Some(v))),
    (&["backoff", "exp_backoff_restart_delay"], |a, v, _| {
        // PM2's "no backoff" is the absence of a wish; opm has one by default.
        a.backoff = if text(v)?.parse() == Ok(Span::millis(0)) { None } else { Some(parsed(v)?) };
        Ok(())
    }),
    (&["errored_retry"], |a, v, _| parsed(v).map(|v| a.errored_retry = Some(v))),
    (&["stop_signal"], |a, v, _| parsed(v).map(|v| a.stop_signal = Some(v))),
    (&["stop_timeout", "kill_timeout"], |a, v, _| parsed(v).map(|v| a.stop_timeout = Some(v))),
    (&["kill_mode", "treekill"], |a, v, _| {
        a.kill_mode = match v {
            Value::Bool(true) => None,
            Value::Bool(false) => Some(KillMode::Process),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                Some(word(&text(v)?)?)
            }
        };
        Ok(())
    }),
    (&["stop_exit_codes"], |a, v, _| list(v, number).map(|v| a.stop_exit_codes = v)),
    (&["autostart"], |a, v, _| boolean(v).map(|v| a.autostart = Some(v))),
    (&["transient"], |a, v, _| boolean(v).map(|v| a.transient = v)),
    (&["memory_max"], |a, v, _| parsed(v).map(|v| a.limits.memory_max = Some(v))),
    (&["memory_high"], |a, v, _| parsed(v).map(|v| a.limits.memory_high = Some(v))),
    (&["memory_swap_max"], |a, v, _| parsed(v).map(|v| a.limits.memory_swap_max = Some(v))),
    (&["max_memory_restart", "max_memory"], |a, v, _| {
        // PM2's "no mark" is 0, or nothing.
        let none = wish(v, text)?.is_none_or(|text| text == "0");
        a.limits.max_memory_restart = if none { None } else { Some(parsed(v)?) };
        Ok(())
    }),
    (&["oom_kill"], |a, v, _| word(&text(v)?).map(|v| a.limits.oom_kill = v)),
    (&["cpus"], |a, v, _| parsed(v).map(|v| a.limits.cpus = Some(v))),
    (&["cpu_weight"], |a, v, _| parsed(v).map(|v| a.limits.cpu_weight = Some(v))),
    (&["pids"], |a, v, _| number(v).map(|v| a.limits.pids = Some(v))),
    (&["io_weight"], |a, v, _| parsed(v).map(|v| a.limits.io_weight = Some(v))),
    (&["io_max"], |a, v, _| list(v, parsed).map(|v| a.limits.io_max = v)),
    (&["log_sink"], |a, v, _| word(&text(v)?).map(|v| a.logs.sink = Some(v))),
    (&["disable_logs"], |a, v, _| boolean(v).map(|v| a.logs.disable = v)),
    (&["log_mode", "log_type"], |a, v, _| wish(v, |v| word(&text(v)?)).map(|v| a.logs.mode = v)),
    (&["time"], |a, v, _| boolean(v).map(|v| a.logs.time = v)),
    // In the letters of strftime(3), and in those of day.js.
    (&["log_format"], |a, v, _| format(a, wish(v, text)?)),
    (&["log_date_format"], |a, v, _| format(a, wish(v, |v| dayjs::strftime(&text(v)?))?)),
    (&["out_file", "out", "output", "out_log"], |a, v, _| wish(v, raw).map(|v| a.logs.out_file = v)),
    (&["error_file", "error", "err", "err_file", "err_log"], |a, v, _| wish(v, raw).map(|v| a.logs.error_file = v)),
    (&["log_file", "log"], |a, v, _| {
        let own = *v == Value::Bool(true);
        wish(v, |v| if own { Ok(CombinedFile::Own) } else { raw(v).map(CombinedFile::At) }).map(|v| a.logs.log_file = v)
    }),
    (&["merge_logs", "combine_logs"], |a, v, _| boolean(v).map(|v| a.logs.merge = v)),
    (&["log_max_size"], |a, v, _| parsed(v).map(|v| a.logs.max_size = Some(v))),
    (&["log_max_age"], |a, v, _| parsed(v).map(|v| a.logs.max_age = Some(v))),
    (&["log_keep"], |a, v, _| parsed(v).map(|v| a.logs.keep = Some(v))),
    (&["log_total"], |a, v, _| parsed(v).map(|v| a.logs.total = Some(v))),
    (&["log_compress"], |a, v, _| word(&text(v)?).map(|v| a.logs.compress = Some(v))),
    (&["log_drop"], |a, v, _| word(&text(v)?).map(|v| a.logs.drop = Some(v))),
];

fn format(asked: &mut Asked, format: Option<String>) -> Result<(), String> {
    let Some(format) = format else { return Ok(()) };
    match asked.logs.format.replace(format) {
        None => Ok(()),
        Some(_) => Err("'log_format' and 'log_date_format' mean the same; keep one of them".to_owned()),
    }
}

/// Whether a key names what is to be started.
pub(super) fn is_script(key: &str) -> bool {
    SCRIPT.contains(&snake(key).as_str())
}

/// Whether a key is a field of an app, opm's or PM2's.
pub(super) fn is_known(key: &str) -> bool {
    let key = snake(key);
    own_names().any(|name| name == key) || pm2::judge(&key, &Value::Null).is_some()
}

fn own_names() -> impl Iterator<Item = &'static str> {
    FIELDS.iter().flat_map(|(names, _)| names.iter().copied())
}

/// Reads one app.
pub(super) fn read(entry: &Map<String, Value>, cpus: u32, warn: &mut dyn FnMut(String)) -> Result<Asked, Mistake> {
    let mut asked = Asked::default();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (key, value) in entry {
        let name = snake(key);
        if let Some((names, read)) = FIELDS.iter().find(|(names, _)| names.contains(&name.as_str())) {
            let own = names.first().copied().unwrap_or_default();
            if let Some((_, other)) = seen.iter().find(|(before, _)| *before == own) {
                return Err(Mistake::new(format!("'{other}' and '{key}' mean the same")).hint("keep one of them"));
            }
            seen.push((own, key));
            if !value.is_null() {
                read(&mut asked, value, cpus).map_err(|why| Mistake::new(format!("{key}: {why}")))?;
            }
            continue;
        }
        match pm2::judge(&name, value) {
            Some(Verdict::Fine) => {}
            Some(Verdict::Ignored(why)) => warn(format!("'{key}' {why}")),
            Some(Verdict::Missing(instead)) => {
                return Err(Mistake::new(format!("{key}: this opm does not have it yet")).hint(instead));
            }
            None => return Err(super::unknown(key, own_names())),
        }
    }
    if asked.script.as_bytes().is_empty() {
        return Err(Mistake::new("has no 'script'"));
    }
    Ok(asked)
}

/// `maxRestarts` and `max-restarts` as `max_restarts`.
fn snake(key: &str) -> String {
    key.chars().fold(String::with_capacity(key.len() + 4), |mut out, c| {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(if c == '-' { '_' } else { c.to_ascii_lowercase() });
        out
    })
}

/// What is read, unless it is `false` or `""`: what people leave in PM2's files to say "no".
fn wish<T>(value: &Value, read: impl Fn(&Value) -> Result<T, String>) -> Result<Option<T>, String> {
    if *value == Value::Bool(false) || *value == "" { Ok(None) } else { read(value).map(Some) }
}

/// A string, or what a number or a truth value looks like.
fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(format!("{} is not a string", kind(value))),
    }
}

/// The same, or bytes as `{"hex": "..."}`.
fn raw(value: &Value) -> Result<RawText, String> {
    match value {
        Value::Object(_) => RawText::deserialize(value).map_err(|e| e.to_string()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            text(value).map(RawText::from)
        }
    }
}

fn parsed<T: FromStr<Err = E>, E: Display>(value: &Value) -> Result<T, String> {
    text(value)?.parse().map_err(|e: E| e.to_string())
}

fn number<T: TryFrom<i64>>(value: &Value) -> Result<T, String> {
    let text = text(value)?;
    text.parse::<i64>()
        .ok()
        .and_then(|number| T::try_from(number).ok())
        .ok_or_else(|| format!("'{text}' is not a whole number that fits here"))
}

fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| format!("{} is not true or false", kind(value)))
}

/// An array, or one element alone.
fn list<T>(value: &Value, element: fn(&Value) -> Result<T, String>) -> Result<Vec<T>, String> {
    match value {
        Value::Array(values) => values.iter().map(element).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            element(value).map(|one| vec![one])
        }
    }
}

/// Arguments: an array as it is, or a string split as a shell would.
fn words(value: &Value) -> Result<Vec<RawText>, String> {
    match value {
        Value::String(line) => command::words(line.as_ref()).map_err(|mistake| mistake.message),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => list(value, raw),
    }
}

fn variables(value: &Value) -> Result<BTreeMap<RawText, RawText>, String> {
    let Value::Object(pairs) = value else { return Err(format!("{} is not an object of variables", kind(value))) };
    pairs
        .iter()
        .map(|(name, value)| match raw(value) {
            Ok(value) => Ok((RawText::from(name.as_str()), value)),
            Err(_) => Err(format!("{name}: {} is not a string, a number, true or false", kind(value))),
        })
        .collect()
}

/// What a value is, without showing it: values may be secrets.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
