//! The screen of `opm info`: what was asked for, and how each instance stands.

use super::text::Style;
use super::{Screen, ls, printable, time};
use crate::api::{AppInfo, Row};
use crate::model::limits::OomKill;
use crate::model::{AppSpec, RawText};
use serde_json::Value;

/// Everything about one app.
pub(in crate::cli) fn app(info: &AppInfo, screen: &Screen) -> String {
    let spec = &info.spec;
    let name = printable(spec.name.as_str()).into_owned();
    let mut out = format!("{} (id {})\n", screen.paint.bold(&name), info.id);
    section(&mut out, screen, "  ", &spec_lines(spec));
    for (i, row) in info.instances.iter().enumerate() {
        let state = screen.paint.styled(ls::state_style(&row.state), &ls::state_in_full(row, screen));
        out.push_str(&format!("\n  {} {state}\n", screen.paint.bold(&format!("{name}:{}", row.instance))));
        let processes = info.processes.get(i).copied().flatten();
        let logs = [info.out_logs.get(i), info.err_logs.get(i)];
        section(&mut out, screen, "    ", &row_lines(row, processes, logs, screen));
    }
    out
}

type Line = (&'static str, String);

fn section(out: &mut String, screen: &Screen, indent: &str, lines: &[Line]) {
    let width = lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    for (label, value) in lines {
        let label = screen.paint.styled(Style::Dim, &format!("{label:width$}"));
        out.push_str(&format!("{indent}{label}  {}\n", printable(value)));
    }
}

/// What was asked for. The rarer fields only where they differ from the default, under the names they have in files.
fn spec_lines(spec: &AppSpec) -> Vec<Line> {
    let mut lines = vec![
        ("namespace", spec.namespace.to_string()),
        ("command", command(spec)),
        ("cwd", spec.cwd.to_string()),
        ("instances", spec.instances.to_string()),
        ("restart", policy_word(&spec.restart)),
        ("stop", format!("{}, killed after {}, {}", spec.stop_signal, spec.stop_timeout, policy_word(&spec.kill_mode))),
    ];
    let mut say = |label, value: Option<String>| lines.extend(value.map(|value| (label, value)));
    say("user", spec.user.clone());
    say("group", spec.group.clone());
    say("memory_max", spec.memory_max.map(|v| v.to_string()));
    say("memory_high", spec.memory_high.map(|v| v.to_string()));
    say("memory_swap_max", spec.memory_swap_max.map(|v| v.to_string()));
    say("max_memory_restart", spec.max_memory_restart.map(|v| v.to_string()));
    say("oom_kill", (spec.oom_kill != OomKill::default()).then(|| spec.oom_kill.as_str().to_owned()));
    say("cpus", spec.cpus.map(|v| v.to_string()));
    say("cpu_weight", spec.cpu_weight.map(|v| v.to_string()));
    say("pids", spec.pids.map(|v| v.to_string()));
    say("io_weight", spec.io_weight.map(|v| v.to_string()));
    let disks: Vec<_> = spec.io_max.iter().map(ToString::to_string).collect();
    say("io_max", (!disks.is_empty()).then(|| disks.join(", ")));
    say("umask", spec.umask.map(|v| format!("{v:03o}")));
    say("nice", spec.nice.map(|v| v.to_string()));
    let limits: Vec<_> = spec.rlimit.iter().map(|(name, limit)| format!("{name}={limit}")).collect();
    say("rlimit", (!limits.is_empty()).then(|| limits.join(" ")));
    say("restart_delay", spec.restart_delay.map(|v| v.to_string()));
    let usual = AppSpec::new(spec.name.clone(), spec.script.clone(), spec.cwd.clone());
    say("max_restarts", (spec.max_restarts != usual.max_restarts).then(|| spec.max_restarts.to_string()));
    say("min_uptime", (spec.min_uptime != usual.min_uptime).then(|| spec.min_uptime.to_string()));
    say("backoff", (spec.backoff != usual.backoff).then(|| spec.backoff.to_string()));
    say("errored_retry", (spec.errored_retry != usual.errored_retry).then(|| spec.errored_retry.to_string()));
    let codes: Vec<_> = spec.stop_exit_codes.iter().map(ToString::to_string).collect();
    say("stop_exit_codes", (!codes.is_empty()).then(|| codes.join(",")));
    let files: Vec<_> = spec.env_file.iter().map(ToString::to_string).collect();
    say("env_file", (!files.is_empty()).then(|| files.join(", ")));
    // Names only: values may be secrets, and this screen is pasted into bug reports. `opm env` shows them.
    let declared: Vec<_> = spec.env.keys().map(ToString::to_string).collect();
    say("env", (!declared.is_empty()).then(|| declared.join(", ")));
    say("env_clean", spec.env_clean.then(|| "yes".to_owned()));
    say("autostart", (!spec.autostart).then(|| "no".to_owned()));
    say("transient", spec.transient.then(|| "yes".to_owned()));
    log_lines(spec, &usual, &mut say);
    lines
}

/// What was asked about logs; where they are stands with each instance.
fn log_lines(spec: &AppSpec, usual: &AppSpec, say: &mut impl FnMut(&'static str, Option<String>)) {
    say("log_sink", (spec.log_sink != usual.log_sink).then(|| policy_word(&spec.log_sink)));
    say("log_mode", (spec.log_mode != usual.log_mode).then(|| policy_word(&spec.log_mode)));
    say("log_format", spec.log_format.clone());
    say("log_file", spec.log_file.as_ref().map(ToString::to_string));
    say("merge_logs", spec.merge_logs.then(|| "yes".to_owned()));
    say("log_max_size", (spec.log_max_size != usual.log_max_size).then(|| spec.log_max_size.to_string()));
    say("log_max_age", (spec.log_max_age != usual.log_max_age).then(|| spec.log_max_age.to_string()));
    say("log_keep", (spec.log_keep != usual.log_keep).then(|| spec.log_keep.to_string()));
    say("log_total", (spec.log_total != usual.log_total).then(|| spec.log_total.to_string()));
    say("log_compress", (spec.log_compress != usual.log_compress).then(|| policy_word(&spec.log_compress)));
    say("log_drop", (spec.log_drop != usual.log_drop).then(|| policy_word(&spec.log_drop)));
}

fn row_lines(row: &Row, processes: Option<u32>, logs: [Option<&String>; 2], screen: &Screen) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut say = |label, value: Option<String>| lines.extend(value.map(|value| (label, value)));
    say("wanted", (row.desired == "down").then(|| row.desired.clone()));
    say("pid", row.pid.map(|v| v.to_string()));
    say("since", row.since.as_ref().map(|at| format!("{at} ({})", time::since(at, screen.now))));
    say("restarts", Some(row.restarts.to_string()));
    say("ready", (row.ready != "none").then(|| row.ready.clone()));
    let limits = row.limits.clone().unwrap_or_default();
    let of = |used: Option<String>, most: Option<String>| {
        used.map(|used| most.map_or_else(|| used.clone(), |most| format!("{used} of {most}")))
    };
    let weight = limits.cpu_weight.map(|weight| format!(", weight {weight}")).unwrap_or_default();
    let cpus = limits.cpus.map(|cpus| format!("{}%", cpus * 100.0));
    say("cpu", of(row.cpu_percent.map(ls::cpu), cpus).map(|cpu| format!("{cpu}{weight}")));
    let peak =
        limits.memory_peak_bytes.map(|peak| format!(", at most {} so far", ls::memory(peak))).unwrap_or_default();
    let high =
        limits.memory_high_bytes.map(|high| format!(", slowed down from {}", ls::memory(high))).unwrap_or_default();
    let memory = of(row.memory_bytes.map(ls::memory), limits.memory_max_bytes.map(ls::memory));
    say("memory", memory.map(|memory| format!("{memory}{high}{peak}")));
    say("swap", of(limits.swap_bytes.map(ls::memory), limits.swap_max_bytes.map(ls::memory)));
    say("processes", processes.map(|v| v.to_string()));
    let threads = limits.pids_max.and(limits.pids).map(|v| v.to_string());
    say("with threads", of(threads, limits.pids_max.map(|v| v.to_string())));
    let weight = limits.io_weight.map(|weight| format!("weight {weight}"));
    let disks: Vec<String> = weight.into_iter().chain(limits.io_max).collect();
    say("disks", (!disks.is_empty()).then(|| disks.join(", ")));
    say("last exit", row.last_exit.as_ref().map(|exit| ls::last_exit(exit, screen)));
    say("run", row.run.map(|v| v.to_string()));
    say("cgroup", row.cgroup.clone());
    say("out log", logs[0].cloned());
    say("err log", logs[1].cloned());
    lines
}

/// The command as one could type it.
fn command(spec: &AppSpec) -> String {
    spec.argv().into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &RawText) -> String {
    shell_words::quote(&word.lossy()).into_owned()
}

/// The word that files and flags use for a policy.
fn policy_word<T: serde::Serialize>(policy: &T) -> String {
    match serde_json::to_value(policy) {
        Ok(Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}
