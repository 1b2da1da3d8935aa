//! What a setting of one cgroup version is called on the other, and how its value changes.
//!
//! Pure. `plan.rs` decides which settings need it; start reading at [`concept`] and
//! [`to_v2`]/[`to_v1`].

use super::layout::{Version, controller_of};
use std::borrow::Cow;

/// What is wrong with a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untranslatable {
    /// The other version has nothing like it.
    NoMeaning,
    /// The value does not parse, or needs what is not there.
    Value(&'static str),
}

/// One file and its value in the other version. Where kernels differ in the file's name, the
/// next is tried when the one before does not exist.
pub(super) type Candidates = Vec<(String, String)>;

/// Values written by other lines that one translation may need.
pub(super) trait Context {
    /// The last value that the configuration gives to `file` of `version`.
    fn value(&self, version: Version, file: &str) -> Option<&str>;
}

/// v1 files and the v2 file of the same meaning.
const PAIRS: &[(&str, &str)] = &[
    ("memory.limit_in_bytes", "memory.max"),
    ("memory.soft_limit_in_bytes", "memory.low"),
    ("memory.memsw.limit_in_bytes", "memory.swap.max"),
    ("cpu.shares", "cpu.weight"),
    ("cpu.cfs_quota_us", "cpu.max"),
    ("cpu.cfs_period_us", "cpu.max"),
    ("cpu.cfs_burst_us", "cpu.max.burst"),
    ("blkio.weight", "io.weight"),
    ("blkio.weight_device", "io.weight"),
    ("blkio.bfq.weight", "io.weight"),
    ("blkio.bfq.weight_device", "io.weight"),
    ("blkio.throttle.read_bps_device", "io.max"),
    ("blkio.throttle.write_bps_device", "io.max"),
    ("blkio.throttle.read_iops_device", "io.max"),
    ("blkio.throttle.write_iops_device", "io.max"),
    ("freezer.state", "cgroup.freeze"),
    ("pids.max", "pids.max"),
    ("cpuset.cpus", "cpuset.cpus"),
    ("cpuset.mems", "cpuset.mems"),
    ("cpu.idle", "cpu.idle"),
    ("cpu.uclamp.min", "cpu.uclamp.min"),
    ("cpu.uclamp.max", "cpu.uclamp.max"),
    ("rdma.max", "rdma.max"),
    ("misc.max", "misc.max"),
];

/// Settings that ask for what the other version does anyway: nothing needs to be written.
const ALREADY_SO: &[(Version, &str, &str)] = &[
    (Version::V1, "memory.use_hierarchy", "1"),
    (Version::V1, "memory.oom_control", "0"),
    (Version::V1, "memory.kmem.limit_in_bytes", "-1"),
    (Version::V1, "memory.kmem.tcp.limit_in_bytes", "-1"),
    (Version::V2, "memory.high", "max"),
    (Version::V2, "memory.min", "0"),
    (Version::V2, "memory.oom.group", "0"),
    (Version::V2, "memory.swap.high", "max"),
    (Version::V2, "memory.zswap.max", "max"),
];

/// The setting's identity in both versions: its v2 file. `None` if only one version knows it.
pub(super) fn concept(file: &str) -> Option<Cow<'_, str>> {
    match file {
        "cpu.weight.nice" => return Some(Cow::Borrowed("cpu.weight")),
        "io.bfq.weight" => return Some(Cow::Borrowed("io.weight")),
        _ => {}
    }
    if let Some(size) = file.strip_prefix("hugetlb.") {
        if let Some(size) = size.strip_suffix(".limit_in_bytes") {
            return Some(Cow::Owned(format!("hugetlb.{size}.max")));
        }
        return size.ends_with(".max").then_some(Cow::Borrowed(file));
    }
    let pair = PAIRS.iter().find(|(v1, v2)| *v1 == file || *v2 == file);
    pair.map(|(_, v2)| Cow::Borrowed(*v2))
}

/// The version whose word `file` is, if both versions have something for it.
pub(super) fn dialect(file: &str) -> Option<Version> {
    let of_v2 =
        |concept: &str| concept == file || matches!(file, "cpu.weight.nice" | "io.bfq.weight");
    match concept(file) {
        Some(concept) => Some(if of_v2(&concept) { Version::V2 } else { Version::V1 }),
        None => ALREADY_SO.iter().find(|row| row.1 == file).map(|row| row.0),
    }
}

/// The files of both versions that have to do with `file`: those of its controller.
pub(super) fn relatives(file: &str) -> Vec<(Version, String)> {
    let Some(concept) = concept(file) else { return Vec::new() };
    let same = |other: &str| controller_of(other) == controller_of(&concept);
    let mut all = Vec::new();
    for (v1, v2) in PAIRS.iter().filter(|(_, v2)| same(v2)) {
        all.extend([(Version::V1, (*v1).to_owned()), (Version::V2, (*v2).to_owned())]);
    }
    if let Some(stem) = concept.strip_prefix("hugetlb.").and_then(|c| c.strip_suffix(".max")) {
        all.push((Version::V1, format!("hugetlb.{stem}.limit_in_bytes")));
        all.push((Version::V2, format!("hugetlb.{stem}.max")));
    }
    all.dedup();
    all
}

/// True if the other version behaves as `file = value` asks without being told.
pub(super) fn already_so(from: Version, file: &str, value: &str) -> bool {
    ALREADY_SO.contains(&(from, file, value))
}

fn one(file: impl Into<String>, value: impl Into<String>) -> Vec<Candidates> {
    vec![vec![(file.into(), value.into())]]
}

/// The v2 settings for the v1 setting `file = value`, in order.
pub(super) fn to_v2(
    file: &str,
    value: &str,
    context: &dyn Context,
) -> Result<Vec<Candidates>, Untranslatable> {
    let value = value.trim();
    if let Some(size) =
        file.strip_prefix("hugetlb.").and_then(|f| f.strip_suffix(".limit_in_bytes"))
    {
        return Ok(one(format!("hugetlb.{size}.max"), limit_text(bytes(value)?)));
    }
    Ok(match file {
        "memory.limit_in_bytes" => one("memory.max", limit_text(bytes(value)?)),
        "memory.soft_limit_in_bytes" => {
            // Unlimited is v1's default and protects nothing; v2's default says that with 0.
            one("memory.low", bytes(value)?.unwrap_or(0).to_string())
        }
        "memory.memsw.limit_in_bytes" => one("memory.swap.max", swap_part(value, context)?),
        "cpu.shares" => one("cpu.weight", shares_to_weight(integer(value)?).to_string()),
        "cpu.cfs_quota_us" | "cpu.cfs_period_us" => {
            let last = |file: &str| context.value(Version::V1, file).map(str::trim);
            let quota = match last("cpu.cfs_quota_us") {
                None => None,
                Some("-1") => None,
                Some(text) => Some(integer(text)?),
            };
            let period = last("cpu.cfs_period_us").map_or(Ok(100_000), integer)?;
            one("cpu.max", format!("{} {period}", limit_text(quota)))
        }
        "cpu.cfs_burst_us" => one("cpu.max.burst", integer(value)?.to_string()),
        "blkio.weight" => io_weight("default", blkio_to_io(integer(value)?), integer(value)?),
        "blkio.bfq.weight" => io_weight("default", integer(value)?, integer(value)?),
        "blkio.weight_device" => {
            let (device, weight) = device_value(value)?;
            io_weight(device, blkio_to_io(weight), weight)
        }
        "blkio.bfq.weight_device" => {
            let (device, weight) = device_value(value)?;
            io_weight(device, weight, weight)
        }
        _ if file.starts_with("blkio.throttle.") => {
            let word =
                IO_LIMITS.iter().find(|(v1, _)| *v1 == file).ok_or(Untranslatable::NoMeaning)?;
            let (device, limit) = device_value(value)?;
            // v1 removes a limit with 0.
            let limit = limit_text((limit != 0).then_some(limit));
            one("io.max", format!("{device} {}={limit}", word.1))
        }
        "freezer.state" => match value {
            "FROZEN" => one("cgroup.freeze", "1"),
            "THAWED" => one("cgroup.freeze", "0"),
            _ => return Err(Untranslatable::Value("must be FROZEN or THAWED")),
        },
        _ if PAIRS.contains(&(file, file)) => one(file, value),
        _ => return Err(Untranslatable::NoMeaning),
    })
}

/// The v1 settings for the v2 setting `file = value`, in order.
pub(super) fn to_v1(
    file: &str,
    value: &str,
    context: &dyn Context,
) -> Result<Vec<Candidates>, Untranslatable> {
    let value = value.trim();
    if let Some(size) = file.strip_prefix("hugetlb.").and_then(|f| f.strip_suffix(".max")) {
        return Ok(one(format!("hugetlb.{size}.limit_in_bytes"), v1_limit(bytes(value)?)));
    }
    Ok(match file {
        "memory.max" => one("memory.limit_in_bytes", v1_limit(bytes(value)?)),
        "memory.low" => {
            let low = bytes(value)?.filter(|&n| n != 0);
            one("memory.soft_limit_in_bytes", v1_limit(low))
        }
        "memory.swap.max" => one("memory.memsw.limit_in_bytes", swap_sum(value, context)?),
        "cpu.weight" => one("cpu.shares", weight_to_shares(weight(value)?).to_string()),
        "cpu.weight.nice" => one("cpu.shares", nice_to_shares(value)?.to_string()),
        "cpu.max" => {
            let mut words = value.split_whitespace();
            let quota = words.next().ok_or(Untranslatable::Value("is empty"))?;
            let quota = if quota == "max" { None } else { Some(integer(quota)?) };
            let period = words.next().map(integer).transpose()?;
            let period = period.map(|p| vec![("cpu.cfs_period_us".to_owned(), p.to_string())]);
            period.into_iter().chain(one("cpu.cfs_quota_us", v1_limit(quota))).collect()
        }
        "cpu.max.burst" => one("cpu.cfs_burst_us", integer(value)?.to_string()),
        "io.weight" | "io.bfq.weight" => {
            let (device, number) = match value.split_once(char::is_whitespace) {
                None => (None, value),
                Some(("default", number)) => (None, number.trim()),
                Some((device, number)) => (Some(device), number.trim()),
            };
            let number = weight(number)?;
            let (cfq, bfq) = match file {
                "io.weight" => (io_to_blkio(number), number.clamp(1, 1000)),
                _ => (number.clamp(10, 1000), number.clamp(1, 1000)),
            };
            let text = |n: u64| device.map_or_else(|| n.to_string(), |d| format!("{d} {n}"));
            let suffix = if device.is_some() { "_device" } else { "" };
            vec![vec![
                (format!("blkio.weight{suffix}"), text(cfq)),
                (format!("blkio.bfq.weight{suffix}"), text(bfq)),
            ]]
        }
        "io.max" => {
            let mut words = value.split_whitespace();
            let device = words.next().filter(|d| is_device(d)).ok_or(NOT_A_DEVICE)?;
            let mut out = Vec::new();
            for word in words {
                let bad = Untranslatable::Value("must be MAJOR:MINOR rbps= wbps= riops= wiops=");
                let (name, limit) = word.split_once('=').ok_or(bad)?;
                let (file, _) = IO_LIMITS.iter().find(|(_, w)| *w == name).ok_or(bad)?;
                let limit = bytes(limit)?.unwrap_or(0);
                out.push(vec![((*file).to_owned(), format!("{device} {limit}"))]);
            }
            out
        }
        "cgroup.freeze" => match value {
            "1" => one("freezer.state", "FROZEN"),
            "0" => one("freezer.state", "THAWED"),
            _ => return Err(Untranslatable::Value("must be 0 or 1")),
        },
        _ if PAIRS.contains(&(file, file)) => one(file, value),
        _ => return Err(Untranslatable::NoMeaning),
    })
}

/// Other names of a native file on other kernels: blkio.weight went with the CFQ scheduler (5.0),
/// io.weight is there with the cost model only.
pub(super) fn native_candidates(file: &str, value: &str) -> Candidates {
    let mut out = vec![(file.to_owned(), value.to_owned())];
    let other = match file {
        "blkio.weight" => Some("blkio.bfq.weight"),
        "blkio.weight_device" => Some("blkio.bfq.weight_device"),
        "io.weight" => Some("io.bfq.weight"),
        _ => None,
    };
    out.extend(other.map(|name| (name.to_owned(), value.to_owned())));
    out
}

/// The v1 file and the word of io.max.
const IO_LIMITS: &[(&str, &str)] = &[
    ("blkio.throttle.read_bps_device", "rbps"),
    ("blkio.throttle.write_bps_device", "wbps"),
    ("blkio.throttle.read_iops_device", "riops"),
    ("blkio.throttle.write_iops_device", "wiops"),
];

const NOT_A_DEVICE: Untranslatable = Untranslatable::Value("must begin with MAJOR:MINOR");

fn io_weight(what: &str, cost_model: u64, bfq: u64) -> Vec<Candidates> {
    vec![vec![
        ("io.weight".to_owned(), format!("{what} {}", cost_model.clamp(1, 10_000))),
        ("io.bfq.weight".to_owned(), format!("{what} {}", bfq.clamp(1, 1000))),
    ]]
}

fn is_device(text: &str) -> bool {
    let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    text.split_once(':').is_some_and(|(major, minor)| all_digits(major) && all_digits(minor))
}

fn device_value(text: &str) -> Result<(&str, u64), Untranslatable> {
    let (device, number) = text.split_once(char::is_whitespace).ok_or(NOT_A_DEVICE)?;
    if !is_device(device) {
        return Err(NOT_A_DEVICE);
    }
    Ok((device, integer(number.trim())?))
}

fn integer(text: &str) -> Result<u64, Untranslatable> {
    text.parse().map_err(|_| Untranslatable::Value("must be a whole number"))
}

fn weight(text: &str) -> Result<u64, Untranslatable> {
    let bad = Untranslatable::Value("must be a weight from 1 to 10000");
    text.parse().ok().filter(|n| (1..=10_000).contains(n)).ok_or(bad)
}

/// A size as both versions take it: a number with K, M, G, T, P or E; `None` for `max` and `-1`.
pub(super) fn bytes(text: &str) -> Result<Option<u64>, Untranslatable> {
    let bad = Untranslatable::Value("must be a number of bytes, with K, M or G if wanted, or max");
    let text = text.trim();
    if matches!(text, "max" | "-1") {
        return Ok(None);
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let shift = match suffix.as_bytes() {
        [] => 0,
        [letter] => match letter.to_ascii_lowercase() {
            b'k' => 10,
            b'm' => 20,
            b'g' => 30,
            b't' => 40,
            b'p' => 50,
            b'e' => 60,
            _ => return Err(bad),
        },
        _ => return Err(bad),
    };
    let number: u64 = number.parse().map_err(|_| bad)?;
    number.checked_mul(1 << shift).map(Some).ok_or(bad)
}

fn limit_text(limit: Option<u64>) -> String {
    limit.map_or_else(|| "max".to_owned(), |n| n.to_string())
}

fn v1_limit(limit: Option<u64>) -> String {
    limit.map_or_else(|| "-1".to_owned(), |n| n.to_string())
}

/// The memory limit that the container will have, whichever version's key says it.
fn memory_limit(context: &dyn Context, native: Version) -> Result<Option<u64>, Untranslatable> {
    let v1 = || context.value(Version::V1, "memory.limit_in_bytes");
    let v2 = || context.value(Version::V2, "memory.max");
    let text = match native {
        Version::V1 => v1().or_else(v2),
        Version::V2 => v2().or_else(v1),
    };
    text.map_or(Ok(None), bytes)
}

/// v1 limits memory and swap together, v2 swap alone: the difference.
fn swap_part(value: &str, context: &dyn Context) -> Result<String, Untranslatable> {
    let Some(both) = bytes(value)? else { return Ok("max".into()) };
    let Some(memory) = memory_limit(context, Version::V2)? else {
        return Err(Untranslatable::Value(
            "on cgroup v2 swap is limited apart from memory: lxc.cgroup.memory.limit_in_bytes must be set too",
        ));
    };
    let less = Untranslatable::Value("is less than the limit of memory alone");
    both.checked_sub(memory).map(|n| n.to_string()).ok_or(less)
}

fn swap_sum(value: &str, context: &dyn Context) -> Result<String, Untranslatable> {
    let Some(swap) = bytes(value)? else { return Ok("-1".into()) };
    let Some(memory) = memory_limit(context, Version::V1)? else {
        return Err(Untranslatable::Value(
            "on cgroup v1 swap is limited together with memory: lxc.cgroup2.memory.max must be set too",
        ));
    };
    memory.checked_add(swap).map(|n| n.to_string()).ok_or(Untranslatable::Value("is too large"))
}

/// The scheduler weighs both alike: 1024 shares are weight 100 (kernel/sched/core.c, and systemd).
fn shares_to_weight(shares: u64) -> u64 {
    (shares.min(1 << 20) * 100 + 512).div_euclid(1024).clamp(1, 10_000)
}

fn weight_to_shares(weight: u64) -> u64 {
    (weight * 1024 + 50).div_euclid(100).max(2)
}

/// CFQ's default weight was 500, that of v2 is 100 (as systemd converts).
fn blkio_to_io(weight: u64) -> u64 {
    (weight.min(10_000) * 100 / 500).clamp(1, 10_000)
}

fn io_to_blkio(weight: u64) -> u64 {
    (weight * 500 / 100).clamp(10, 1000)
}

/// cpu.weight.nice takes a nice level; each is worth about 1.25 times the next, nice 0 is 1024
/// shares (the kernel's own table of rounded values).
fn nice_to_shares(text: &str) -> Result<u64, Untranslatable> {
    const SHARES: [u32; 40] = [
        88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100,
        4904, 3906, 3121, 2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172,
        137, 110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
    ];
    let level: Option<i32> = text.parse().ok();
    let at = level.and_then(|n| usize::try_from(n.saturating_add(20)).ok());
    let shares = at.and_then(|at| SHARES.get(at)).copied();
    shares.map(u64::from).ok_or(Untranslatable::Value("must be a nice level from -20 to 19"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lines(Vec<(Version, &'static str, &'static str)>);
    impl Context for Lines {
        fn value(&self, version: Version, file: &str) -> Option<&str> {
            let found = self.0.iter().rev().find(|l| l.0 == version && l.1 == file);
            found.map(|l| l.2)
        }
    }

    fn flat(done: Result<Vec<Candidates>, Untranslatable>) -> Vec<String> {
        let candidates = |c: &Candidates| {
            c.iter().map(|(f, v)| format!("{f}={v}")).collect::<Vec<_>>().join("|")
        };
        done.unwrap().iter().map(candidates).collect()
    }

    fn v2(file: &str, value: &str) -> Vec<String> {
        flat(to_v2(file, value, &Lines(vec![])))
    }

    fn v1(file: &str, value: &str) -> Vec<String> {
        flat(to_v1(file, value, &Lines(vec![])))
    }

    #[test]
    fn memory() {
        assert_eq!(v2("memory.limit_in_bytes", "64M"), ["memory.max=67108864"]);
        assert_eq!(v2("memory.limit_in_bytes", "-1"), ["memory.max=max"]);
        assert_eq!(v1("memory.max", "max"), ["memory.limit_in_bytes=-1"]);
        assert_eq!(v1("memory.max", "1g"), ["memory.limit_in_bytes=1073741824"]);
        assert_eq!(v2("memory.soft_limit_in_bytes", "-1"), ["memory.low=0"]);
        assert_eq!(v1("memory.low", "0"), ["memory.soft_limit_in_bytes=-1"]);
        assert_eq!(v1("memory.low", "5K"), ["memory.soft_limit_in_bytes=5120"]);
    }

    #[test]
    fn swap_is_a_difference() {
        let lines = Lines(vec![(Version::V1, "memory.limit_in_bytes", "64M")]);
        let key = "memory.memsw.limit_in_bytes";
        assert_eq!(flat(to_v2(key, "96M", &lines)), ["memory.swap.max=33554432"]);
        assert_eq!(flat(to_v2(key, "64M", &lines)), ["memory.swap.max=0"]);
        assert_eq!(flat(to_v2(key, "-1", &Lines(vec![]))), ["memory.swap.max=max"]);
        assert!(matches!(to_v2(key, "1M", &lines), Err(Untranslatable::Value(_))));
        assert!(matches!(to_v2(key, "1M", &Lines(vec![])), Err(Untranslatable::Value(_))));
        let lines = Lines(vec![(Version::V2, "memory.max", "64M")]);
        assert_eq!(
            flat(to_v1("memory.swap.max", "32M", &lines)),
            ["memory.memsw.limit_in_bytes=100663296"]
        );
        assert_eq!(v1("memory.swap.max", "max"), ["memory.memsw.limit_in_bytes=-1"]);
        assert!(to_v1("memory.swap.max", "0", &Lines(vec![])).is_err());
    }

    #[test]
    fn cpu() {
        assert_eq!(v2("cpu.shares", "1024"), ["cpu.weight=100"]);
        assert_eq!(v2("cpu.shares", "512"), ["cpu.weight=50"]);
        assert_eq!(v2("cpu.shares", "2"), ["cpu.weight=1"]);
        assert_eq!(v2("cpu.shares", "262144"), ["cpu.weight=10000"]);
        assert_eq!(v1("cpu.weight", "100"), ["cpu.shares=1024"]);
        assert_eq!(v1("cpu.weight", "1"), ["cpu.shares=10"]);
        assert_eq!(v1("cpu.weight.nice", "0"), ["cpu.shares=1024"]);
        assert_eq!(v1("cpu.weight.nice", "-20"), ["cpu.shares=88761"]);
        assert_eq!(v1("cpu.weight.nice", "19"), ["cpu.shares=15"]);
        for bad in ["20", "-21", "2147483647", "x"] {
            assert!(to_v1("cpu.weight.nice", bad, &Lines(vec![])).is_err(), "{bad}");
        }
        assert!(to_v1("cpu.weight", "0", &Lines(vec![])).is_err());
        let lines = Lines(vec![
            (Version::V1, "cpu.cfs_period_us", "50000"),
            (Version::V1, "cpu.cfs_quota_us", "25000"),
        ]);
        assert_eq!(flat(to_v2("cpu.cfs_quota_us", "25000", &lines)), ["cpu.max=25000 50000"]);
        let lines = Lines(vec![(Version::V1, "cpu.cfs_quota_us", "-1")]);
        assert_eq!(flat(to_v2("cpu.cfs_quota_us", "-1", &lines)), ["cpu.max=max 100000"]);
        assert_eq!(
            v1("cpu.max", "20000 100000"),
            ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=20000"]
        );
        assert_eq!(v1("cpu.max", "max"), ["cpu.cfs_quota_us=-1"]);
    }

    #[test]
    fn block_devices() {
        assert_eq!(v2("blkio.weight", "500"), ["io.weight=default 100|io.bfq.weight=default 500"]);
        assert_eq!(v1("io.weight", "default 100"), ["blkio.weight=500|blkio.bfq.weight=100"]);
        assert_eq!(
            v1("io.weight", "8:0 200"),
            ["blkio.weight_device=8:0 1000|blkio.bfq.weight_device=8:0 200"]
        );
        assert_eq!(
            v2("blkio.throttle.read_bps_device", "8:0 1048576"),
            ["io.max=8:0 rbps=1048576"]
        );
        assert_eq!(v2("blkio.throttle.write_iops_device", "8:0 0"), ["io.max=8:0 wiops=max"]);
        assert_eq!(
            v1("io.max", "8:16 rbps=2M wiops=120"),
            [
                "blkio.throttle.read_bps_device=8:16 2097152",
                "blkio.throttle.write_iops_device=8:16 120"
            ]
        );
        assert!(to_v1("io.max", "sda rbps=1", &Lines(vec![])).is_err());
        assert!(to_v1("io.max", "8:0 what=1", &Lines(vec![])).is_err());
    }

    #[test]
    fn the_rest() {
        assert_eq!(v2("pids.max", "100"), ["pids.max=100"]);
        assert_eq!(v1("cpuset.cpus", "0-1"), ["cpuset.cpus=0-1"]);
        assert_eq!(v2("freezer.state", "FROZEN"), ["cgroup.freeze=1"]);
        assert_eq!(v1("cgroup.freeze", "0"), ["freezer.state=THAWED"]);
        assert_eq!(v2("hugetlb.2MB.limit_in_bytes", "4M"), ["hugetlb.2MB.max=4194304"]);
        assert_eq!(v1("hugetlb.2MB.rsvd.max", "max"), ["hugetlb.2MB.rsvd.limit_in_bytes=-1"]);
        for file in ["memory.swappiness", "cpu.rt_runtime_us", "net_cls.classid", "memory.mx"] {
            let got = to_v2(file, "1", &Lines(vec![]));
            assert_eq!(got, Err(Untranslatable::NoMeaning), "{file}");
        }
        for file in
            ["memory.high", "memory.min", "io.latency", "cpuset.cpus.partition", "memory.mx"]
        {
            let got = to_v1(file, "1", &Lines(vec![]));
            assert_eq!(got, Err(Untranslatable::NoMeaning), "{file}");
        }
        assert!(already_so(Version::V2, "memory.high", "max"));
        assert!(!already_so(Version::V1, "memory.high", "max"));
    }

    #[test]
    fn both_spellings_are_one_concept() {
        for (v1, v2) in PAIRS {
            assert_eq!(concept(v1), concept(v2));
        }
        assert_eq!(concept("hugetlb.1GB.limit_in_bytes"), concept("hugetlb.1GB.max"));
        assert_eq!(concept("memory.high"), None);
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("0"), Ok(Some(0)));
        assert_eq!(bytes("2T"), Ok(Some(2 << 40)));
        for bad in ["", "K", "-2", "1KB", "1.5G", "16E", "99999999999999999999"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
