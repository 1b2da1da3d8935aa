//! How a row reaches its field: the macros that turn a field and a codec into an [`Access`].

use crate::config::value::{Parsed, ValueError};
use crate::config::{Origin, Sourced};
use crate::sys::error::Result as SysResult;

/// What parsing needs from outside, so that it stays pure.
#[derive(Clone, Copy)]
pub struct Options {
    /// Random bytes for the `x` of a hardware address, one for each character.
    pub random: fn() -> SysResult<[u8; 17]>,
    /// Looks a variable up, for `lxc.environment = NAME`.
    pub env: fn(&str) -> Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { random: crate::sys::random::bytes, env: |name| std::env::var(name).ok() }
    }
}

/// One assignment on its way into a field.
pub(crate) struct Arg<'a> {
    /// The name within a family; else empty.
    pub(crate) suffix: &'a str,
    /// Trimmed and unquoted, not empty.
    pub(crate) value: &'a str,
    pub(crate) origin: &'a Origin,
    pub(crate) options: &'a Options,
    /// The key was written in the spelling of LXC 1 or 2.
    pub(crate) old: bool,
    /// Set by a row that stores something else than was written.
    pub(crate) rewritten: Option<String>,
}

/// What a key holds, and so how it is listed, saved and blamed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// One value; the last line wins.
    One,
    /// Elements; each line adds.
    Many,
    /// `KEY.NAME` for any NAME.
    Family,
    /// Nothing of its own: `lxc.include`, and keys that only clear others.
    Nothing,
}

/// The way from a row to its field. None of the functions looks at anything but its arguments.
pub(crate) struct Access<S> {
    pub(crate) holds: Holds,
    /// Each line adds to what is there.
    pub(crate) repeats: bool,
    /// The key has a value to read.
    pub(crate) readable: bool,
    /// What can be written.
    pub(crate) shape: &'static str,
    /// Parses and stores; stores nothing when it fails.
    pub(crate) set: fn(&mut S, &mut Arg<'_>) -> Parsed<()>,
    /// Appends the value; the second argument is the name within a family.
    pub(crate) get: fn(&S, &str, &mut String),
    /// Back to the value of the second argument, a fresh default, which is left without use.
    pub(crate) clear: fn(&mut S, &mut S, &str),
    /// Calls the function with each name of a family that is in use.
    pub(crate) names: fn(&S, EachName<'_>),
}

/// Called with each name of a family.
pub(crate) type EachName<'f> = &'f mut dyn FnMut(&str);

/// A list that takes elements with their origin or without.
pub(crate) trait Slot<T> {
    fn put(&mut self, value: T, origin: &Origin);
    fn each(&self, f: &mut dyn FnMut(&T));
}

impl<T> Slot<T> for Vec<T> {
    fn put(&mut self, value: T, _: &Origin) {
        self.push(value);
    }

    fn each(&self, f: &mut dyn FnMut(&T)) {
        self.iter().for_each(f);
    }
}

impl<T> Slot<T> for Vec<Sourced<T>> {
    fn put(&mut self, value: T, origin: &Origin) {
        self.push(Sourced { value, origin: origin.clone() });
    }

    fn each(&self, f: &mut dyn FnMut(&T)) {
        self.iter().for_each(|sourced| f(&sourced.value));
    }
}

/// Parses all elements before the first is stored.
pub(crate) fn put_all<'v, T>(
    list: &mut impl Slot<T>,
    values: impl Iterator<Item = &'v str>,
    parse: fn(&str) -> Parsed<T>,
    origin: &Origin,
) -> Parsed<()> {
    let parsed = values.map(parse).collect::<Parsed<Vec<T>>>()?;
    parsed.into_iter().for_each(|value| list.put(value, origin));
    Ok(())
}

/// One element per line, each line ended.
pub(crate) fn show_all<T>(list: &impl Slot<T>, show: fn(&T, &mut String), out: &mut String) {
    list.each(&mut |value| {
        show(value, out);
        out.push('\n');
    });
}

/// Elements of a family, by name.
pub(crate) type Named<T> = Vec<(String, Sourced<T>)>;

/// Stores into a family: `replace` takes the place of the element of the same name.
pub(crate) fn put_named<T>(
    list: &mut Named<T>,
    arg: &Arg<'_>,
    parse: fn(&str) -> Parsed<T>,
    replace: bool,
) -> Parsed<()> {
    let sourced = Sourced { value: parse(arg.value)?, origin: arg.origin.clone() };
    match list.iter_mut().find(|(name, _)| replace && name == arg.suffix) {
        Some((_, old)) => *old = sourced,
        None => list.push((arg.suffix.to_owned(), sourced)),
    }
    Ok(())
}

/// `KEY.NAME = VALUE` lines for the whole family; for one name its values, ended by a line break
/// if there can be several.
pub(crate) fn show_named<T>(
    list: &Named<T>,
    (key, name): (&str, &str),
    show: fn(&T, &mut String),
    replace: bool,
    out: &mut String,
) {
    for (have, sourced) in list.iter().filter(|(have, _)| name.is_empty() || have == name) {
        if name.is_empty() {
            out.extend([key, ".", have, " = "]);
        }
        show(&sourced.value, out);
        if name.is_empty() || !replace {
            out.push('\n');
        }
    }
}

/// Removes one name of a family, or all.
pub(crate) fn clear_named<T>(list: &mut Named<T>, name: &str) {
    list.retain(|(have, _)| !name.is_empty() && have != name);
}

/// Nothing to list, nothing to show, nothing to clear.
pub(crate) const fn nothing<S>() -> Access<S> {
    Access {
        holds: Holds::Nothing,
        repeats: false,
        readable: false,
        shape: "empty",
        set: |_, _| Err(ValueError::ClearOnly),
        get: |_, _, _| {},
        clear: |_, _, _| {},
        names: |_, _| {},
    }
}

/// One value: `one!(field, CODEC)`.
macro_rules! one {
    ($($field:ident).+, $codec:expr) => {
        Access {
            holds: Holds::One,
            readable: true,
            shape: $codec.shape,
            set: |s, arg| {
                s.$($field).+ = ($codec.parse)(arg.value)?;
                Ok(())
            },
            get: |s, _, out| ($codec.show)(&s.$($field).+, out),
            clear: |s, fresh, _| std::mem::swap(&mut s.$($field).+, &mut fresh.$($field).+),
            ..nothing()
        }
    };
}

/// A list with one element per line: `many!(field, CODEC)`; with `words`, the elements of a line
/// are separated by blanks.
macro_rules! many {
    (words $($field:ident).+, $codec:expr) => {
        Access {
            set: |s, arg| {
                put_all(&mut s.$($field).+, arg.value.split_ascii_whitespace(), $codec.parse, arg.origin)
            },
            ..many!($($field).+, $codec)
        }
    };
    ($($field:ident).+, $codec:expr) => {
        Access {
            holds: Holds::Many,
            repeats: true,
            readable: true,
            shape: $codec.shape,
            set: |s, arg| {
                s.$($field).+.put(($codec.parse)(arg.value)?, arg.origin);
                Ok(())
            },
            get: |s, _, out| show_all(&s.$($field).+, $codec.show, out),
            clear: |s, fresh, _| std::mem::swap(&mut s.$($field).+, &mut fresh.$($field).+),
            ..nothing()
        }
    };
}

/// A family of keys: `family!("lxc.sysctl", field, CODEC, replace)`.
macro_rules! family {
    ($key:literal, $($field:ident).+, $codec:expr, $replace:expr) => {
        Access {
            holds: Holds::Family,
            repeats: !$replace,
            readable: true,
            shape: $codec.shape,
            set: |s, arg| put_named(&mut s.$($field).+, arg, $codec.parse, $replace),
            get: |s, name, out| {
                show_named(&s.$($field).+, ($key, name), $codec.show, $replace, out);
            },
            clear: |s, _, name| clear_named(&mut s.$($field).+, name),
            names: |s, f| s.$($field).+.iter().for_each(|(name, _)| f(name)),
        }
    };
}

pub(crate) use {family, many, one};
