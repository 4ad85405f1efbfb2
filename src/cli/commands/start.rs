//! `opm start`: apps that exist, a script, a command, or a file that lists apps.
//!
//! What a word means, in this order: with flags that describe an app (or arguments after `--`), a script or command; a path to
//! a `.json` or `.toml` file, a list of apps; else an app that exists, by any selector, which the daemon knows; else a script
//! or command. So a name wins over a file of that name, as in PM2; `./web` always means the file.

use super::super::client::Client;
use super::super::context::Context;
use super::super::exit::{Exit, Failure};
use crate::api::{CreateRequest, OrderAnswer, TargetRequest};
use crate::config::appfile;
use crate::config::asked::{self, Asked};
use crate::config::env::capture;
use crate::config::{command, instances};
use crate::model::policy::{Backoff, Cpus, ErroredRetry, KillMode, RestartPolicy, Rlimit};
use crate::model::{AppSpec, ByteSize, EnvMap, Namespace, RawText, Selector, Signal, Span};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// A script, "a command with arguments", a .json or .toml file that lists apps, or apps that exist
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<OsString>,
    /// Arguments of the script
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<OsString>,

    /// Give an app that exists this new spec
    #[arg(long)]
    replace: bool,
    /// Apps that exist take the environment of this shell from now on
    #[arg(short = 'a', long)]
    update_env: bool,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    app: AppFlags,
}

/// The flags that describe an app. In files the same fields have underscores.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "The app")]
struct AppFlags {
    /// What to call it; the script's name without its extension if not given
    #[arg(short, long)]
    name: Option<String>,
    /// Its group
    #[arg(long)]
    namespace: Option<Namespace>,
    /// How many copies: a number, 'max' for one per CPU, -1 for one fewer
    #[arg(short, long, value_name = "N", allow_hyphen_values = true, value_parser = instances_of)]
    instances: Option<u32>,
    /// Its working directory; here if not given
    #[arg(long, value_name = "DIR")]
    cwd: Option<OsString>,
    /// Have /bin/sh run it as a command line
    #[arg(long, conflicts_with_all = ["interpreter", "interpreter_args"])]
    shell: bool,
    /// What runs the script; 'none' for the script itself
    #[arg(long, value_name = "PROGRAM", alias = "exec-interpreter")]
    interpreter: Option<OsString>,
    /// Arguments of the interpreter, split like a shell would
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true, alias = "node-args")]
    interpreter_args: Vec<OsString>,
    /// A variable; wins over env files and over what this shell has
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<OsString>,
    /// A file of NAME=value lines, read at every start and stored nowhere
    #[arg(long, value_name = "FILE")]
    env_file: Vec<OsString>,
    /// Of this shell's environment, keep only PATH, HOME, USER, LANG, SHELL and TZ
    #[arg(long)]
    env_clean: bool,
    /// Run as this user
    #[arg(long, alias = "uid")]
    user: Option<String>,
    /// Run as this group
    #[arg(long, alias = "gid")]
    group: Option<String>,
    /// When to start it again after it ended: always, on-failure, never
    #[arg(long, value_name = "POLICY", value_parser = asked::word::<RestartPolicy>)]
    restart: Option<RestartPolicy>,
    /// The same as --restart never, for PM2 users
    #[arg(long, hide = true, conflicts_with = "restart")]
    no_autorestart: bool,
    /// So many failures within a minute make it errored
    #[arg(long, value_name = "N")]
    max_restarts: Option<u32>,
    /// An end before this is a failure and backs off
    #[arg(long, value_name = "TIME")]
    min_uptime: Option<Span>,
    /// A fixed delay before each restart, instead of the backoff
    #[arg(long, value_name = "TIME")]
    restart_delay: Option<Span>,
    /// The growing delay after failures: 100ms..15s, or its beginning
    #[arg(long, value_name = "FROM..TO", alias = "exp-backoff-restart-delay")]
    backoff: Option<Backoff>,
    /// How often to try an errored one: a time, or 'never'
    #[arg(long, value_name = "TIME")]
    errored_retry: Option<ErroredRetry>,
    /// What asks it to end
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<Signal>,
    /// How long it may take to end before it is killed
    #[arg(short = 'k', long, value_name = "TIME", alias = "kill-timeout")]
    stop_timeout: Option<Span>,
    /// Whom a stop reaches first: mixed, cgroup, process
    #[arg(long, value_name = "MODE", value_parser = asked::word::<KillMode>)]
    kill_mode: Option<KillMode>,
    /// Exit codes that mean "done on purpose"
    #[arg(long, value_name = "CODES", value_delimiter = ',')]
    stop_exit_codes: Vec<i32>,
    /// Add it without starting it
    #[arg(long)]
    no_autostart: bool,
    /// Forget it at the next boot
    #[arg(long)]
    transient: bool,
    /// The kernel's hard limit on its memory (300M, 1G)
    #[arg(long, value_name = "SIZE")]
    memory_max: Option<ByteSize>,
    /// How much processor time it may have (0.5, 2)
    #[arg(long, value_name = "N")]
    cpus: Option<Cpus>,
    /// How many processes and threads it may have
    #[arg(long, value_name = "N")]
    pids: Option<u32>,
    /// File mode creation mask, octal
    #[arg(long, value_name = "MASK", value_parser = asked::umask)]
    umask: Option<u32>,
    /// Scheduling priority, -20 to 19
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = asked::nice)]
    nice: Option<i32>,
    /// A resource limit: nofile=65536, core=0:unlimited
    #[arg(long, value_name = "NAME=LIMIT", value_parser = rlimit)]
    rlimit: Vec<(String, Rlimit)>,
}

fn instances_of(text: &str) -> Result<u32, String> {
    instances::parse(text, instances::cpus())
}

fn rlimit(text: &str) -> Result<(String, Rlimit), String> {
    let (name, limit) = text.split_once('=').ok_or_else(|| format!("'{text}' has no '='; write nofile=65536"))?;
    asked::rlimit(name, limit).map_err(|mistake| match &mistake.hint {
        Some(hint) => format!("{mistake}; {hint}"),
        None => mistake.message.clone(),
    })
}

pub(in crate::cli) fn run(args: Args, context: &Context<'_>) -> Result<(), Failure> {
    let captured = Arc::new(capture(std::env::vars_os()));
    let flags = args.app.into_asked(args.args)?;
    let described = flags != Asked::default();
    let begun = Instant::now();
    let answer = match args.what.as_slice() {
        [file] if is_list(file) && !described => {
            let apps = read_list(file, context)?;
            let mut client = context.daemon()?;
            create(&mut client, apps, &captured, args.replace, args.update_env)?
        }
        [file] if is_list(file) => {
            return Err(super::usage("flags that describe an app do not go with a file that lists apps")
                .hint("write them into the file; field names are those of the flags, with underscores"));
        }
        [what] if described || args.replace => {
            let spec = spec(what, flags, context)?;
            let mut client = context.daemon()?;
            create(&mut client, vec![spec], &captured, args.replace, args.update_env)?
        }
        [what] => one_word(what, context, &captured, args.update_env)?,
        several if described || args.replace => {
            return Err(super::usage(format!("{} things to start, but flags that describe one", several.len()))
                .hint("start them one by one; arguments of a script go after --"));
        }
        several => {
            let select = several.iter().map(selector).collect::<Option<Vec<_>>>();
            let Some(select) = select else {
                return Err(super::usage("several things to start must be apps that exist")
                    .hint("start scripts one by one; arguments of a script go after --"));
            };
            let mut client = context.daemon()?;
            start(&mut client, &select, &captured, args.update_env)
                .map_err(|failure| super::suggesting(failure, &mut client, &select))?
        }
    };
    super::tell(context, "start", &answer, begun.elapsed(), args.json)
}

/// A word alone: an app that exists if the daemon knows one, else a script or command.
fn one_word(
    what: &OsStr,
    context: &Context<'_>,
    captured: &Arc<EnvMap>,
    update_env: bool,
) -> Result<OrderAnswer, Failure> {
    let select = selector(what).filter(|_| !is_path(what));
    let Some(select) = select else {
        let spec = spec(what, Asked::default(), context)?;
        return create(&mut context.daemon()?, vec![spec], captured, false, update_env);
    };
    let mut client = context.daemon()?;
    let select = [select];
    let unknown = match start(&mut client, &select, captured, update_env) {
        Ok(answer) => return Ok(answer),
        Err(failure) if failure.is_no_such_app() => failure,
        Err(failure) => return Err(failure),
    };
    match spec(what, Asked::default(), context) {
        Ok(spec) => create(&mut client, vec![spec], captured, false, update_env),
        // A word that looks like a script was meant as one; any other as an app.
        Err(failure) if looks_like_a_script(what) => Err(failure),
        Err(_) => {
            let failure = super::suggesting(unknown, &mut client, &select);
            Err(failure.and("and there is no such script or program"))
        }
    }
}

fn start(
    client: &mut Client,
    select: &[String],
    captured: &Arc<EnvMap>,
    update_env: bool,
) -> Result<OrderAnswer, Failure> {
    let captured = update_env.then(|| Arc::clone(captured));
    let request = TargetRequest { select: select.to_vec(), captured, ..TargetRequest::default() };
    client.order_outcomes("/v1/start", &request)
}

fn create(
    client: &mut Client,
    apps: Vec<AppSpec>,
    captured: &Arc<EnvMap>,
    replace: bool,
    update_env: bool,
) -> Result<OrderAnswer, Failure> {
    let request = CreateRequest { apps, captured: Arc::clone(captured), replace, update_env };
    client.order_outcomes("/v1/apps", &request)
}

fn spec(what: &OsStr, flags: Asked, context: &Context<'_>) -> Result<AppSpec, Failure> {
    if let Some(name) = Path::new(what).file_name().and_then(OsStr::to_str) {
        let program = [".config.js", ".config.cjs", ".config.mjs"].iter().any(|end| name.ends_with(end));
        if program && flags.interpreter.is_none() && (name.starts_with("ecosystem.") || name.starts_with("pm2.")) {
            let list = "node -p 'JSON.stringify(require(\"./ecosystem.config.js\"))' > apps.json";
            return Err(Failure::new(Exit::Failed, format!("{name} is a program, not a list of apps"))
                .hint(format!("make a list of it: {list}; then start that")));
        }
    }
    let asked = Asked { script: what.into(), ..flags };
    Ok(asked.into_spec(&context.place()?)?)
}

fn read_list(file: &OsStr, context: &Context<'_>) -> Result<Vec<AppSpec>, Failure> {
    let list = appfile::read(Path::new(file), &context.place()?, instances::cpus())?;
    for warning in &list.warnings {
        context.ui.note(&super::super::render::printable(warning));
    }
    Ok(list.apps)
}

/// A file that lists apps. Known by its name alone, so that a missing one is missed as a list, not as a script.
fn is_list(what: &OsStr) -> bool {
    let bytes = what.as_bytes();
    (bytes.ends_with(b".json") || bytes.ends_with(b".toml")) && !bytes.contains(&b' ')
}

/// The word as selectors, if it can be such at all.
fn selector(what: impl AsRef<OsStr>) -> Option<String> {
    let text = what.as_ref().to_str()?;
    Selector::parse_list(text).ok().map(|_| text.to_owned())
}

/// Names hold no '/'; a word that does is a path, unless it is an expression and nothing is there.
fn is_path(what: &OsStr) -> bool {
    let bytes = what.as_bytes();
    let expression = bytes.len() > 2 && bytes.starts_with(b"/") && bytes.ends_with(b"/");
    bytes.contains(&b'/') && (!expression || Path::new(what).exists())
}

fn looks_like_a_script(what: &OsStr) -> bool {
    Path::new(what).exists() || what.as_bytes().iter().any(|b| matches!(b, b'.' | b'/' | b' '))
}

impl AppFlags {
    fn into_asked(self, args: Vec<OsString>) -> Result<Asked, Failure> {
        let mut env = BTreeMap::new();
        for pair in &self.env {
            let bytes = pair.as_bytes();
            let equals = bytes
                .iter()
                .position(|b| *b == b'=')
                .filter(|at| *at > 0)
                .ok_or_else(|| super::usage(format!("--env '{}' is not NAME=VALUE", pair.display())))?;
            env.insert(RawText::from(bytes[..equals].to_vec()), RawText::from(bytes[equals + 1..].to_vec()));
        }
        let mut interpreter_args = Vec::new();
        for words in &self.interpreter_args {
            interpreter_args.extend(command::words(words)?);
        }
        Ok(Asked {
            script: RawText::default(),
            shell: self.shell,
            args: raw(args),
            interpreter: self.interpreter.map(RawText::from),
            interpreter_args,
            name: self.name,
            namespace: self.namespace,
            cwd: self.cwd.map(RawText::from),
            env,
            env_file: raw(self.env_file),
            env_clean: self.env_clean,
            instances: self.instances,
            user: self.user,
            group: self.group,
            umask: self.umask,
            nice: self.nice,
            rlimit: self.rlimit.into_iter().collect(),
            restart: self.restart.or(self.no_autorestart.then_some(RestartPolicy::Never)),
            max_restarts: self.max_restarts,
            min_uptime: self.min_uptime,
            restart_delay: self.restart_delay,
            backoff: self.backoff,
            errored_retry: self.errored_retry,
            stop_signal: self.stop_signal,
            stop_timeout: self.stop_timeout,
            kill_mode: self.kill_mode,
            stop_exit_codes: self.stop_exit_codes,
            autostart: self.no_autostart.then_some(false),
            transient: self.transient,
            memory_max: self.memory_max,
            cpus: self.cpus,
            pids: self.pids,
        })
    }
}

fn raw(words: Vec<OsString>) -> Vec<RawText> {
    words.into_iter().map(RawText::from).collect()
}
