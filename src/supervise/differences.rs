//! In which fields two specs differ, as text for people.
//!
//! Owns the comparison. It must not judge whether a difference matters, nor show the values of variables: they may be secrets,
//! and a refusal ends in terminals and build logs. What a reader would get wrong: the list of fields is
//! checked by the compiler; a field added to the spec and not here is an error.

use crate::model::order::Difference;
use crate::model::{AppSpec, RawText};
use std::collections::BTreeMap;
use std::fmt::Display;

/// The fields that differ, in the order of the spec.
pub(super) fn differences(now: &AppSpec, asked: &AppSpec) -> Vec<Difference> {
    let mut found = Vec::new();
    macro_rules! compare {
        ($($field:ident),+ $(,)?) => {
            let AppSpec { $($field: _),+ } = now;
            $(if now.$field != asked.$field {
                found.push(Difference {
                    field: stringify!($field).to_owned(),
                    now: now.$field.text(),
                    asked: asked.$field.text(),
                });
            })+
        };
    }
    compare!(
        name,
        namespace,
        script,
        interpreter,
        interpreter_args,
        args,
        cwd,
        env,
        env_file,
        env_clean,
        instances,
        user,
        group,
        umask,
        nice,
        rlimit,
        restart,
        max_restarts,
        min_uptime,
        restart_delay,
        backoff,
        errored_retry,
        stop_signal,
        stop_timeout,
        kill_mode,
        stop_exit_codes,
        autostart,
        transient,
        memory_max,
        memory_high,
        memory_swap_max,
        max_memory_restart,
        oom_kill,
        cpus,
        cpu_weight,
        pids,
        io_weight,
        io_max,
        log_sink,
        log_mode,
        log_format,
        out_file,
        error_file,
        log_file,
        merge_logs,
        log_max_size,
        log_max_age,
        log_keep,
        log_total,
        log_compress,
        log_drop,
    );
    for difference in &mut found {
        if difference.field == "env" {
            difference.now = variables(&now.env, &asked.env);
            difference.asked = variables(&asked.env, &now.env);
        }
    }
    found
}

/// The names of the variables that are not the same in the other one.
fn variables(these: &BTreeMap<RawText, RawText>, others: &BTreeMap<RawText, RawText>) -> String {
    let differing: Vec<_> =
        these.iter().filter(|(name, value)| others.get(*name) != Some(*value)).map(|(name, _)| name.text()).collect();
    if differing.is_empty() { "none".to_owned() } else { format!("{} (not shown)", differing.join(", ")) }
}

/// A value as people would write it.
trait Text {
    fn text(&self) -> String;
}

macro_rules! displayed {
    ($($type:ty),+) => {$(
        impl Text for $type {
            fn text(&self) -> String {
                self.to_string()
            }
        }
    )+};
}
displayed!(
    bool,
    i32,
    u32,
    String,
    RawText,
    crate::model::AppName,
    crate::model::Namespace,
    crate::model::Span,
    crate::model::Signal,
    crate::model::ByteSize,
    crate::model::policy::Cpus,
    crate::model::limits::Weight,
    crate::model::limits::IoMax,
    crate::model::policy::Rlimit,
    crate::model::policy::Backoff,
    crate::model::policy::ErroredRetry
);

impl Text for crate::model::policy::RestartPolicy {
    fn text(&self) -> String {
        match self {
            Self::Always => "always",
            Self::OnFailure => "on-failure",
            Self::Never => "never",
        }
        .to_owned()
    }
}

impl Text for crate::model::policy::KillMode {
    fn text(&self) -> String {
        match self {
            Self::Mixed => "mixed",
            Self::Cgroup => "cgroup",
            Self::Process => "process",
        }
        .to_owned()
    }
}

impl Text for crate::model::limits::OomKill {
    fn text(&self) -> String {
        self.as_str().to_owned()
    }
}

macro_rules! worded {
    ($($type:ident { $($variant:ident => $word:literal),+ })+) => {$(
        impl Text for crate::model::log::$type {
            fn text(&self) -> String {
                match self {
                    $(Self::$variant => $word),+
                }
                .to_owned()
            }
        }
    )+};
}
worded! {
    LogSink { Files => "files", Journald => "journald", None => "none" }
    LogMode { Raw => "raw", Time => "time", Json => "json" }
    LogCompress { Zstd => "zstd", Gzip => "gzip", None => "none" }
    LogDrop { WhenFull => "when-full", Never => "never" }
}

impl<T: Display> Text for crate::model::log::Cap<T> {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl<T: Text> Text for Option<T> {
    fn text(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), Text::text)
    }
}

impl<T: Text> Text for Vec<T> {
    fn text(&self) -> String {
        if self.is_empty() { "none".to_owned() } else { self.iter().map(Text::text).collect::<Vec<_>>().join(" ") }
    }
}

impl<K: Display, V: Text> Text for BTreeMap<K, V> {
    fn text(&self) -> String {
        if self.is_empty() {
            return "none".to_owned();
        }
        self.iter().map(|(k, v)| format!("{k}={}", v.text())).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_difference_is_named_with_both_values() {
        let now = AppSpec::new("web".parse().unwrap(), "/app.js".into(), "/".into());
        let asked = AppSpec { args: vec!["-p".into(), "80".into()], instances: 4, ..now.clone() };
        let found: Vec<_> = differences(&now, &asked).into_iter().map(|d| (d.field, d.now, d.asked)).collect();
        let text = |f: &str, n: &str, a: &str| (f.to_owned(), n.to_owned(), a.to_owned());
        assert_eq!(found, [text("args", "none", "-p 80"), text("instances", "1", "4")]);
        assert!(differences(&now, &now).is_empty());
    }

    #[test]
    fn of_variables_the_names_are_told_and_never_the_values() {
        let with = |vars: &[(&str, &str)]| AppSpec {
            env: vars.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            ..AppSpec::new("web".parse().unwrap(), "/app.js".into(), "/".into())
        };
        let (now, asked) = (with(&[("A", "1"), ("PASSWORD", "hunter2")]), with(&[("A", "1"), ("PASSWORD", "hunter3")]));
        let found = differences(&now, &asked).remove(0);
        assert_eq!((found.now.as_str(), found.asked.as_str()), ("PASSWORD (not shown)", "PASSWORD (not shown)"));
        assert_eq!(differences(&now, &with(&[("A", "1")])).remove(0).asked, "none");
    }
}
