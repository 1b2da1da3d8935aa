//! Answers one row of the table: in a throw-away process where the kernel is to be asked, and by
//! its configuration and lists of modules where it is not.

use super::host::Host;
use super::kconfig::Built;
use super::modules::Presence;
use super::table::{How, Item};
use super::trial::{Refusal, Tries, enter_user_namespace};
use super::{STATES, State, Verdict};
use super::{cgroups, culprit};
use crate::sys::probe::{self, Call, Tried};
use crate::sys::{SysError, errno, signal};
use std::time::Duration;

/// How long one trial may take. The slowest board's slowest one takes a tenth of it.
const LIMIT: Duration = Duration::from_millis(1500);

/// SIGHUP, SIGINT, SIGQUIT, SIGTERM.
const INTERRUPTS: [i32; 4] = [1, 2, 3, 15];

/// The answer to a row.
pub(super) fn verdict(host: &Host, item: &Item) -> Verdict {
    if !host.live {
        return by_config(host, item).unwrap_or_else(|| Verdict::unknown(""));
    }
    match item.how {
        How::Look(look) | How::V1(look) => look(host),
        How::Config => known(host, item),
        // A tree of files has no kernel that could be asked.
        _ if !host.is_real() => known(host, item),
        How::Call(asked) => call(host, asked),
        How::Try(tries) => guarded(host, item, tries),
        How::Alone(tries) => judged(host, item, attempt(host, tries, false)),
    }
}

/// By the configuration of a kernel; `None` when there is none.
fn by_config(host: &Host, item: &Item) -> Option<Verdict> {
    let config = host.config.as_ref()?;
    if item.symbols.is_empty() {
        return None;
    }
    Some(match config.all(item.symbols) {
        (Built::Not, symbol) => {
            Verdict::absent(format!("CONFIG_{} is not set", symbol.replace('|', " or CONFIG_")))
        }
        (Built::Module, _) if !host.live => Verdict::works("module"),
        _ => Verdict::works(""),
    })
}

/// By everything that is written down about the running kernel.
fn known(host: &Host, item: &Item) -> Verdict {
    if let Some(verdict) = by_modules(host, item) {
        return verdict;
    }
    by_config(host, item).unwrap_or_else(|| {
        let why = if item.symbols.is_empty() { "" } else { "no configuration of this kernel" };
        Verdict::unknown(why)
    })
}

/// By the lists of modules, if they say anything about all of the row's.
fn by_modules(host: &Host, item: &Item) -> Option<Verdict> {
    let mut on_disk = false;
    for name in item.modules.split_whitespace() {
        match host.modules.presence(name) {
            Presence::Unseen => return None,
            Presence::OnDisk => on_disk = true,
            Presence::BuiltIn | Presence::Loaded => {}
        }
    }
    if item.modules.is_empty() {
        return None;
    }
    Some(match (on_disk, host.modules.no_loading) {
        (true, true) => Verdict::blocked("kernel.modules_disabled = 1", "reboot"),
        _ => Verdict::works(""),
    })
}

/// Whether the item's modules are loaded; `None` for what is built in or no module.
pub(super) fn loaded(host: &Host, item: &Item) -> Option<bool> {
    let name = item.modules.split_whitespace().next().filter(|_| host.live)?;
    match host.modules.presence(name) {
        Presence::Loaded if is_module(host, item) => Some(true),
        Presence::OnDisk => Some(false),
        _ => None,
    }
}

/// What is built in may have a directory in /sys/module too.
fn is_module(host: &Host, item: &Item) -> bool {
    let built = host.config.as_ref().map(|config| config.all(item.symbols).0);
    built != Some(Built::In)
}

/// Tries it, unless that would make the kernel load a module.
fn guarded(host: &Host, item: &Item, tries: Tries) -> Verdict {
    let on_disk = |name: &str| host.modules.presence(name) == Presence::OnDisk;
    if item.modules.split_whitespace().any(on_disk) {
        return known(host, item);
    }
    judged(host, item, attempt(host, tries, false).or_else(|refusal| again(host, tries, refusal)))
}

/// An ordinary user who is refused may be allowed in a user namespace.
fn again(host: &Host, tries: Tries, refusal: Refusal) -> Result<Verdict, Refusal> {
    if host.euid == 0 || !is_denial(refusal.errno) {
        return Err(refusal);
    }
    let mut verdict = attempt(host, tries, true).map_err(|_| refusal)?;
    if verdict.state == State::Works && verdict.detail.is_empty() {
        verdict.detail = "in a user namespace".to_owned();
    }
    Ok(verdict)
}

fn is_denial(number: i32) -> bool {
    matches!(number, errno::EPERM | errno::EACCES)
}

/// What an answer or a refusal means.
fn judged(host: &Host, item: &Item, answer: Result<Verdict, Refusal>) -> Verdict {
    let Refusal { errno: number, text } = match answer {
        Ok(verdict) => return verdict,
        Err(refusal) => refusal,
    };
    let listed = by_modules(host, item).is_some();
    let built = match by_config(host, item) {
        Some(verdict) if verdict.state == State::Absent && !listed => return verdict,
        configured => listed || configured.is_some(),
    };
    match number {
        errno::ENOSPC => culprit::of_limit(host, &text),
        errno::ETIMEDOUT => Verdict::unknown(text),
        _ if is_denial(number) && host.euid == 0 => culprit::of_root(host, &text),
        _ if is_denial(number) && built => Verdict::new(State::RootOnly, ""),
        _ if is_denial(number) => Verdict::unknown(format!("only root can find out: {text}")),
        // A filter may answer so in place of a call that the kernel has.
        errno::ENOSYS if built && culprit::is_filtered(host) => {
            Verdict::blocked(culprit::FILTER, "")
        }
        _ if built => Verdict::new(State::Blocked, text),
        _ => Verdict::absent(text),
    }
}

fn call(host: &Host, call: Call) -> Verdict {
    match probe::run(LIMIT, &mut || call.ask().to_ne_bytes().to_vec()) {
        Tried::Said(bytes) => match bytes.try_into().map(i32::from_ne_bytes) {
            Ok(errno::ENOSYS) if culprit::is_filtered(host) => {
                Verdict::absent("missing, or hidden by a seccomp filter")
            }
            Ok(errno::ENOSYS) => Verdict::absent(""),
            Ok(e @ errno::EPERM) if host.euid == 0 => {
                culprit::of_root(host, &SysError::new(call.name(), "", e).to_string())
            }
            Ok(_) => Verdict::works(""),
            Err(_) => Verdict::unknown("the trial ended without an answer"),
        },
        other => unanswered(&other).unwrap_or_else(|r| Verdict::unknown(r.text)),
    }
}

/// Runs a trial in a process of its own. Who interrupts us meanwhile is heard when nothing of it is
/// left: its groups are the host's.
fn attempt(host: &Host, tries: Tries, in_userns: bool) -> Result<Verdict, Refusal> {
    let mask = signal::block(&INTERRUPTS);
    let tried = probe::run(LIMIT, &mut || {
        let result = match in_userns {
            true => enter_user_namespace(host.euid, host.egid)
                .map_err(Refusal::from)
                .and_then(|()| tries(host)),
            false => tries(host),
        };
        encode(&result)
    });
    if !matches!(tried, Tried::Said(_)) {
        cgroups::clean_up();
    }
    if let Ok(mask) = mask {
        let _ = signal::restore(&mask);
    }
    match tried {
        Tried::Said(bytes) => decode(&bytes),
        other => unanswered(&other),
    }
}

fn unanswered(tried: &Tried) -> Result<Verdict, Refusal> {
    match tried {
        Tried::Late => {
            let text = "the trial did not end in time".to_owned();
            Err(Refusal { errno: errno::ETIMEDOUT, text })
        }
        Tried::Killed(probe::SIGSYS) => {
            Ok(Verdict::blocked("a seccomp filter, which kills who tries", ""))
        }
        Tried::Killed(signal) => {
            Ok(Verdict::unknown(format!("the trial was killed by signal {signal}")))
        }
        Tried::Failed(error) => Ok(Verdict::unknown(error.to_string())),
        Tried::Said(_) => Ok(Verdict::unknown("")),
    }
}

/// A byte, then one or two texts.
fn encode(result: &Result<Verdict, Refusal>) -> Vec<u8> {
    let (mut bytes, one, other) = match result {
        Ok(v) => (vec![v.state as u8, 0, 0, 0, 0], &v.detail, v.mend.as_str()),
        Err(r) => {
            let mut bytes = vec![REFUSED];
            bytes.extend_from_slice(&r.errno.to_ne_bytes());
            (bytes, &r.text, "")
        }
    };
    bytes.extend_from_slice(one.as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(other.as_bytes());
    bytes
}

const REFUSED: u8 = 255;

fn decode(bytes: &[u8]) -> Result<Verdict, Refusal> {
    let text = String::from_utf8_lossy(bytes.get(5..).unwrap_or_default()).into_owned();
    let (one, other) = text.split_once('\0').unwrap_or((&text, ""));
    match (bytes.first(), bytes.get(1..5).and_then(|b| b.try_into().ok())) {
        (Some(&REFUSED), Some(number)) => {
            Err(Refusal { errno: i32::from_ne_bytes(number), text: one.to_owned() })
        }
        (Some(&state), _) => {
            let state = STATES.get(usize::from(state)).map_or(State::Unknown, |row| row.0);
            Ok(Verdict::new(state, one).mend(other))
        }
        _ => Ok(Verdict::unknown("the trial ended without an answer")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::error::errno_text;

    #[test]
    fn answers_survive_the_pipe() {
        for (state, _) in STATES {
            let verdict = Verdict::new(state, "a: b").mend("c d");
            assert_eq!(decode(&encode(&Ok(verdict.clone()))), Ok(verdict));
        }
        let refusal = Refusal { errno: errno::EPERM, text: errno_text(errno::EPERM) };
        assert_eq!(decode(&encode(&Err(refusal.clone()))), Err(refusal));
        assert_eq!(decode(&[]).unwrap().state, State::Unknown);
        assert_eq!(decode(&[77]).unwrap().state, State::Unknown);
    }
}
