//! Figures of a running container for lxc-info, lxc-ls and lxc-top, on v1, hybrid and v2.
//!
//! The caller finds the limit cgroup's directory in a hierarchy (by asking the monitor); only
//! hierarchies whose figures are wanted are asked about. `None` is what the kernel does not count.

use super::layout::{Hierarchy, Layout, Version};
use crate::sys::fd;
use std::path::{Path, PathBuf};

/// Finds the container's limit cgroup in a hierarchy: see [`Hierarchy::query_name`] for how to
/// ask a monitor, [`Layout::locate`] for the answer.
pub type Finder<'a> = dyn FnMut(&Hierarchy) -> Option<PathBuf> + 'a;

/// Processor time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// All of it.
    pub total: Option<u64>,
    /// In user space.
    pub user: Option<u64>,
    /// In the kernel.
    pub system: Option<u64>,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What lxc-info and lxc-ls show: v1 memory.usage_in_bytes; v2 anonymous and file memory.
    pub used: Option<u64>,
    /// What lxc-top shows: v1 memory.usage_in_bytes; v2 memory.current.
    pub charged: Option<u64>,
    /// Swap alone.
    pub swap: Option<u64>,
    /// Memory and swap together.
    pub with_swap: Option<u64>,
    /// Kernel memory.
    pub kernel: Option<u64>,
}

/// Block devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlockIo {
    /// Bytes read.
    pub read: Option<u64>,
    /// Bytes written.
    pub written: Option<u64>,
    /// Bytes in all: v1 counts discards too.
    pub bytes: Option<u64>,
    /// Operations in all.
    pub operations: Option<u64>,
}

/// Nanoseconds of one clock tick as /proc and cpuacct.stat count them (USER_HZ, 100 everywhere
/// that we build for).
const TICK: u64 = 10_000_000;

/// Processor time: cpuacct.usage and cpuacct.stat, or cpu.stat of v2.
pub fn cpu(layout: &Layout, find: &mut Finder<'_>) -> Cpu {
    if let Some(dir) = v1(layout, "cpuacct", find) {
        let stat = text(&dir, "cpuacct.stat").unwrap_or_default();
        let ticks = |name| field(&stat, name).map(|n| n.saturating_mul(TICK));
        let exact = |file: &str, name| number(&dir, file).or_else(|| ticks(name));
        return Cpu {
            total: number(&dir, "cpuacct.usage"),
            // FALLBACK(<4.7): the two exact files are missing.
            user: exact("cpuacct.usage_user", "user"),
            system: exact("cpuacct.usage_sys", "system"),
        };
    }
    let Some(dir) = layout.unified().and_then(find) else { return Cpu::default() };
    let stat = text(&dir, "cpu.stat").unwrap_or_default();
    let nanos = |name| field(&stat, name).map(|n| n.saturating_mul(1000));
    Cpu { total: nanos("usage_usec"), user: nanos("user_usec"), system: nanos("system_usec") }
}

/// Memory: the v1 controller's files, or those of v2 when that has the controller.
pub fn memory(layout: &Layout, find: &mut Finder<'_>) -> Memory {
    if let Some(dir) = v1(layout, "memory", find) {
        let usage = number(&dir, "memory.usage_in_bytes");
        let with_swap = number(&dir, "memory.memsw.usage_in_bytes");
        let counted = text(&dir, "memory.stat").and_then(|stat| field(&stat, "swap"));
        let difference = with_swap.zip(usage).map(|(both, one)| both.saturating_sub(one));
        return Memory {
            used: usage,
            charged: usage,
            swap: counted.or(difference),
            with_swap,
            kernel: number(&dir, "memory.kmem.usage_in_bytes"),
        };
    }
    let Some(dir) = layout.unified().filter(|h| h.has("memory")).and_then(find) else {
        return Memory::default();
    };
    let stat = text(&dir, "memory.stat").unwrap_or_default();
    let sum = |names: &[&str]| {
        let known: Vec<u64> = names.iter().filter_map(|name| field(&stat, name)).collect();
        (!known.is_empty()).then(|| known.iter().fold(0u64, |a, &b| a.saturating_add(b)))
    };
    let charged = number(&dir, "memory.current");
    let swap = number(&dir, "memory.swap.current");
    Memory {
        used: sum(&["anon", "file"]),
        charged,
        swap,
        with_swap: charged.map(|n| n.saturating_add(swap.unwrap_or(0))),
        // FALLBACK(<5.18): no `kernel` line, which is the sum of these and a few more.
        kernel: sum(&["kernel_stack", "pagetables", "sock", "slab"]).or_else(|| sum(&["kernel"])),
    }
}

/// Block devices: blkio.throttle.* (which counts with every scheduler), or io.stat of v2.
pub fn block_io(layout: &Layout, find: &mut Finder<'_>) -> BlockIo {
    if let Some(dir) = v1(layout, "blkio", find) {
        let first = |names: [&str; 2]| names.into_iter().find_map(|name| text(&dir, name));
        // FALLBACK(<4.18): only the files without _recursive.
        let bytes =
            first(["blkio.throttle.io_service_bytes_recursive", "blkio.throttle.io_service_bytes"]);
        let served = first(["blkio.throttle.io_serviced_recursive", "blkio.throttle.io_serviced"]);
        return BlockIo {
            read: bytes.as_deref().map(|t| column(t, "Read")),
            written: bytes.as_deref().map(|t| column(t, "Write")),
            bytes: bytes.as_deref().map(total),
            operations: served.as_deref().map(total),
        };
    }
    let found = layout.unified().filter(|h| h.has("io")).and_then(find);
    let Some(stat) = found.and_then(|dir| text(&dir, "io.stat")) else { return BlockIo::default() };
    let sum = |name: &str| {
        let words = stat.split_whitespace().filter_map(|word| word.split_once('='));
        let values = words.filter(|(n, _)| *n == name).filter_map(|(_, v)| v.parse::<u64>().ok());
        values.fold(0u64, u64::saturating_add)
    };
    let (read, written) = (sum("rbytes"), sum("wbytes"));
    BlockIo {
        read: Some(read),
        written: Some(written),
        bytes: Some(read.saturating_add(written)),
        operations: Some(sum("rios").saturating_add(sum("wios"))),
    }
}

fn v1(layout: &Layout, controller: &str, find: &mut Finder<'_>) -> Option<PathBuf> {
    layout.find(controller).filter(|h| h.version == Version::V1).and_then(find)
}

fn text(dir: &Path, name: &str) -> Option<String> {
    fd::read_to_string(dir.join(name)).ok()
}

fn number(dir: &Path, name: &str) -> Option<u64> {
    text(dir, name)?.trim().parse().ok()
}

/// `NAME NUMBER` on a line of its own.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(line)
}

/// Sum of `MAJOR:MINOR NAME NUMBER` over all devices.
fn column(text: &str, name: &str) -> u64 {
    let value = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        (words.next() == Some(name)).then(|| words.next()?.parse::<u64>().ok())?
    };
    text.lines().filter_map(value).fold(0u64, u64::saturating_add)
}

/// The last line, `Total NUMBER`.
fn total(text: &str) -> u64 {
    field(text, "Total").unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, hybrid, legacy, unified};
    use super::super::layout::Base;
    use super::*;

    fn finder(h: &Hierarchy) -> Option<PathBuf> {
        Some(h.mount.join("lxc.payload.c1"))
    }

    fn put(fixture: &Fixture, dir: &str, name: &str, text: &str) {
        fixture.write(&format!("sys/fs/cgroup/{dir}lxc.payload.c1/{name}"), text);
    }

    #[test]
    fn figures_of_v1() {
        let fixture = legacy();
        let layout = fixture.layout(Base::Init);
        put(&fixture, "cpu,cpuacct/", "cpuacct.usage", "123456789\n");
        put(&fixture, "cpu,cpuacct/", "cpuacct.stat", "user 3\nsystem 4\n");
        put(&fixture, "memory/", "memory.usage_in_bytes", "4096\n");
        put(&fixture, "memory/", "memory.memsw.usage_in_bytes", "5096\n");
        put(&fixture, "memory/", "memory.stat", "cache 1\nswap 1000\n");
        let bytes = "8:0 Read 10\n8:0 Write 5\n8:0 Sync 9\n8:16 Read 1\n8:0 Total 15\nTotal 16\n";
        put(&fixture, "blkio/", "blkio.throttle.io_service_bytes", bytes);
        assert_eq!(
            cpu(&layout, &mut finder),
            Cpu { total: Some(123_456_789), user: Some(30_000_000), system: Some(40_000_000) }
        );
        let got = memory(&layout, &mut finder);
        assert_eq!((got.used, got.swap, got.with_swap), (Some(4096), Some(1000), Some(5096)));
        assert_eq!(got.kernel, None);
        assert_eq!(
            block_io(&layout, &mut finder),
            BlockIo { read: Some(11), written: Some(5), bytes: Some(16), operations: None }
        );
    }

    #[test]
    fn figures_of_v2() {
        let fixture = unified();
        let layout = fixture.layout(Base::Init);
        put(&fixture, "", "cpu.stat", "usage_usec 7\nuser_usec 4\nsystem_usec 3\n");
        put(&fixture, "", "memory.current", "900\n");
        put(&fixture, "", "memory.swap.current", "50\n");
        put(
            &fixture,
            "",
            "memory.stat",
            "anon 100\nfile 200\nkernel_stack 16\nslab 4\nfile_mapped 9\n",
        );
        put(&fixture, "", "io.stat", "8:0 rbytes=10 wbytes=20 rios=1 wios=2\n8:16 rbytes=1\n");
        assert_eq!(
            cpu(&layout, &mut finder),
            Cpu { total: Some(7000), user: Some(4000), system: Some(3000) }
        );
        assert_eq!(
            memory(&layout, &mut finder),
            Memory {
                used: Some(300),
                charged: Some(900),
                swap: Some(50),
                with_swap: Some(950),
                kernel: Some(20)
            }
        );
        assert_eq!(
            block_io(&layout, &mut finder),
            BlockIo { read: Some(11), written: Some(20), bytes: Some(31), operations: Some(3) }
        );
    }

    #[test]
    fn what_is_not_counted_is_none() {
        let fixture = hybrid();
        let layout = fixture.layout(Base::Init);
        assert_eq!(memory(&layout, &mut finder), Memory::default());
        assert_eq!(block_io(&layout, &mut finder), BlockIo::default());
        assert_eq!(cpu(&layout, &mut finder), Cpu::default());
        put(&fixture, "unified/", "cpu.stat", "usage_usec 1\n");
        assert_eq!(cpu(&layout, &mut finder).total, Some(1000));
    }
}
