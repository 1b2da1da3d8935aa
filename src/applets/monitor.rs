//! lxc-monitor.

use super::Applet;
use crate::container::observe::{self, Heard, Notice};
use crate::sys::event::{Epoll, Event, Ready};
use crate::ui::args::{lxcpaths, pattern};
use crate::ui::command::ArgMatches;
use crate::ui::{Context, Failure, out};
use std::os::fd::AsFd;
use std::process::ExitCode;

/// The registry's entry.
pub const APPLET: Applet =
    Applet { name: "lxc-monitor", about: "tells of every change of state of the containers", run };

fn run(ctx: &Context, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let only = pattern(ctx, matches)?;
    let paths = lxcpaths(ctx, matches);
    if matches.get_flag("quit") {
        let mut status = ExitCode::SUCCESS;
        for path in &paths {
            if let Err(e) = observe::quit(path) {
                ctx.warn_error(&e);
                status = ExitCode::FAILURE;
            }
        }
        return Ok(status);
    }
    let mut observers = Vec::new();
    let epoll = Epoll::new()?;
    for (token, path) in (0..).zip(&paths) {
        let observer = observe::observe(path)?;
        epoll.add(observer.as_fd(), token, Ready::READ)?;
        observers.push(observer);
    }
    let mut events = [Event::EMPTY; 8];
    let mut out = out::Out::new();
    loop {
        let n = epoll.wait(&mut events, None)?;
        for event in &events[..n] {
            let Some(at) = usize::try_from(event.token).ok() else { continue };
            loop {
                match observers[at].hear()? {
                    Heard::Nothing => break,
                    Heard::End => {
                        out.flush()?;
                        let path = paths[at].display();
                        return Err(Failure::new(format!("lxc-monitord of {path} has ended")));
                    }
                    Heard::Notice(name, notice) => {
                        if only.as_ref().is_none_or(|only| only.is_match(&name)) {
                            out.line(&told(&name, notice))?;
                        }
                    }
                }
            }
        }
        out.flush()?;
    }
}

/// The line that LXC's tool prints, and scripts look for.
fn told(name: &str, notice: Notice) -> String {
    match notice {
        Notice::State(state) => format!("'{name}' changed state to [{state}]"),
        Notice::ExitStatus(status) => {
            format!("'{name}' exited with status [{}]", status >> 8 & 0xff)
        }
    }
}
