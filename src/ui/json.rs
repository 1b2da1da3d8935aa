//! A writer for the JSON that `--format json` prints (RFC 8259). Numbers are exact integers.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A member's name: mostly known here, sometimes a configuration key.
type Name = Cow<'static, str>;

/// A value to be written. Objects keep the order they are given in.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`: not known or does not apply.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// An integer.
    Int(i128),
    /// Text.
    Text(String),
    /// `[…]`.
    List(Vec<Value>),
    /// `{…}`.
    Object(Vec<(Name, Value)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(value.into())
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Self {
        Self::Int(value.into())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<Vec<(&'static str, Value)>> for Value {
    fn from(members: Vec<(&'static str, Value)>) -> Self {
        Self::Object(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Self {
        Self::List(values.into_iter().collect())
    }
}

impl Value {
    /// The text, indented by two spaces a level, without a newline at the end.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Self::Int(n) => {
                let _ = write!(out, "{n}");
            }
            Self::Text(text) => quote(out, text),
            Self::List(items) => write_all(out, depth, ['[', ']'], items, |out, item| {
                item.write(out, depth + 1);
            }),
            Self::Object(members) => {
                write_all(out, depth, ['{', '}'], members, |out, (key, value)| {
                    quote(out, key);
                    out.push_str(": ");
                    value.write(out, depth + 1);
                });
            }
        }
    }
}

fn write_all<T>(
    out: &mut String,
    depth: usize,
    [open, close]: [char; 2],
    items: &[T],
    mut each: impl FnMut(&mut String, &T),
) {
    out.push(open);
    for (n, item) in items.iter().enumerate() {
        out.push_str(if n == 0 { "\n" } else { ",\n" });
        indent(out, depth + 1);
        each(out, item);
    }
    if !items.is_empty() {
        out.push('\n');
        indent(out, depth);
    }
    out.push(close);
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Appends `text` quoted. Control characters are escaped; everything else is left as UTF-8.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' || c == '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_rfc_has_it() {
        let value = Value::from(vec![
            ("name", "a\"b\\c\u{1}\n".into()),
            ("bytes", u64::MAX.into()),
            ("pid", Value::from(None::<i32>)),
            ("ips", Value::List(vec![])),
            ("groups", ["x", "é"].into_iter().map(Value::from).collect()),
        ]);
        assert_eq!(
            value.pretty(),
            "{\n  \"name\": \"a\\\"b\\\\c\\u0001\\n\",\n  \"bytes\": 18446744073709551615,\n  \
             \"pid\": null,\n  \"ips\": [],\n  \"groups\": [\n    \"x\",\n    \"é\"\n  ]\n}"
        );
    }
}
