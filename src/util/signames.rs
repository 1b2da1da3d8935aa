//! Signal names and numbers, as `lxc.signal.*` and `lxc-stop` write them.
//!
//! Numbers are the generic Linux ones, the same on x86, arm and arm64 (signal(7)).

/// A signal number, 0 to 64. 0 means "none" where a key allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signal(pub i32);

/// First real-time signal that a program may use: glibc and musl keep 32 and 33 for themselves.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

const NAMES: [(&str, i32); 36] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("UNUSED", 31),
    ("INFO", 29),
];

impl Signal {
    /// SIGHUP.
    pub const HUP: Self = Self(1);
    /// SIGINT.
    pub const INT: Self = Self(2);
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGUSR1.
    pub const USR1: Self = Self(10);
    /// SIGTERM.
    pub const TERM: Self = Self(15);
    /// SIGCHLD.
    pub const CHLD: Self = Self(17);
    /// SIGCONT.
    pub const CONT: Self = Self(18);
    /// SIGPWR.
    pub const PWR: Self = Self(30);
    /// SIGRTMIN+3: systemd's "halt" request (systemd(1), SIGNALS).
    pub const SYSTEMD_HALT: Self = Self(RTMIN + 3);
    /// SIGRTMIN+5: its "reboot" request.
    pub const SYSTEMD_REBOOT: Self = Self(RTMIN + 5);

    /// Parses `SIGxxx` (any case, prefix required), a number, `SIGRTMIN+N` or `SIGRTMAX-N`.
    /// `None` for anything else and for numbers above 64 (`sig_parse` of LXC).
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(n) = text.parse::<i32>() {
            return (0..=RTMAX).contains(&n).then_some(Self(n));
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG")?;
        if let Some(rest) = name.strip_prefix("RTMIN") {
            let n =
                if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse::<i32>().ok()? };
            return (0..=RTMAX - RTMIN).contains(&n).then_some(Self(RTMIN + n));
        }
        if let Some(rest) = name.strip_prefix("RTMAX") {
            let n =
                if rest.is_empty() { 0 } else { rest.strip_prefix('-')?.parse::<i32>().ok()? };
            return (0..=RTMAX - RTMIN).contains(&n).then_some(Self(RTMAX - n));
        }
        NAMES.iter().find(|(known, _)| *known == name).map(|&(_, n)| Self(n))
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((name, _)) = NAMES.iter().find(|&&(_, n)| n == self.0) {
            return write!(f, "SIG{name}");
        }
        match self.0 {
            n if (RTMIN..=RTMAX).contains(&n) => write!(f, "SIGRTMIN+{}", n - RTMIN),
            n => write!(f, "{n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_lxc_parses() {
        assert_eq!(Signal::parse("SIGRTMIN+3"), Some(Signal(37)));
        assert_eq!(Signal::parse("sigpwr"), Some(Signal::PWR));
        assert_eq!(Signal::parse("SIGRTMAX-1"), Some(Signal(63)));
        assert_eq!(Signal::parse("9"), Some(Signal::KILL));
        for bad in ["PWR", "SIG", "65", "-1", "SIGRTMIN+31", "SIGRTMAX+1", ""] {
            assert_eq!(Signal::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn every_number_prints_as_something_that_parses_back() {
        for n in 1..=64 {
            assert_eq!(Signal::parse(&Signal(n).to_string()), Some(Signal(n)));
        }
    }
}
