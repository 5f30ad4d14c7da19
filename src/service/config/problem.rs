//! What is wrong with a configuration, all of it at once, and what to do about each.
//!
//! In: the file's text. Out: `Problem`s with the line and column where they stand, from 1. A value
//! that serde refuses is set aside and the rest of its table looked at again, so that one mistake
//! hides no other; a key that is missing ends its table. serde's own words tell which keys a table
//! has: no list of them stands here but the file's tables.

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use crate::limits;

/// Something wrong, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{place}{what}; {fix}", place = place(*line, *column))]
pub struct Problem {
    pub line: Option<usize>,
    pub column: Option<usize>,
    pub what: String,
    pub fix: String,
}

fn place(line: Option<usize>, column: Option<usize>) -> String {
    match (line, column) {
        (Some(line), Some(column)) => format!("line {line}, column {column}: "),
        _ => String::new(),
    }
}

/// A text, the tables in it, and what was found so far.
pub struct Reader<'t> {
    text: &'t str,
    document: DeTable<'t>,
    pub problems: Vec<Problem>,
}

impl<'t> Reader<'t> {
    /// Where the text is no TOML the problems say so, and there are no tables.
    pub fn new(text: &'t str) -> Self {
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut reader = Self {
            text,
            document: if errors.is_empty() {
                document.into_inner()
            } else {
                DeTable::new()
            },
            problems: Vec::new(),
        };
        for error in errors.iter().take(limits::CONFIG_PROBLEMS_MAX) {
            let at = error.span().map(|span| span.start);
            reader.add(at, error.message().to_owned(), "see https://toml.io");
        }
        reader
    }

    pub fn add(&mut self, at: Option<usize>, what: String, fix: impl ToString) {
        let place = at.map(|at| position(self.text, at));
        let fix = fix.to_string();
        if self.problems.len() < limits::CONFIG_PROBLEMS_MAX {
            self.problems.push(Problem {
                line: place.map(|(line, _)| line),
                column: place.map(|(_, column)| column),
                what,
                fix,
            });
        }
    }

    /// Where a key stands, e.g. `["destination", "1", "baud"]`, or the nearest that is there of
    /// what holds it.
    pub fn place(&self, path: &[&str]) -> Option<usize> {
        let mut table = &self.document;
        let mut at = None;
        let mut path = path.iter();
        while let Some(key) = path.next() {
            let Some((name, value)) = entry(table, key) else {
                break;
            };
            at = Some(name.span().start);
            let mut value = value.get_ref();
            if let Some(list) = value.as_array() {
                let index = path.next().and_then(|index| index.parse::<usize>().ok());
                let Some(item) = index.and_then(|index| list.get(index)) else {
                    break;
                };
                at = Some(item.span().start);
                value = item.get_ref();
            }
            match value.as_table() {
                Some(inner) => table = inner,
                None => break,
            }
        }
        at
    }

    /// What was found, in the order of the file; first what is missing in it.
    pub fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.line);
        self.problems
    }

    /// Names that the file knows no table or key of.
    pub fn refuse_strangers(&mut self, known: &[&str]) {
        let strangers: Vec<(usize, String)> = self
            .document
            .keys()
            .filter(|key| !known.contains(&key.get_ref().as_ref()))
            .map(|key| (key.span().start, key.get_ref().to_string()))
            .collect();
        for (at, name) in strangers {
            let fix = instead(&name, known);
            self.add(Some(at), format!("unknown key `{name}`"), fix);
        }
    }

    /// The value under a top-level key, as far as it is understood; `None` where it is not there.
    pub fn read<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let (_, value) = entry(&self.document, key)?;
        let mut value = value.clone();
        let mut aside: Vec<String> = Vec::new();
        for _ in 0..limits::CONFIG_PROBLEMS_MAX {
            let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let message = error.message();
            if missing_key(message).is_some_and(|key| aside.iter().any(|name| name == key)) {
                break;
            }
            let (what, fix) = explain(message, key);
            let span = error.span();
            let at = span.as_ref().map(|span| span.start);
            self.add(at.or_else(|| self.place(&[key])), what, fix);
            match span.and_then(|span| set_aside(value.get_mut(), span.start)) {
                Some(name) => aside.push(name),
                None => break,
            }
        }
        None
    }
}

fn entry<'d, 't>(
    table: &'d DeTable<'t>,
    key: &str,
) -> Option<(
    &'d Spanned<std::borrow::Cow<'t, str>>,
    &'d Spanned<DeValue<'t>>,
)> {
    table.get_key_value(key)
}

/// Takes out the entry whose key or value begins there, and tells its key.
fn set_aside(value: &mut DeValue, at: usize) -> Option<String> {
    let DeValue::Table(table) = value else {
        return None;
    };
    let begins = |(key, value): &(&Spanned<_>, &Spanned<_>)| {
        key.span().start == at || value.span().start == at
    };
    let name = table.iter().find(begins)?.0.get_ref().to_string();
    table.remove(name.as_str()).map(|_| name)
}

/// Line and column of a byte, from 1.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    (line, column)
}

/// serde's words for a person: what is wrong, and what to do.
pub fn explain(message: &str, table: &str) -> (String, String) {
    let message = message.trim_end();
    let words: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match words.split_first() {
        Some((key, known)) if message.starts_with("unknown field") => (
            format!("unknown key `{key}` in `{table}`"),
            instead(key, known),
        ),
        Some((key, _)) if message.starts_with("missing field") => (
            format!("`{table}` has no `{key}`"),
            format!("add a line `{key} = ...` to it"),
        ),
        Some((value, known)) if message.starts_with("unknown variant") => (
            format!("`{value}` is not known in `{table}`"),
            instead(value, known),
        ),
        _ => {
            let first = message.lines().next().unwrap_or(message);
            let fix = match first.split("expected ").nth(1) {
                Some("usize" | "u64" | "u32" | "u16") => "give a whole number".to_owned(),
                Some(needed) => format!("give {needed}"),
                None => "correct the value".to_owned(),
            };
            (format!("{first} in `{table}`"), fix)
        }
    }
}

fn missing_key(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("missing field `")?;
    rest.split('`').next()
}

/// The key that serde does not know, where that is what it says.
pub fn unknown_key(message: &str) -> Option<&str> {
    let rest = message.strip_prefix("unknown field `")?;
    rest.split('`').next()
}

/// What was meant by `name`, or everything that could be.
pub fn instead(name: &str, known: &[&str]) -> String {
    let near = known
        .iter()
        .map(|other| (strsim::osa_distance(name, other), other))
        .filter(|(off, other)| {
            *off <= 1 + name.len() / 4 || other.starts_with(name) || name.starts_with(**other)
        })
        .min_by_key(|(off, _)| *off);
    match near {
        Some((_, other)) => format!("did you mean `{other}`?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => format!("known are `{}`", known.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_near() {
        let known = ["folder", "settle_ms", "reference"];
        for (name, fix) in [
            ("settle", "did you mean `settle_ms`?"),
            ("settle_s", "did you mean `settle_ms`?"),
            ("fodler", "did you mean `folder`?"),
            ("colour", "known are `folder`, `settle_ms`, `reference`"),
        ] {
            assert_eq!(instead(name, &known), fix, "{name}");
        }
        assert_eq!(instead("a", &[]), "remove it");
    }

    #[test]
    fn places_are_lines_and_columns_from_1() {
        let text = "a = 1\n[tab]\nb = 2\n[[c]]\nd = 3\n[[c]]\nd = 4\n";
        let reader = Reader::new(text);
        let place = |path: &[&str]| reader.place(path).map(|at| position(text, at));
        assert_eq!(place(&["a"]), Some((1, 1)));
        assert_eq!(place(&["tab", "b"]), Some((3, 1)));
        assert_eq!(place(&["c", "1", "d"]), Some((7, 1)));
        assert_eq!(place(&["c", "1", "e"]), Some((6, 1)));
        assert_eq!(place(&["x"]), None);
    }

    #[test]
    fn a_text_that_is_no_toml_is_told_with_its_line() {
        let reader = Reader::new("a = 1\nb = \n");
        let problem = &reader.problems[0];
        assert_eq!(
            (problem.line, problem.column),
            (Some(2), Some(5)),
            "{problem}"
        );
    }
}
