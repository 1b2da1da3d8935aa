//! lxc-top's table, its lines of CSV and its JSON.

use crate::container::info::Usage;
use crate::container::usage::User;
use crate::sys::term::WinSize;
use crate::ui::json::Value;
use crate::ui::{size, table};

/// What the rows are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the column of that name")]
pub(super) enum Key {
    Name,
    Cpu,
    BlockIo,
    Memory,
    WithSwap,
    Kernel,
}

impl Key {
    /// By its letter.
    pub(super) fn of(letter: u8) -> Option<Self> {
        Some(match letter {
            b'n' => Self::Name,
            b'c' => Self::Cpu,
            b'b' => Self::BlockIo,
            b'm' => Self::Memory,
            b's' => Self::WithSwap,
            b'k' => Self::Kernel,
            _ => return None,
        })
    }

    fn value(self, usage: &Usage) -> u64 {
        let value = match self {
            Self::Name => None,
            Self::Cpu => usage.cpu.total,
            Self::BlockIo => usage.block_io.bytes,
            Self::Memory => usage.memory.charged,
            Self::WithSwap => usage.memory.with_swap,
            Self::Kernel => usage.memory.kernel,
        };
        value.unwrap_or(0)
    }
}

/// How the table is to be.
pub(super) struct Screen {
    pub(super) sort: Key,
    pub(super) reverse: bool,
}

/// The columns after the name: two lines of header and the width with the space before.
const COLUMNS: [(&str, &str, usize); 7] = [
    ("CPU", "Used", 13),
    ("CPU", "Sys", 13),
    ("CPU", "User", 13),
    ("BlkIO", "Total(Read/Write)", 37),
    ("Mem", "Used", 11),
    ("MemSw", "Used", 11),
    ("KMem", "Used", 11),
];
const NAME_WIDTH: usize = 18;

impl Screen {
    /// As in LXC the largest come first, and names in their order.
    pub(super) fn order(&self, users: &mut [User]) {
        let value = |user: &User| user.usage.as_ref().map_or(0, |(_, u)| self.sort.value(u));
        users.sort_by(|a, b| {
            let order = value(b).cmp(&value(a)).then_with(|| a.name.cmp(&b.name));
            if self.reverse { order.reverse() } else { order }
        });
    }

    /// As many rows as fit. On a narrow terminal parts of block devices and processor go first.
    pub(super) fn lines(&self, users: &[User], term: WinSize) -> Vec<String> {
        let mut total = Usage::default();
        let usages = || users.iter().filter_map(|user| user.usage.as_ref().ok());
        for (_, usage) in usages() {
            add(&mut total, usage);
        }
        let all = [
            true,
            true,
            true,
            true,
            true,
            total.memory.with_swap.is_some(),
            total.memory.kernel.is_some(),
        ];
        let mut columns: Vec<(usize, (&str, &str, usize))> =
            COLUMNS.into_iter().enumerate().filter(|(n, _)| all[*n]).collect();
        let cols = usize::from(term.cols);
        let wide = |columns: &[(usize, (&str, &str, usize))]| {
            NAME_WIDTH + columns.iter().map(|(_, column)| column.2).sum::<usize>()
        };
        let mut parts = true;
        if wide(&columns) > cols {
            parts = false;
            columns
                .iter_mut()
                .filter(|(n, _)| *n == 3)
                .for_each(|(_, c)| *c = ("BlkIO", "Total", 11));
        }
        if wide(&columns) > cols {
            columns.retain(|(n, _)| !matches!(n, 1 | 2));
        }
        let header = |first: &str, second: bool| {
            let mut line = padded(first);
            for (_, (upper, lower, width)) in &columns {
                right(&mut line, if second { lower } else { upper }, *width);
            }
            line
        };
        let row = |name: &str, usage: &Usage| {
            let mut line = padded(name);
            for (n, (_, _, width)) in &columns {
                right(&mut line, &cell(*n, usage, parts), *width);
            }
            line
        };
        let space = usize::from(term.rows).saturating_sub(3);
        let mut lines = vec![
            format!("\x1b[7m\x1b[1m{}", cut(header("Container", false), cols)),
            format!("{}\x1b[0m", cut(header("Name", true), cols)),
        ];
        for User { name, usage } in users.iter().take(space) {
            let line = match usage {
                Ok((_, usage)) => row(name, usage),
                Err(_) => padded(name) + " its monitor does not answer",
            };
            lines.push(cut(line, cols));
        }
        let shown = users.len().min(space);
        lines.push(cut(row(&format!("TOTAL {shown} of {}", users.len()), &total), cols));
        lines
    }
}

fn padded(name: &str) -> String {
    let mut line: String = name.chars().take(NAME_WIDTH).collect();
    line.extend(std::iter::repeat_n(' ', NAME_WIDTH - table::width(&line)));
    line
}

fn right(line: &mut String, text: &str, width: usize) {
    line.extend(std::iter::repeat_n(' ', width.saturating_sub(table::width(text)).max(1)));
    line.push_str(text);
}

fn cut(line: String, cols: usize) -> String {
    if table::width(&line) <= cols { line } else { line.chars().take(cols).collect() }
}

fn cell(column: usize, usage: &Usage, parts: bool) -> String {
    let Usage { cpu, memory, block_io } = usage;
    match column {
        0 => seconds(cpu.total),
        1 => seconds(cpu.system),
        2 => seconds(cpu.user),
        3 if parts => {
            let [total, read, written] =
                [block_io.bytes, block_io.read, block_io.written].map(amount);
            format!("{total}({read}/{written})")
        }
        3 => amount(block_io.bytes),
        4 => amount(memory.charged),
        5 => amount(memory.with_swap),
        _ => amount(memory.kernel),
    }
}

/// `1.25`, of nanoseconds.
fn seconds(ns: Option<u64>) -> String {
    let text = size::cpu_seconds(ns.unwrap_or(0));
    text.trim_end_matches(" seconds").to_owned()
}

/// `  0.00   ` or `1.25 MiB`, as LXC's tool has it.
fn amount(bytes: Option<u64>) -> String {
    match bytes.unwrap_or(0) {
        n if n > 1024 => size::human(n),
        n => format!("{n:3}.00   "),
    }
}

fn add(total: &mut Usage, one: &Usage) {
    let pairs = [
        (&mut total.cpu.total, one.cpu.total),
        (&mut total.cpu.system, one.cpu.system),
        (&mut total.cpu.user, one.cpu.user),
        (&mut total.block_io.bytes, one.block_io.bytes),
        (&mut total.block_io.read, one.block_io.read),
        (&mut total.block_io.written, one.block_io.written),
        (&mut total.memory.charged, one.memory.charged),
        (&mut total.memory.with_swap, one.memory.with_swap),
        (&mut total.memory.kernel, one.memory.kernel),
    ];
    for (sum, more) in pairs {
        if let Some(more) = more {
            *sum = Some(sum.unwrap_or(0).saturating_add(more));
        }
    }
}

/// The first line of CSV, LXC's.
pub(super) const CSV_HEADER: &str = "time_ms,container,cpu_nanos,cpu_sys_userhz,cpu_user_userhz,\
     blkio_bytes,blkio_iops,mem_used_bytes,memsw_used_bytes,kernel_mem_used_bytes";

/// Nanoseconds of a tick, which is what USER_HZ counts.
const TICK: u64 = 10_000_000;

/// A line of CSV. What the kernel does not count is 0, as in LXC; a container whose monitor does
/// not answer has empty fields.
pub(super) fn csv(now: u64, user: &User) -> String {
    let mut line = format!("{now},{}", user.name);
    let values = user.usage.as_ref().ok().map(|(_, Usage { cpu, memory, block_io })| {
        [
            cpu.total,
            cpu.system.map(|ns| ns / TICK),
            cpu.user.map(|ns| ns / TICK),
            block_io.bytes,
            block_io.operations,
            memory.charged,
            memory.with_swap,
            memory.kernel,
        ]
    });
    match values {
        Some(values) => {
            for value in values {
                line.push(',');
                line.push_str(&value.unwrap_or(0).to_string());
            }
        }
        None => line.push_str(&",".repeat(8)),
    }
    line
}

/// All of them at one moment, with `null` for what is not known.
pub(super) fn json(now: u64, users: &[User]) -> Value {
    let one = |User { name, usage }: &User| {
        let mut members: Vec<(&'static str, Value)> = vec![("name", name.as_str().into())];
        match usage {
            Ok((state, Usage { cpu, memory, block_io })) => members.extend([
                ("state", state.name().into()),
                ("cpu_ns", cpu.total.into()),
                ("cpu_system_ns", cpu.system.into()),
                ("cpu_user_ns", cpu.user.into()),
                ("blkio_bytes", block_io.bytes.into()),
                ("blkio_read_bytes", block_io.read.into()),
                ("blkio_written_bytes", block_io.written.into()),
                ("blkio_operations", block_io.operations.into()),
                ("memory_bytes", memory.charged.into()),
                ("memory_swap_bytes", memory.with_swap.into()),
                ("kernel_memory_bytes", memory.kernel.into()),
            ]),
            Err(text) => members.extend([("state", Value::Null), ("error", text.as_str().into())]),
        }
        Value::from(members)
    };
    vec![("time_ms", now.into()), ("containers", users.iter().map(one).collect())].into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::state::State;

    fn users() -> Vec<User> {
        let mut usage = Usage::default();
        usage.cpu.total = Some(1_500_000_000);
        usage.cpu.system = Some(20_000_000);
        usage.block_io.bytes = Some(3 << 20);
        usage.memory.charged = Some(7);
        let user = |name: &str, usage| User { name: name.into(), usage };
        vec![
            user("web", Ok((State::Running, usage))),
            user("db", Ok((State::Frozen, Usage::default()))),
            user("stuck", Err("no answer".into())),
        ]
    }

    #[test]
    fn rows_fit_and_are_ordered() {
        let mut users = users();
        let mut screen = Screen { sort: Key::Name, reverse: false };
        screen.order(&mut users);
        let names = |users: &[User]| users.iter().map(|u| u.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&users), ["db", "stuck", "web"]);
        screen.sort = Key::Cpu;
        screen.order(&mut users);
        assert_eq!(names(&users), ["web", "db", "stuck"], "the largest first");
        (screen.sort, screen.reverse) = (Key::Name, true);
        screen.order(&mut users);
        assert_eq!(names(&users), ["web", "stuck", "db"]);
        let lines = screen.lines(&users, WinSize { rows: 5, cols: 140 });
        assert_eq!(lines.len(), 5);
        assert_eq!(
            lines[2],
            "web                        1.50         0.02         0.00        \
             3.00 MiB(  0.00   /  0.00   )    7.00   "
        );
        assert!(lines[3].starts_with("stuck              its monitor does not answer"));
        assert!(lines[4].starts_with("TOTAL 2 of 3"));
        for cols in [20, 60, 80, 100] {
            let narrow = screen.lines(&users, WinSize { rows: 24, cols });
            assert!(narrow[2..].iter().all(|line| line.len() <= usize::from(cols)), "{narrow:?}");
            assert!(cols < 60 || narrow[0].contains("Mem"), "{narrow:?}");
        }
        assert_eq!(screen.lines(&users, WinSize { rows: 1, cols: 80 }).len(), 3);
    }

    #[test]
    fn csv_and_json() {
        let users = users();
        assert_eq!(csv(5, &users[0]), "5,web,1500000000,2,0,3145728,0,7,0,0");
        assert_eq!(csv(5, &users[2]), "5,stuck,,,,,,,,");
        let columns = |line: &str| line.split(',').count();
        assert_eq!(columns(&csv(5, &users[2])), columns(CSV_HEADER));
        let text = json(5, &users).pretty();
        assert!(
            text.contains("\"error\": \"no answer\"")
                && text.contains("\"blkio_operations\": null")
        );
    }
}
