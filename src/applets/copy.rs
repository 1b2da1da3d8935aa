//! lxc-copy: copies, renames, and starts throw-away copies.

use super::Applet;
use crate::container::Container;
use crate::container::copy::ephemeral::{Ephemeral, Mount, suffix};
use crate::container::copy::{self, CopyError, Keep, Request, rename};
use crate::container::destroy::{self, Options as DestroyOptions};
use crate::container::start::Start;
use crate::container::{guest, power};
use crate::runtime::attach::{Attachment, EnvRules, Options as AttachOptions};
use crate::runtime::daemon::Mode;
use crate::storage::clone::Wish;
use crate::storage::{Format, Kind, Made};
use crate::sys::copy::Copied;
use crate::sys::{dirs, sealed};
use crate::ui::args::{self, get, get_text};
use crate::ui::command::ArgMatches;
use crate::ui::progress::{Progress, Removals};
use crate::ui::{Context, Failure, out};
use crate::util::time::Patience;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet {
    name: "lxc-copy",
    about: "copies or renames a container, or starts a throw-away copy",
    run,
};

/// How long a throw-away copy has to halt after its command.
const HALT_SECONDS: i64 = 60;

/// `--fssize`, here and in lxc-create.
pub(super) fn parse_size(ctx: &Context, text: &str) -> Result<u64, Failure> {
    Format::parse_size(text)
        .ok_or_else(|| Failure::usage(ctx.prog, format!("--fssize: \"{text}\" is no size")))
}

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let [ephemeral, rename, tmpfs, keep_data] =
        ["ephemeral", "rename", "tmpfs", "keepdata"].map(|id| matches.get_flag(id));
    let newname = get_text(ctx, matches, "newname")?;
    let conflict = [
        (ephemeral && rename, "-e and -R exclude each other"),
        (
            tmpfs && keep_data,
            "a container on a tmpfs cannot keep its data: -t and -D exclude each other",
        ),
        (newname.is_none() && !ephemeral, "You must provide a NEWNAME for the clone"),
    ];
    if let Some((_, text)) = conflict.into_iter().find(|(there, _)| *there) {
        return Err(Failure::usage(ctx.prog, text));
    }
    // What -d and -D ask for is so without -e.
    for id in ["tmpfs", "mount", "foreground"] {
        if matches.get_flag(id) && !ephemeral {
            return Err(Failure::usage(ctx.prog, format!("--{id} is only valid with -e")));
        }
    }
    if ephemeral {
        // Before anything is made: this may start the program anew.
        sealed::ensure_shared(APPLET.name)?;
    }
    let source = super::container(ctx)?;
    let newpath = get(matches, "newpath").map_or(Ok(ctx.lxcpath.clone()), std::path::absolute);
    let newpath = newpath.map_err(|_| Failure::usage(ctx.prog, "--newpath is no path"))?;
    // One that is misspelt is not made, as in LXC.
    if get(matches, "newpath").is_some() && !dirs::exists(&newpath) {
        let text = format!("there is no container path {}", args::quoted(newpath.as_os_str()));
        return Err(Failure::new(text).hint(format!("mkdir -p {}", newpath.display())));
    }
    let name = match newname {
        Some(name) => name.to_owned(),
        None => free_name(&source, &newpath)?,
    };
    let target = Container::new(newpath, &name)?;
    let throw_away = Ephemeral { keep: keep_data, tmpfs, mounts: mounts(ctx, matches)? };
    let words = super::start::words(ctx)?;
    let removals = Removals::show(ctx.quiet);
    let mut progress = Progress::new(ctx.quiet);
    let mut request = Request {
        source: &source,
        target: &target,
        wish: wish(ctx, matches)?,
        keep: Keep { name: matches.get_flag("keepname"), mac: matches.get_flag("keepmac") },
        allow_running: matches.get_flag("allowrunning"),
        hook_args: if ephemeral { &[] } else { &words },
        hook_name: None,
        files: Vec::new(),
        ephemeral: ephemeral.then_some(&throw_away),
        progress: &mut |done: &Copied| progress.show(done.objects, done.bytes),
    };
    let done = if rename { rename::rename(&mut request) } else { copy::copy(&mut request) };
    drop((progress, removals));
    let made = done.map_err(failure)?;
    made.notes.iter().for_each(|note| ctx.warn(note));
    if !ephemeral {
        return Ok(ExitCode::SUCCESS);
    }
    if !ctx.quiet {
        let mut text = format!("Created {name} as clone of {}", source.name());
        if tmpfs {
            text.push_str(
                "\nContainer is placed on tmpfs.\n\
                 Rebooting will cause all changes made to it to be lost!",
            );
        }
        out::line(&text)?;
    }
    let foreground = matches.get_flag("foreground") && !matches.get_flag("daemon");
    let mode = if foreground && words.is_empty() { Mode::Foreground } else { Mode::Daemon };
    let started = start(ctx, &target, mode, &words);
    if started.is_err() {
        let force = DestroyOptions { force: true, snapshots: false };
        if let Err(e) = destroy::destroy(&target, force) {
            ctx.warn(&crate::ui::report::sentence(&e));
        }
    }
    started.map(|()| ExitCode::SUCCESS)
}

fn failure(error: CopyError) -> Failure {
    let signal = error.interrupted();
    super::interrupted_or(error, signal)
}

/// `NAME_XXXXXX`.
fn free_name(source: &Container, path: &std::path::Path) -> Result<String, Failure> {
    loop {
        let name = format!("{}_{}", source.name(), suffix()?);
        if !crate::sys::dirs::exists(&path.join(&name)) {
            return Ok(name);
        }
    }
}

fn mounts(ctx: &Context, matches: &ArgMatches) -> Result<Vec<Mount>, Failure> {
    let mut all = Vec::new();
    for text in matches.get_many("mount") {
        let text = text.to_str().ok_or_else(|| Failure::usage(ctx.prog, "--mount wants text"))?;
        all.extend(Mount::parse_all(text)?);
    }
    Ok(all)
}

fn wish(ctx: &Context, matches: &ArgMatches) -> Result<Wish, Failure> {
    let store = match get_text(ctx, matches, "backingstorage")? {
        None => None,
        Some(word) => Some(Kind::parse(word).ok_or_else(|| {
            let text = format!("\"{word}\" is not a valid backing storage type");
            Failure::usage(ctx.prog, text)
        })?),
    };
    let mut made = Made::default();
    let size = get_text(ctx, matches, "fssize")?;
    if let Some(text) = size {
        made.format.bytes = parse_size(ctx, text)?;
    }
    Ok(Wish {
        store,
        snapshot: matches.get_flag("snapshot") || matches.get_flag("ephemeral"),
        stack: matches.get_flag("tmpfs"),
        resize: size.is_some(),
        made,
    })
}

/// Starts a throw-away copy, runs the command in it if there is one, and has it halt then.
fn start(ctx: &Context, target: &Container, mode: Mode, words: &[String]) -> Result<(), Failure> {
    let start = Start {
        container: target.clone(),
        rcfile: None,
        defines: Vec::new(),
        command: Vec::new(),
        execute: false,
        quiet: false,
        mode,
        pidfile: None,
    };
    let prepared = start.prepare()?;
    super::start::go(ctx, start, prepared)?;
    if words.is_empty() {
        return Ok(());
    }
    let config = target.load()?.config;
    let attachment = Attachment::open(Attachment::ask(target.lxcpath(), target.name()))?;
    let options = AttachOptions {
        command: words.iter().map(Into::into).collect(),
        environment: EnvRules { clear: true, ..EnvRules::default() },
        ..AttachOptions::default()
    };
    attachment.run(&config, &options)?;
    let asked = match power::ask(target, guest::Request::Halt, Patience::seconds(HALT_SECONDS)) {
        Err(e) if e.is_not_running() => return Ok(()),
        asked => asked?,
    };
    match asked.wait(target) {
        Err(power::PowerError::TooSlow { .. }) => {
            power::kill(&target.client(), Patience::Forever)?;
            Ok(())
        }
        done => Ok(done?),
    }
}
