//! Splitting a command line of a configuration file into words.

/// Why a command line cannot be split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// A quote is not closed.
    #[error("a quote is not closed")]
    OpenQuote,
    /// No word at all.
    #[error("the command is empty")]
    Empty,
}

/// Splits at blanks; single and double quotes group, and nothing escapes (`lxc.init.cmd`,
/// `lxc.execute.cmd`; `lxc_string_split_quoted` of LXC).
///
/// # Errors
/// An open quote, or no word.
pub fn split(line: &str) -> Result<Vec<String>, WordsError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in line.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if c == ' ' || c == '\t' => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(WordsError::OpenQuote);
    }
    words.extend(word);
    if words.is_empty() { Err(WordsError::Empty) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_group_and_vanish() {
        assert_eq!(
            split("/sbin/init  --a 'b c' \"d 'e'\" ''").unwrap(),
            ["/sbin/init", "--a", "b c", "d 'e'", ""]
        );
        assert_eq!(split("  "), Err(WordsError::Empty));
        assert_eq!(split("a 'b"), Err(WordsError::OpenQuote));
    }
}
