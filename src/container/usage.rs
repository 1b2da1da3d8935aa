//! What all running containers use, asked again and again: for lxc-top.

use super::Container;
use super::info::{self, Meter, Usage};
use crate::control::client::ClientError;
use crate::control::state::State;
use crate::sys::SysError;
use crate::util::ere::Ere;
use crate::util::sentence::sentence;
use std::path::Path;

/// A container with a monitor.
pub struct User {
    /// Its name.
    pub name: String,
    /// Its state and figures, or why there are none.
    pub usage: Result<(State, Usage), String>,
}

/// Monitors that are asked at the same time; those that are stuck cost one second together.
const ASKED_AT_ONCE: usize = 128;

/// The running containers of `lxcpath` whose names match `only`, by name.
///
/// # Errors
/// It cannot be found out which there are.
pub fn users(lxcpath: &Path, only: Option<&Ere>, meter: &mut Meter) -> Result<Vec<User>, SysError> {
    let mut names = info::active(lxcpath, &super::list::defined(lxcpath)?)?;
    names.retain(|name| only.is_none_or(|only| only.is_match(name)));
    names.sort_unstable();
    let mut users = Vec::with_capacity(names.len());
    for chunk in names.chunks(ASKED_AT_ONCE) {
        let containers = chunk.iter().filter_map(|name| {
            let client = Container::new(lxcpath.to_owned(), name).ok()?.client();
            client.ask_status();
            Some((name, client))
        });
        let asked: Vec<_> = containers.collect();
        for (name, client) in asked {
            let usage = match info::status(&client) {
                // It has ended in between.
                Ok(status) if status.state == State::Stopped => continue,
                Ok(status) => Ok((status.state, meter.usage(&client))),
                Err(ClientError::NotRunning { .. }) => continue,
                Err(e) => Err(sentence(&e)),
            };
            users.push(User { name: name.clone(), usage });
        }
    }
    Ok(users)
}
