//! The programs of the host that do a part of the work: found at fixed places, run without a
//! shell and with nothing of the caller's environment.

use super::error::Fault;
use crate::hostnet::error::{HostNetError, system};
use crate::sys::dirs;
use crate::sys::process::Wait;
use crate::sys::spawn::run_keeping;
use std::path::Path;

const PLACES: [&str; 6] =
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// The rules of a host with many containers of other kinds are long.
const KEEP: usize = 8 << 20;

/// The path of `name`, if it is installed.
pub(super) fn find(name: &str) -> Option<String> {
    let mut paths = PLACES.iter().map(|place| format!("{place}/{name}"));
    paths.find(|path| dirs::is_executable_file(Path::new(path)))
}

/// Runs a program and gives back what it printed.
///
/// # Errors
/// It cannot be run, or ended with anything but status 0; its last line is in the error.
pub(super) fn run(argv: &[&str]) -> Result<String, HostNetError> {
    let env = [
        ("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("LC_ALL".to_owned(), "C".to_owned()),
    ];
    let output = run_keeping(argv, &env, &[], KEEP).map_err(system("running a program"))?;
    let text = String::from_utf8_lossy(&output.text).into_owned();
    let how = match output.status {
        Wait::Exited(0) => return Ok(text),
        Wait::Exited(status) => format!("ended with status {status}"),
        Wait::Signaled(signal) => format!("was ended by signal {signal}"),
        Wait::Running => "did not end".to_owned(),
    };
    let first = text.lines().map(str::trim).find(|line| !line.is_empty());
    let name = argv[0].rsplit('/').next().unwrap_or_default();
    Err(Box::new(Fault::Program {
        program: name.to_owned(),
        how,
        output: first.map(|line| format!(": {line}")).unwrap_or_default(),
        hint: None,
    }))
}
