//! Value parsers and printers of the configuration: text to type and back, pure.
//!
//! A [`Codec`] is the pair for one type; rows of the key table name one. `net.rs` has the
//! addresses and names of `lxc.net.*`, `auto.rs` the words of `lxc.mount.auto`. Numbers follow C's strtoul with base 0, as LXC's do.

mod auto;
pub mod net;

pub use auto::{mount_auto, show_mount_auto};

use super::{Arch, Cap, ConsolePath, IdKind, IdMapEntry, Limit, NsKind, Readiness, Signal};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Why a value was refused; the sentence that follows `KEY: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a number at all.
    #[error("'{0}' is not a number")]
    Number(String),
    /// A number out of its range.
    #[error("{value} is not between {min} and {max}")]
    Range {
        /// As written.
        value: String,
        /// Least value.
        min: i64,
        /// Greatest value.
        max: u64,
    },
    /// Not one of a few words.
    #[error("'{value}' is none of: {words}")]
    Word {
        /// As written.
        value: String,
        /// The words, separated by blanks.
        words: &'static str,
    },
    /// Text of another shape.
    #[error("'{value}' is not {what}")]
    Shape {
        /// As written.
        value: String,
        /// What was expected, with its article.
        what: &'static str,
    },
    /// Longer than the kernel takes.
    #[error("'{value}' is longer than {max} characters")]
    Long {
        /// As written.
        value: String,
        /// How many characters fit.
        max: usize,
    },
    /// Two settings that exclude each other.
    #[error("{0} is set already, and the two exclude each other")]
    Excluded(&'static str),
    /// A key of another network type, or one written before the type.
    #[error("needs 'lxc.net.{index}.type = {kind}' above it")]
    NeedsType {
        /// The N of `lxc.net.N`.
        index: u32,
        /// The type's word.
        kind: &'static str,
    },
    /// `lxc.network.*` without a number before the first `lxc.network.type`.
    #[error("comes before the first lxc.network.type")]
    NoNetwork,
    /// `lxc.environment = NAME` where NAME is not set.
    #[error("'{0}' has no value here: the environment does not have it")]
    Unset(String),
    /// A key that only clears.
    #[error("takes an empty value only, which clears it")]
    ClearOnly,
    /// No random bytes could be had for an address template.
    #[error("no random digits for '{0}'")]
    Random(String),
}

impl ValueError {
    /// A range error.
    pub fn range(value: &str, min: i64, max: u64) -> Self {
        Self::Range { value: value.to_owned(), min, max }
    }

    /// A shape error.
    pub fn shape(value: &str, what: &'static str) -> Self {
        Self::Shape { value: value.to_owned(), what }
    }
}

/// What every parser returns.
pub type Parsed<T> = Result<T, ValueError>;

/// How one type is written.
pub struct Codec<T> {
    /// What a person may write, for the reference.
    pub shape: &'static str,
    /// Text to value; the text is trimmed and not empty.
    pub parse: fn(&str) -> Parsed<T>,
    /// Value to text, appended; what it prints parses back to the same value.
    pub show: fn(&T, &mut String),
}

/// C's strtol(text, NULL, 0) over the whole text, decimal, 0x hexadecimal or 0 octal, from `min`
/// to `max`. What is a number but not one of these is told apart from what is none.
fn number(text: &str, min: i64, max: u64) -> Parsed<i128> {
    let (sign, digits) = match text.strip_prefix(['+', '-']) {
        Some(rest) => (if text.starts_with('-') { -1 } else { 1 }, rest),
        None => (1, text),
    };
    let (digits, radix) = match digits.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (&digits[2..], 16),
        [b'0', _, ..] => (&digits[1..], 8),
        _ => (digits, 10),
    };
    // from_str_radix takes a sign of its own.
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(ValueError::Number(text.to_owned()));
    }
    match u64::from_str_radix(digits, radix).map(|value| i128::from(value) * sign) {
        Ok(value) if (min.into()..=max.into()).contains(&value) => Ok(value),
        _ => Err(ValueError::range(text, min, max)),
    }
}

/// A number of 64 bits.
fn unsigned(text: &str) -> Parsed<u64> {
    number(text, 0, u64::MAX).map(|n| n as u64)
}

fn uint(text: &str) -> Parsed<u32> {
    number(text, 0, u32::MAX.into()).map(|n| n as u32)
}

fn display<T: std::fmt::Display>(value: &T, out: &mut String) {
    let _ = write!(out, "{value}");
}

/// `0` or `1`.
pub const BOOL: Codec<bool> = Codec {
    shape: "0|1",
    parse: |text| number(text, 0, 1).map(|n| n == 1),
    show: |value, out| out.push(if *value { '1' } else { '0' }),
};

/// `0` is no, any other number yes.
pub const NONZERO: Codec<bool> =
    Codec { shape: "0|1", parse: |text| Ok(uint(text)? != 0), show: BOOL.show };

/// `0` or `1`, with a third state when not written (reads back as `0`).
pub const MAYBE_BOOL: Codec<Option<bool>> = Codec {
    shape: "0|1",
    parse: |text| (BOOL.parse)(text).map(Some),
    show: |value, out| (BOOL.show)(&value.unwrap_or(false), out),
};

/// A number of 32 bits.
pub const UINT: Codec<u32> = Codec { shape: "number", parse: uint, show: display };

/// A number of 32 bits, unset until written.
pub const MAYBE_UINT: Codec<Option<u32>> = Codec {
    shape: "number",
    parse: |text| uint(text).map(Some),
    show: |value, out| value.iter().for_each(|n| display(n, out)),
};

/// A number of 32 bits that may be negative.
pub const INT: Codec<i32> = Codec {
    shape: "number",
    parse: |text| number(text, i32::MIN.into(), i32::MAX as u64).map(|n| n as i32),
    show: display,
};

/// `lxc.hook.version`.
pub const HOOK_VERSION: Codec<u8> =
    Codec { shape: "0|1", parse: |text| (BOOL.parse)(text).map(u8::from), show: display };

fn text(value: &str) -> Parsed<Option<String>> {
    Ok(Some(value.to_owned()))
}

fn show_text(value: &Option<String>, out: &mut String) {
    value.iter().for_each(|v| out.push_str(v));
}

/// Any text.
pub const TEXT: Codec<Option<String>> = Codec { shape: "text", parse: text, show: show_text };

/// The name of a container, as an element of a list.
pub const CONTAINER: Codec<String> = Codec {
    shape: "name",
    parse: |value| match crate::util::name::check(value) {
        Ok(()) => Ok(value.to_owned()),
        Err(_) => Err(ValueError::shape(value, "a container's name")),
    },
    show: ITEM.show,
};

/// `lxc.start.ready`.
pub const READINESS: Codec<Readiness> = Codec {
    shape: "running|address|notify|/command",
    parse: |value| match value {
        "running" => Ok(Readiness::Running),
        "address" => Ok(Readiness::Address),
        "notify" => Ok(Readiness::Notify),
        _ if value.starts_with('/') => match crate::util::words::split(value) {
            Ok(_) => Ok(Readiness::Command(value.to_owned())),
            Err(_) => Err(ValueError::shape(value, "a command whose quotes are closed")),
        },
        _ => Err(ValueError::shape(
            value,
            "running, address, notify or a command in the container that begins with '/'",
        )),
    },
    show: |value, out| {
        out.push_str(match value {
            Readiness::Running => "running",
            Readiness::Address => "address",
            Readiness::Notify => "notify",
            Readiness::Command(line) => line,
        });
    },
};

/// Any text, as an element of a list.
pub const ITEM: Codec<String> =
    Codec { shape: "text", parse: |value| Ok(value.to_owned()), show: |v, out| out.push_str(v) };

/// A command line.
pub const COMMAND: Codec<Option<String>> = Codec { shape: "command", parse: text, show: show_text };

/// A command line, as an element of a list.
pub const COMMAND_ITEM: Codec<String> =
    Codec { shape: "command", parse: ITEM.parse, show: ITEM.show };

/// An fstab(5) line.
pub const FSTAB_LINE: Codec<String> =
    Codec { shape: "fstab line", parse: ITEM.parse, show: ITEM.show };

/// A path on the host or in the container.
pub const PATH: Codec<Option<PathBuf>> = Codec {
    shape: "path",
    parse: |value| Ok(Some(value.into())),
    show: |value, out| value.iter().for_each(|p| out.push_str(&p.to_string_lossy())),
};

/// `lxc.uts.name`: what sethostname(2) takes.
pub const HOSTNAME: Codec<Option<String>> = Codec {
    shape: "name",
    parse: |value| match value.len() {
        0..=64 => text(value),
        _ => Err(ValueError::Long { value: value.to_owned(), max: 64 }),
    },
    show: show_text,
};

/// A path below a cgroup root: `..` is refused, a leading slash means nothing and is dropped.
pub const CGROUP_PATH: Codec<Option<String>> =
    Codec { shape: "relative path", parse: relative, show: show_text };

/// `lxc.tty.dir`: a directory below /dev.
pub const DEV_DIR: Codec<Option<String>> =
    Codec { shape: "directory below /dev", parse: relative, show: show_text };

fn relative(value: &str) -> Parsed<Option<String>> {
    let path = value.trim_start_matches('/');
    if path.is_empty() || path.split('/').any(|part| part == "..") {
        return Err(ValueError::shape(value, "a relative path without '..'"));
    }
    text(path)
}

/// A single path component.
pub const COMPONENT: Codec<Option<String>> = Codec {
    shape: "directory name",
    parse: |value| match value {
        "." | ".." => Err(ValueError::shape(value, "a directory name")),
        _ if value.contains('/') => Err(ValueError::shape(value, "a directory name")),
        _ => text(value),
    },
    show: show_text,
};

/// Bytes, with KB, MB, GB in powers of 1024. LXC reads a single letter (`1M`) as plain bytes;
/// here it means what everybody means by it, and B is bytes.
pub fn size(value: &str) -> Parsed<u64> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    // Hexadecimal digits are letters too.
    let (digits, unit) = match unsigned(value) {
        Ok(_) => (value, ""),
        Err(_) => (digits, &value[digits.len()..]),
    };
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" => 10,
        "M" | "MB" => 20,
        "G" | "GB" => 30,
        _ => return Err(ValueError::shape(value, "a size such as 4096, 64KB, 1MB or 2GB")),
    };
    let count = unsigned(digits.trim_end())?;
    count.checked_mul(1 << shift).ok_or_else(|| ValueError::range(value, 0, u64::MAX))
}

/// Plain bytes.
pub const SIZE: Codec<u64> = Codec { shape: "size", parse: size, show: display };

/// A console buffer or log: `auto` is 128 KB; at least one page and rounded up to a power of
/// two, as LXC does. 0 is off, though LXC makes it one page.
pub const BUFFER_SIZE: Codec<u64> = Codec {
    shape: "auto|size",
    parse: |value| {
        if value == "auto" {
            return Ok(128 << 10);
        }
        match size(value)? {
            0 => Ok(0),
            n => n
                .max(4096)
                .checked_next_power_of_two()
                .ok_or_else(|| ValueError::range(value, 0, 1 << 63)),
        }
    },
    show: display,
};

/// A signal that may be unset; reads back as its number, `0` when unset.
pub const SIGNAL: Codec<Option<Signal>> = Codec {
    shape: "signal",
    parse: |value| match parse_signal(value)? {
        Signal(0) => Ok(None),
        signal => Ok(Some(signal)),
    },
    show: |value, out| display(&value.map_or(0, |s| s.0), out),
};

/// `lxc.monitor.signal.pdeath`: unset is SIGKILL, `0` is none.
pub const DEATH_SIGNAL: Codec<Option<Signal>> = Codec {
    shape: "signal",
    parse: |value| parse_signal(value).map(Some),
    show: |value, out| display(&value.unwrap_or(Signal::KILL).0, out),
};

fn parse_signal(value: &str) -> Parsed<Signal> {
    let what = "a signal such as SIGPWR, SIGRTMIN+3 or 30";
    Signal::parse(value).ok_or_else(|| ValueError::shape(value, what))
}

/// Words that name a 32-bit personality, then those of a 64-bit one (the list of lxc.arch).
const ARCHS: &str = "arm armel armhf armv7l athlon i386 i486 i586 i686 linux32 mips mipsel ppc \
    powerpc x32 x86 aarch64 amd64 arm64 linux64 loongarch64 loong64 mips64 mips64el ppc64 ppc64el \
    ppc64le powerpc64 riscv64 s390x x86_64";

/// `lxc.arch`.
pub const ARCH: Codec<Option<Arch>> = Codec {
    shape: "architecture",
    parse: |value| match ARCHS.split_ascii_whitespace().position(|word| word == value) {
        Some(0..16) => Ok(Some(Arch::Bits32)),
        Some(_) => Ok(Some(Arch::Bits64)),
        None => Err(ValueError::Word { value: value.to_owned(), words: ARCHS }),
    },
    show: |value, out| {
        out.push_str(match value {
            None => "",
            Some(Arch::Bits32) => "i686",
            Some(Arch::Bits64) => "x86_64",
        });
    },
};

/// Log levels by number.
const LEVELS: [&str; 9] =
    ["TRACE", "DEBUG", "INFO", "NOTICE", "WARN", "ERROR", "CRIT", "ALERT", "FATAL"];

/// `lxc.log.level`: a name in any case, or 0 to 8.
pub const LOG_LEVEL: Codec<Option<u8>> = Codec {
    shape: "trace|debug|info|notice|warn|error|crit|alert|fatal",
    parse: |value| {
        match number(value, 0, 8) {
            Err(ValueError::Number(_)) => {}
            level => return level.map(|n| Some(n as u8)),
        }
        match LEVELS.iter().position(|name| name.eq_ignore_ascii_case(value)) {
            Some(n) => Ok(u8::try_from(n).ok()),
            None => Err(ValueError::Word {
                value: value.to_owned(),
                words: "trace debug info notice warn error crit alert fatal",
            }),
        }
    },
    show: |value, out| {
        out.push_str(value.and_then(|n| LEVELS.get(usize::from(n))).unwrap_or(&"NOTSET"));
    },
};

/// `lxc.log.syslog`.
pub const FACILITY: Codec<Option<String>> = Codec {
    shape: "daemon|local0..local7",
    parse: |value| {
        let lower = value.to_ascii_lowercase();
        match lower.strip_prefix("local").map(str::as_bytes) {
            Some([b'0'..=b'7']) => Ok(Some(lower)),
            None if lower == "daemon" => Ok(Some(lower)),
            _ => Err(ValueError::shape(value, "a facility: daemon or local0 to local7")),
        }
    },
    show: show_text,
};

/// `lxc.console.path`.
pub const CONSOLE_PATH: Codec<Option<ConsolePath>> = Codec {
    shape: "none|path",
    parse: |value| {
        Ok(Some(match value {
            "none" => ConsolePath::None,
            path => ConsolePath::Path(path.into()),
        }))
    },
    show: |value, out| match value {
        None => {}
        Some(ConsolePath::None) => out.push_str("none"),
        Some(ConsolePath::Path(path)) => out.push_str(&path.to_string_lossy()),
    },
};

/// `lxc.seccomp.notify.proxy`.
pub const PROXY: Codec<Option<String>> = Codec {
    shape: "unix:PATH",
    parse: |value| match value.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => text(value),
        _ => Err(ValueError::shape(value, "unix:PATH")),
    },
    show: show_text,
};

/// `lxc.rootfs.options`: options that only a mount entry can have are refused, as LXC does.
pub const ROOTFS_OPTIONS: Codec<Option<String>> = Codec {
    shape: "mount options",
    parse: |value| {
        let foreign = |o: &&str| matches!(*o, "optional" | "relative") || o.starts_with("create=");
        match value.split(',').map(str::trim).find(foreign) {
            Some(option) => Err(ValueError::shape(option, "an option of a root file system")),
            None => text(value),
        }
    },
    show: show_text,
};

/// `INT unit`, in nanoseconds; zero is the same as unset (LXC makes no time namespace for it).
pub const DURATION: Codec<Option<i64>> = Codec {
    shape: "number and unit h m s ms us ns",
    parse: |value| {
        let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor: i64 = match &value[digits.len()..] {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" => 1_000,
            "ns" => 1,
            _ => return Err(ValueError::shape(value, "a time such as 10s, 90m or -5ms")),
        };
        let max = i64::MAX / factor;
        match number(digits.trim_end(), -max, max.unsigned_abs())? as i64 {
            0 => Ok(None),
            count => Ok(Some(count * factor)),
        }
    },
    show: |value, out| {
        let ns = value.unwrap_or(0);
        let _ = match ns % 1_000_000_000 {
            0 if ns != 0 => write!(out, "{} s", ns / 1_000_000_000),
            _ => write!(out, "{ns} ns"),
        };
    },
};

/// One `lxc.idmap` line.
pub const ID_MAP: Codec<IdMapEntry> = Codec {
    shape: "u|g NSID HOSTID RANGE",
    parse: |value| {
        let what = "a map of four fields such as 'u 0 100000 65536'";
        let mut fields = value.split_ascii_whitespace();
        let mut next = || fields.next().ok_or_else(|| ValueError::shape(value, what));
        let kind = match next()? {
            "u" => IdKind::Uid,
            "g" => IdKind::Gid,
            other => {
                return Err(ValueError::Word { value: other.to_owned(), words: "u g" });
            }
        };
        let (ns, host, range) = (uint(next()?)?, uint(next()?)?, uint(next()?)?);
        if fields.next().is_some() {
            return Err(ValueError::shape(value, what));
        }
        let fits = |first: u32| first.checked_add(range.wrapping_sub(1)).is_some();
        if range == 0 || !fits(ns) || !fits(host) {
            let text = range.to_string();
            return Err(ValueError::range(&text, 1, u64::from(u32::MAX - ns.max(host)) + 1));
        }
        Ok(IdMapEntry { kind, ns, host, range })
    },
    show: |map, out| {
        let kind = if map.kind == IdKind::Uid { 'u' } else { 'g' };
        let _ = write!(out, "{kind} {} {} {}", map.ns, map.host, map.range);
    },
};

/// One capability.
pub const CAP: Codec<Cap> = Codec {
    shape: "capability",
    parse: |value| {
        let what = "a capability: a name such as sys_module, in lower case without cap_";
        Cap::parse(value).ok_or_else(|| ValueError::shape(value, what))
    },
    show: |cap, out| match cap.name() {
        Some(name) => out.push_str(name),
        None => display(&cap.0, out),
    },
};

const NAMESPACES: &str = "user mnt pid uts ipc net cgroup time";

/// One namespace, any case.
pub const NAMESPACE: Codec<NsKind> = Codec {
    shape: "namespace",
    parse: |value| {
        NsKind::parse(value)
            .ok_or_else(|| ValueError::Word { value: value.to_owned(), words: NAMESPACES })
    },
    show: |ns, out| out.push_str(ns.name()),
};

/// `SOFT[:HARD]`; numbers or `unlimited`, blanks allowed around the colon.
pub const LIMIT: Codec<Limit> = Codec {
    shape: "SOFT[:HARD]",
    parse: |value| {
        let part = |text: &str| match text.trim() {
            // Not documented, but strtoull takes it for RLIM_INFINITY.
            "unlimited" | "-1" => Ok(None),
            number => unsigned(number).map(Some),
        };
        match value.split_once(':') {
            Some((soft, hard)) => Ok(Limit { soft: part(soft)?, hard: part(hard)? }),
            None => part(value).map(|both| Limit { soft: both, hard: both }),
        }
    },
    show: |limit, out| {
        let part = |value: Option<u64>, out: &mut String| match value {
            Some(n) => display(&n, out),
            None => out.push_str("unlimited"),
        };
        part(limit.soft, out);
        if limit.hard != limit.soft {
            out.push(':');
            part(limit.hard, out);
        }
    },
};
