//! lxc-create.

use super::Applet;
use crate::container::Container;
use crate::container::create::{self, Request, Store};
use crate::container::template::Template;
use crate::storage::{self, Format, Kind, Made};
use crate::ui::args::{get, get_text};
use crate::ui::command::{ArgMatches, Command};
use crate::ui::{Context, Failure, help, report};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet = Applet { name: "lxc-create", about: "makes a container", run };

/// What a container is made from when `-t` is missing.
const DEFAULT_TEMPLATE: &str = "host";
/// LXC's backing stores; `best` is btrfs where the container path is on it, else dir.
const STORES: [&str; 10] =
    ["dir", "btrfs", "zfs", "lvm", "loop", "rbd", "overlay", "overlayfs", "nbd", "best"];
/// Options of other backing stores, and what they are for.
const STORE_OPTIONS: [(&str, &str); 9] = [
    ("lvname", "lvm"),
    ("vgname", "lvm"),
    ("thinpool", "lvm"),
    ("fstype", "lvm, loop, rbd"),
    ("fssize", "lvm, loop, rbd"),
    ("zfsroot", "zfs"),
    ("rbdname", "rbd"),
    ("rbdpool", "rbd"),
    ("rbduser", "rbd"),
];

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let asked = get_text(ctx, matches, "template")?;
    if matches.get_flag("help") {
        return help_with_template(asked);
    }
    let store = storage(ctx, matches)?;
    let template = match asked {
        Some("none") => None,
        asked => Some(Template::find(asked.unwrap_or(DEFAULT_TEMPLATE))?),
    };
    let container = Container::new(ctx.lxcpath.clone(), ctx.name())?;
    let request = Request {
        container: &container,
        config: get(matches, "config").map(Path::new),
        template: template.as_ref(),
        args: &ctx.rest,
        store: &store,
        quiet: ctx.quiet,
    };
    match create::create(&request) {
        Ok(created) => {
            created.warnings.iter().for_each(|warning| ctx.warn(warning));
            Ok(ExitCode::SUCCESS)
        }
        Err(e) => {
            let signal = e.interrupted();
            Err(super::interrupted_or(e, signal))
        }
    }
}

fn help_with_template(asked: Option<&str>) -> Result<ExitCode, Failure> {
    report::stderr_text(&help::help(&Command::explained(APPLET.name), APPLET.about));
    if let Some(template) = asked.filter(|name| *name != "none") {
        report::stderr_text("\n");
        Template::find(template)?.show_help()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks `-B` and the options that belong to it.
fn storage(ctx: &Context, matches: &ArgMatches) -> Result<Store, Failure> {
    let stores = get_text(ctx, matches, "bdev")?.unwrap_or("dir");
    let stores: Vec<&str> =
        stores.split(',').map(|s| if s == "none" { "dir" } else { s }).collect();
    let mut kinds = Vec::new();
    for store in &stores {
        if !STORES.contains(store) {
            return Err(Failure::usage(
                ctx.prog,
                format!("\"{store}\" is not a valid backing storage type"),
            ));
        }
        match (*store, Kind::parse(store)) {
            ("best", _) => kinds.extend([Kind::Btrfs, Kind::Dir]),
            (_, Some(kind)) if Kind::NEW.contains(&kind) => kinds.push(kind),
            _ => {}
        }
    }
    if kinds.is_empty() {
        let kind = stores.first().and_then(|word| Kind::parse(word)).unwrap_or(Kind::Dir);
        return Err(Box::new(storage::Fault::NotNew { kind }).into());
    }
    for (name, needs) in STORE_OPTIONS {
        if get(matches, name).is_some() && !needs.split(", ").any(|need| stores.contains(&need)) {
            let block = matches!(name, "fstype" | "fssize") && stores.contains(&"best");
            if !block {
                let text =
                    format!("--{name} is only valid with -B {}", needs.replace(", ", " or "));
                return Err(Failure::usage(ctx.prog, text));
            }
        }
    }
    let dir = match get(matches, "dir").map(PathBuf::from) {
        Some(dir) if !dir.is_absolute() => {
            return Err(Failure::usage(ctx.prog, "--dir should use absolute path"));
        }
        dir => dir,
    };
    let owned = |id| Ok::<_, Failure>(get_text(ctx, matches, id)?.map(str::to_owned));
    let made = Made {
        dir,
        format: format(ctx, matches)?,
        group: owned("vgname")?,
        volume: owned("lvname")?,
        pool: owned("thinpool")?,
        dataset: owned("zfsroot")?,
        usual_pool: None,
    };
    Ok(Store { asked: get(matches, "bdev").is_some(), kinds, made })
}

/// `--fstype` and `--fssize`.
fn format(ctx: &Context, matches: &ArgMatches) -> Result<Format, Failure> {
    let mut format = Format::default();
    if let Some(kind) = get_text(ctx, matches, "fstype")? {
        if !Format::is_type(kind) {
            return Err(Failure::usage(
                ctx.prog,
                format!("--fstype: \"{kind}\" is no file system"),
            ));
        }
        format.fs = kind.to_owned();
    }
    if let Some(text) = get_text(ctx, matches, "fssize")? {
        format.bytes = super::copy::parse_size(ctx, text)?;
    }
    Ok(format)
}
