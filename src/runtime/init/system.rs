//! The small system: shells on the terminals, /etc/rc.local at boot, halt and reboot on the
//! signals that lxc-stop sends. For root file systems without an init of their own (the host
//! template).

use super::terminals::{self, Terminal};
use super::{InitError, sig, signal_all};
use crate::sys::event::{ALL_SIGNALS, Epoll, Event, Ready, SignalFd};
use crate::sys::process::{self, Fork, Pid};
use crate::sys::{SysError, fd, pid1, signal};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// Run at boot when it is executable. It does not hold up the shells.
const BOOT_SCRIPT: &str = "/etc/rc.local";
/// How long processes have between SIGTERM and SIGKILL at the end.
const GRACE: Duration = Duration::from_secs(5);

/// How the container ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Halt,
    Reboot,
}

/// What a signal asks for: LXC's own (SIGPWR, SIGINT), systemd's real-time ones, SIGTERM.
fn asked(signo: i32) -> Option<End> {
    match signo {
        sig::PWR | sig::TERM | sig::RTMIN_3 | sig::RTMIN_4 => Some(End::Halt),
        sig::INT | sig::RTMIN_5 => Some(End::Reboot),
        _ => None,
    }
}

/// Runs until it is told to halt or to reboot.
///
/// # Errors
/// [`InitError::NotInit`] unless this is process 1, and failures to set up the event loop.
pub fn run() -> Result<u8, InitError> {
    if process::own_pid() != 1 {
        return Err(InitError::NotInit);
    }
    let failed = |e: SysError| InitError::Setup("starting the system", e);
    signal::block_all().map_err(failed)?;
    process::umask(0o022);
    // The console is the terminal of whoever started us, or ours: its shell could not take it.
    if let Err(e) = pid1::give_up_terminal(std::io::stdin().as_fd()) {
        log::debug!("{e}");
    }
    let signals = SignalFd::new(ALL_SIGNALS).map_err(failed)?;
    let end = System::new(signals, Path::new("/dev"))?.serve().map_err(failed)?;
    if end == End::Reboot {
        // Returns only when the container may not reboot; then it stops.
        if let Err(e) = pid1::restart_container() {
            say(&format!("lxc-init: rebooting: {e}; halting"));
        }
    }
    Ok(0)
}

fn say(text: &str) {
    let _ = fd::write_all(std::io::stderr().as_fd(), format!("{text}\r\n").as_bytes());
}

struct System {
    signals: SignalFd,
    terminals: Vec<Terminal>,
    end: Option<(End, Instant)>,
    killed: bool,
}

impl System {
    fn new(signals: SignalFd, dev: &Path) -> Result<Self, InitError> {
        start_boot_script(Path::new(BOOT_SCRIPT))
            .map_err(|e| InitError::Setup("running /etc/rc.local", e))?;
        Ok(Self { signals, terminals: terminals::find(dev), end: None, killed: false })
    }

    fn serve(&mut self) -> Result<End, SysError> {
        loop {
            let now = Instant::now();
            self.reap(now)?;
            match self.end {
                Some((end, until)) => {
                    if !pid1::has_children()? {
                        return Ok(end);
                    }
                    if now >= until && !self.killed {
                        signal_all(sig::KILL, None);
                        self.killed = true;
                    }
                }
                None => self.terminals.iter_mut().for_each(|terminal| terminal.wake_if_due(now)),
            }
            self.wait()?;
        }
    }

    /// Sleeps until a signal, input on a terminal, or the next deadline.
    fn wait(&mut self) -> Result<(), SysError> {
        const SIGNAL: u64 = u64::MAX;
        let set = Epoll::new()?;
        set.add(self.signals.as_fd(), SIGNAL, Ready::READ)?;
        let ending = self.end.is_some();
        let mut deadline = self.end.filter(|_| !self.killed).map(|(_, until)| until);
        if !ending {
            for (token, terminal) in (0..).zip(&self.terminals) {
                if let Some(tty) = terminal.input() {
                    set.add(tty, token, Ready::READ)?;
                }
                deadline = [deadline, terminal.deadline()].into_iter().flatten().min();
            }
        }
        let mut events = [Event::EMPTY; 8];
        let left = deadline.map(|until| until.saturating_duration_since(Instant::now()));
        let n = set.wait(&mut events, left)?;
        for event in events.iter().take(n) {
            if event.token == SIGNAL {
                self.take_signals()?;
            } else if let Some(terminal) =
                usize::try_from(event.token).ok().and_then(|n| self.terminals.get_mut(n))
            {
                terminal.input_arrived(Instant::now());
            }
        }
        Ok(())
    }

    fn take_signals(&mut self) -> Result<(), SysError> {
        while let Some(info) = self.signals.read()? {
            let Some(end) = asked(info.signo) else { continue };
            if self.end.is_none() {
                self.end = Some((end, Instant::now() + GRACE));
                // Shells ignore SIGTERM and end on SIGHUP; stopped processes have to wake up.
                for signal in [sig::TERM, sig::HUP, sig::CONT] {
                    signal_all(signal, None);
                }
            }
        }
        Ok(())
    }

    fn reap(&mut self, now: Instant) -> Result<(), SysError> {
        while let Some((pid, _)) = process::reap_any()? {
            self.terminals.iter_mut().any(|terminal| terminal.ended(pid, now));
        }
        Ok(())
    }
}

/// Starts the script if it is there and executable. It is not waited for: a DHCP client without
/// an answer must hold up neither the shells nor a halt.
fn start_boot_script(script: &Path) -> Result<Option<Pid>, SysError> {
    if !crate::sys::dirs::is_executable_file(script) {
        return Ok(None);
    }
    match process::fork()? {
        Fork::Child => {
            let argv = ["/bin/sh".into(), script.as_os_str().to_owned()];
            let env: Vec<_> = std::env::vars_os().collect();
            let run = || -> Result<SysError, SysError> {
                process::setsid()?;
                fd::seal_above(3, &[], fd::Seal::CloseOnExec)?;
                Ok(super::exec_search(&argv, &env))
            };
            let (Ok(error) | Err(error)) = run();
            say(&format!("lxc-init: {}: {error}", script.display()));
            process::exit_now(127)
        }
        Fork::Parent(pid) => Ok(Some(pid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_mean_what_lxc_stop_sends() {
        assert_eq!(asked(sig::PWR), Some(End::Halt));
        assert_eq!(asked(sig::INT), Some(End::Reboot));
        assert_eq!(asked(sig::TERM), Some(End::Halt));
        assert_eq!(asked(sig::HUP), None);
    }

    #[test]
    fn nobody_else_can_be_the_system() {
        assert!(matches!(run(), Err(InitError::NotInit)));
    }
}
