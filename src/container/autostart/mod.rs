//! Starting and ending many containers in their order: lxc-autostart.
//!
//! `plan` decides, without looking at anything; `run` is one poll loop over a process per
//! container that is worked on; `job` is what those processes do. Start reading at [`survey`].

mod job;
pub mod plan;
pub mod run;

use super::Container;
use super::{info, list};
use crate::sys::SysError;
use crate::util::sentence::sentence;
use plan::Candidate;
use std::path::Path;

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
            Err(e) => one.broken = Some(sentence(&e)),
        }
        all.push(one);
    }
    Ok(all)
}
