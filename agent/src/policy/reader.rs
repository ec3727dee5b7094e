//! Walks the tables of a TOML file and remembers where everything stood.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{LISTED, Problem};

/// Nearest key is offered only when it is this near: two typing errors.
const NEAR: usize = 2;

/// Reads values and collects problems instead of stopping at the first.
pub(super) struct Reader<'t> {
    text: &'t str,
    problems: Vec<Problem>,
    more: usize,
}

/// One table, and how it is reached.
#[derive(Clone)]
pub(super) struct Section<'v> {
    path: String,
    table: &'v DeTable<'v>,
    at: usize,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) at: usize,
}

/// The keys of one kind of table.
pub(super) struct Keys {
    /// What this release reads.
    pub(super) known: &'static [&'static str],
    /// What the format has and this release does not read.
    pub(super) later: &'static [&'static str],
}

impl<'v> Section<'v> {
    pub(super) fn root(table: &'v DeTable<'v>) -> Self {
        Self { path: String::new(), table, at: 0 }
    }

    /// The key as written from the top.
    pub(super) fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Where the table begins.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Whether the key is there, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    fn value(&self, key: &str) -> Option<&'v Spanned<DeValue<'v>>> {
        self.table.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn inner(&self, key: &str, value: &'v Spanned<DeValue<'v>>) -> Option<Self> {
        let table = value.get_ref().as_table()?;
        Some(Self { path: self.key(key), table, at: value.span().start })
    }
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, problems: Vec::new(), more: 0 }
    }

    /// Everything that was wrong, in the order of the file.
    pub(super) fn finish(mut self) -> Result<(), (Vec<Problem>, usize)> {
        if self.problems.is_empty() {
            return Ok(());
        }
        self.problems.sort_by_key(|problem| (problem.line, problem.column));
        Err((self.problems, self.more))
    }

    /// Notes a problem at a byte offset.
    pub(super) fn problem(&mut self, at: usize, key: String, message: impl Into<String>) {
        if self.problems.len() >= LISTED {
            self.more += 1;
            return;
        }
        let (line, column) = self.position(at);
        self.problems.push(Problem { line, column, key, message: message.into() });
    }

    /// Refuses keys that are not in `keys`.
    pub(super) fn only(&mut self, section: &Section<'_>, keys: &Keys) {
        for name in section.table.keys() {
            let key = name.get_ref().as_ref();
            let at = name.span().start;
            if keys.known.contains(&key) {
                continue;
            }
            let message = if keys.later.contains(&key) {
                "not supported by this release; remove it".to_owned()
            } else {
                unknown("key", key, keys.known)
            };
            self.problem(at, section.key(key), message);
        }
    }

    /// A table that may be absent.
    pub(super) fn section<'v>(&mut self, parent: &Section<'v>, key: &str) -> Option<Section<'v>> {
        let value = parent.value(key)?;
        let inner = parent.inner(key, value);
        if inner.is_none() {
            self.wrong(parent, key, value, "a table");
        }
        inner
    }

    /// A list of tables, `[[key]]`.
    pub(super) fn sections<'v>(&mut self, parent: &Section<'v>, key: &str) -> Vec<Section<'v>> {
        let Some(value) = parent.value(key) else { return Vec::new() };
        let Some(list) = value.get_ref().as_array() else {
            let header = format!("a list of tables, each begun by [[{}]]", parent.key(key));
            self.wrong(parent, key, value, &header);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for entry in list.iter() {
            match parent.inner(key, entry) {
                Some(section) => sections.push(section),
                None => self.wrong(parent, key, entry, "a table"),
            }
        }
        sections
    }

    /// A string that may be absent.
    pub(super) fn text(&mut self, section: &Section<'_>, key: &str) -> Option<At<String>> {
        let value = section.value(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong(section, key, value, "a string");
        }
        Some(At { value: text?.to_owned(), at: value.span().start })
    }

    /// A string that must be there and not be empty.
    pub(super) fn needed(&mut self, section: &Section<'_>, key: &str, what: &str) -> Option<At<String>> {
        if section.value(key).is_none() {
            self.problem(section.at, section.key(key), format!("missing: {what}"));
            return None;
        }
        let text = self.text(section, key)?;
        if text.value.is_empty() {
            self.problem(text.at, section.key(key), format!("empty: {what}"));
            return None;
        }
        Some(text)
    }

    /// A whole number that may be absent.
    pub(super) fn number(&mut self, section: &Section<'_>, key: &str) -> Option<At<i64>> {
        let value = section.value(key)?;
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|number| i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok());
        if number.is_none() {
            self.wrong(section, key, value, "a whole number");
        }
        Some(At { value: number?, at: value.span().start })
    }

    /// One string or a list of strings; none when the key is absent.
    pub(super) fn texts(&mut self, section: &Section<'_>, key: &str) -> Option<Vec<At<String>>> {
        let value = section.value(key)?;
        let values = match value.get_ref() {
            DeValue::String(_) => vec![value],
            DeValue::Array(list) => list.iter().collect(),
            _ => {
                self.wrong(section, key, value, "a list of strings");
                return None;
            }
        };
        if values.is_empty() {
            self.problem(value.span().start, section.key(key), "empty: name at least one, or remove the key");
        }
        let mut texts = Vec::new();
        for value in values {
            match value.get_ref().as_str() {
                Some("") => {
                    self.problem(value.span().start, section.key(key), "an empty string names nothing")
                }
                Some(text) => texts.push(At { value: text.to_owned(), at: value.span().start }),
                None => self.wrong(section, key, value, "a string"),
            }
        }
        Some(texts)
    }

    /// A list of strings that must be there.
    pub(super) fn needed_texts(&mut self, section: &Section<'_>, key: &str, what: &str) -> Vec<At<String>> {
        if section.value(key).is_none() {
            self.problem(section.at, section.key(key), format!("missing: {what}"));
        }
        self.texts(section, key).unwrap_or_default()
    }

    fn wrong(&mut self, section: &Section<'_>, key: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let found = value.get_ref().type_str();
        let article = if found.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
        self.problem(
            value.span().start,
            section.key(key),
            format!("expected {expected}, found {article} {found}"),
        );
    }

    fn position(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
        (line, column)
    }
}

/// "unknown …", with the nearest allowed word or all of them.
pub(super) fn unknown(what: &str, word: &str, allowed: &[&str]) -> String {
    let nearest = allowed.iter().map(|known| (distance(word, known), known)).min();
    match nearest {
        Some((distance, known)) if distance <= NEAR && distance < known.len() => {
            format!("unknown {what} \"{word}\"; did you mean \"{known}\"?")
        }
        _ => format!("unknown {what} \"{word}\"; allowed: {}", allowed.join(", ")),
    }
}

/// Levenshtein's, over characters.
fn distance(a: &str, b: &str) -> usize {
    let b = b.chars().collect::<Vec<_>>();
    let mut row = (0..=b.len()).collect::<Vec<_>>();
    for (i, from) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let cost = (corner + usize::from(from != *to)).min(row[j] + 1).min(row[j + 1] + 1);
            corner = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_answered_with_the_key_that_was_meant() {
        assert_eq!(
            unknown("key", "pathes", &["name", "paths"]),
            "unknown key \"pathes\"; did you mean \"paths\"?"
        );
        assert_eq!(
            unknown("key", "frequency", &["name", "paths"]),
            "unknown key \"frequency\"; allowed: name, paths"
        );
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn positions_count_lines_and_characters() {
        let reader = Reader::new("a = 1\nbé = 2\n");
        assert_eq!(reader.position(0), (1, 1));
        assert_eq!(reader.position(6), (2, 1));
        assert_eq!(reader.position(10), (2, 4));
    }
}
