//! JSON objects with attributes in a fixed order, and their text.

use std::fmt::Write as _;
use std::io;

use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use serde_json::{Map, Value};

use crate::text::invisible;

/// An object under construction. What has no value is left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object(Map<String, Value>);

impl Object {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn put(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn maybe(&mut self, name: &str, value: Option<impl Into<Value>>) -> &mut Self {
        match value {
            Some(value) => self.put(name, value),
            None => self,
        }
    }

    /// Left out when empty.
    pub(crate) fn text(&mut self, name: &str, value: &str) -> &mut Self {
        self.maybe(name, (!value.is_empty()).then_some(value))
    }

    /// Left out when 0.
    pub(crate) fn number(&mut self, name: &str, value: impl Into<u64>) -> &mut Self {
        let value = value.into();
        self.maybe(name, (value != 0).then_some(value))
    }

    /// Left out when false.
    pub(crate) fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.maybe(name, value.then_some(true))
    }

    /// Left out when empty.
    pub(crate) fn object(&mut self, name: &str, value: Self) -> &mut Self {
        self.maybe(name, (!value.0.is_empty()).then_some(value))
    }

    /// Left out when empty.
    pub(crate) fn list(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = impl Into<Value>>,
    ) -> &mut Self {
        let values: Vec<Value> = values.into_iter().map(Into::into).collect();
        self.maybe(name, (!values.is_empty()).then_some(values))
    }

    pub(crate) fn append(&mut self, other: Self) -> &mut Self {
        self.0.extend(other.0);
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(object.0)
    }
}

/// Bytes that are not UTF-8: `\xNN` for each such byte, a backslash doubled, everything else as it is.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// JSON in one line that is safe to show: what cannot be seen (DEL, C1, bidi overrides and the like, which
/// JSON itself lets pass) is written as `\uNNNN`. Any JSON reader gives the same value as for the plain form.
pub fn compact(value: &Value) -> String {
    let mut out = Vec::new();
    let written = serde::Serialize::serialize(value, &mut Serializer::with_formatter(&mut out, Visible));
    debug_assert!(written.is_ok(), "a JSON value always has a text");
    String::from_utf8(out).unwrap_or_default()
}

struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Most of what is shown is plain: not worth asking of each character whether it can be seen.
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return CompactFormatter.write_string_fragment(writer, fragment);
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(invisible) {
            let (plain, from) = rest.split_at(at);
            CompactFormatter.write_string_fragment(writer, plain)?;
            let mut characters = from.chars();
            for unit in characters.next().iter().flat_map(|c| c.encode_utf16(&mut [0; 2]).to_vec()) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = characters.as_str();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_terminal_gets_no_command_from_a_json_line() {
        let text = compact(&Value::from("a\u{9b}31m\u{202e}\u{7f}\u{e0041}\n\\"));
        assert_eq!(text, r#""a\u009b31m\u202e\u007f\udb40\udc41\n\\""#);
    }

    proptest! {
        #[test]
        fn any_string_comes_back_from_a_line_without_invisible_characters(text in any::<String>()) {
            let line = compact(&Value::from(text.as_str()));
            prop_assert!(!line.chars().any(invisible));
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }

        #[test]
        fn bytes_that_are_not_utf8_come_back(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(crate::text::unescape(&escape(&bytes)), Some(bytes));
        }
    }
}
