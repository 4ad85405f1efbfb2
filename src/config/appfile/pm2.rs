//! What PM2's files hold and opm has not: ignored where it changes nothing about how the app runs, refused where it does.
//!
//! A wish that is silently dropped is how PM2 users lose data (`env_file`, `autorestrat`); so a field that opm cannot honour
//! yet is a mistake, unless its value asks for nothing (`watch: false`). Each leaves this list when opm learns it.

use serde_json::Value;

/// What becomes of a field.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It asks for nothing, or for what opm does anyway.
    Fine,
    /// Ignored, and this is said: what the field is.
    Ignored(&'static str),
    /// Refused; what to do instead.
    Missing(&'static str),
}

/// Parts of PM2's own machinery.
const MACHINERY: [&str; 23] = [
    "vizion",
    "pmx",
    "automation",
    "trace",
    "disable_trace",
    "v8",
    "event_loop_inspector",
    "deep_monitoring",
    "io",
    "name_prefix",
    "username",
    "write",
    "install_url",
    "post_update",
    "windows_hide",
    "source_map_support",
    "disable_source_map_support",
    "execute_command",
    "force",
    "kill_retry_time",
    "listen_timeout",
    "append_env_to_name",
    "watch_options",
];

/// Judges a field that is none of opm's own; `name` in snake case. None: PM2 does not know it either.
pub(super) fn judge(name: &str, value: &Value) -> Option<Verdict> {
    if MACHINERY.contains(&name) {
        return Some(Verdict::Ignored("is part of PM2 itself, and ignored"));
    }
    let verdict = match name {
        "exec_mode" => match value.as_str() {
            Some("cluster" | "cluster_mode") => {
                Verdict::Ignored("cluster: each instance is a process of its own here, and opens its own port")
            }
            Some(_) | None => Verdict::Fine,
        },
        "ignore_watch" | "watch_delay" => Verdict::Ignored("is ignored without watch"),
        "instance_var" if value == "NODE_APP_INSTANCE" => Verdict::Fine,
        // Blocks for `pm2 start --env NAME`, which opm start does not have; PM2 without it leaves them unused as well.
        name if name.starts_with("env_") && value.is_object() => {
            Verdict::Ignored("is not used: give the variables in env or env_file")
        }
        name => match instead(name) {
            Some(_) if asks_for_nothing(value) => Verdict::Fine,
            Some(instead) => Verdict::Missing(instead),
            None => return None,
        },
    };
    Some(verdict)
}

/// `false`, `null`, `0`, `""`, `[]`: what people leave in files to say "no".
fn asks_for_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "0",
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
    }
}

/// What to do instead, for what opm has not learnt yet.
fn instead(name: &str) -> Option<&'static str> {
    let hint = match name {
        "watch" => "remove it; 'opm restart' applies changes",
        "pid_file" | "pid" => "remove it; 'opm ls --json' tells the main process",
        "cron_restart" | "cron" => "remove it; a timer of the system can run 'opm restart'",
        "wait_ready" => "remove it; an app is online once its program runs",
        "shutdown_with_message" => "remove it; stop_signal is what asks the app to end",
        "filter_env" => "env_clean keeps all variables away but PATH, HOME, USER, LANG, SHELL and TZ",
        "instance_var" | "increment_var" => "remove it",
        "port" => "write it as a variable: \"env\": {\"PORT\": ...}",
        _ => return None,
    };
    Some(hint)
}
