//! `opm start`: apps that exist, a script, a command, or a file that lists apps.
//!
//! What a word means, in this order: with flags that describe an app (or arguments after `--`), a script or command; a path to
//! a `.json` or `.toml` file, a list of apps; else an app that exists, by any selector, which the daemon knows; else a script
//! or command. So a name wins over a file of that name, as in PM2; `./web` always means the file.

mod flags;
mod log_flags;

use super::super::client::Client;
use super::super::context::Context;
use super::super::exit::{Exit, Failure};
use crate::api::{CreateRequest, OrderAnswer, TargetRequest};
use crate::config::asked::Asked;
use crate::config::env::capture;
use crate::config::{appfile, instances};
use crate::model::{AppSpec, EnvMap, Selector};
use flags::AppFlags;
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
    // A daemon that was started just now for this is starting what is wanted up anyway; that is not to be done twice.
    let leave_running = client.is_new();
    let request = TargetRequest { select: select.to_vec(), captured, leave_running, ..TargetRequest::default() };
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
    what.as_bytes().contains(&b'/') && (!is_expression(what) || Path::new(what).exists())
}

fn is_expression(what: &OsStr) -> bool {
    let bytes = what.as_bytes();
    bytes.len() > 2 && bytes.starts_with(b"/") && bytes.ends_with(b"/")
}

fn looks_like_a_script(what: &OsStr) -> bool {
    let looks = what.as_bytes().iter().any(|b| matches!(b, b'.' | b'/' | b' '));
    Path::new(what).exists() || looks && !is_expression(what)
}
