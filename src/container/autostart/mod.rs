//! Starting and ending many containers in their order: lxc-autostart.
//!
//! `plan` decides, without looking at anything; `run` is one poll loop over a process per
//! container that is worked on; `job` is what those processes do. Start reading at [`survey`].

mod job;
pub mod plan;
pub mod run;

use super::Container;
use super::{info, list};
use crate::config::keys::Options;
use crate::config::{Config, document};
use crate::sys::{SysError, fd};
use crate::util::sentence::sentence;
use plan::Candidate;
use std::path::Path;

/// The lines of a broken configuration that say when it is meant; `None` if those are not to be
/// understood either.
fn meant(file: &Path) -> Option<Config> {
    const KEYS: [&str; 4] = ["lxc.start.auto", "lxc.start.order", "lxc.group", "lxc.include"];
    let text = fd::read_to_string(file).ok()?;
    let key = |line: &str| line.split('=').next().map(str::trim).unwrap_or_default().to_owned();
    let lines = text.lines().filter(|line| KEYS.contains(&key(line).as_str()));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    Some(document::parse(text.into(), file, &Options::default()).ok()?.config)
}

/// The defined containers of a path, as the plan needs them.
///
/// # Errors
/// The path cannot be read. A broken configuration is in its candidate.
pub fn survey(lxcpath: &Path) -> Result<Vec<Candidate>, SysError> {
    // Not there is no success here: whoever calls us expects containers.
    crate::sys::dirs::names(lxcpath)?;
    let names = list::defined(lxcpath)?;
    let active = info::active(lxcpath, &names)?;
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        let Ok(container) = Container::new(lxcpath.to_owned(), &name) else { continue };
        let running = active.binary_search(&name).is_ok();
        let mut one = Candidate { name, running, ..Candidate::default() };
        match container.load() {
            Ok(loaded) => {
                one.start = loaded.config.start;
                one.groups = loaded.config.groups;
            }
            Err(e) => {
                one.broken = Some(sentence(&e));
                match meant(&container.config_file()) {
                    Some(config) => (one.start, one.groups) = (config.start, config.groups),
                    None => one.opaque = true,
                }
            }
        }
        all.push(one);
    }
    Ok(all)
}
