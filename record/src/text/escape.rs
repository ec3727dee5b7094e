//! Hostile bytes to harmless text, and back.

use std::fmt::Write;

/// Text that shows every byte of a host's string and does nothing: control bytes, DEL, C1, bidi overrides and
/// other characters that cannot be seen, and bytes that are not UTF-8 become `\xNN` a byte, a backslash is
/// doubled, and everything else stays. [`unescape`] gives the bytes back.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                c if invisible(c) => hex(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => out.push(c),
            }
        }
        hex(&mut out, chunk.invalid());
    }
    out
}

/// The same, in quotes when a space, a quote or nothing at all would blur where it begins and ends.
pub fn quoted(bytes: &[u8]) -> String {
    let text = escape(bytes);
    match text.contains([' ', '"']) || text.is_empty() {
        true => format!("\"{}\"", text.replace('"', "\\x22")),
        false => text,
    }
}

/// The bytes that [`escape`] was given; `None` when the text is not its work.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                out.push(b'\\');
                after
            }
            (b'\\', [b'x', high, low, after @ ..]) => {
                out.extend(hex::decode([*high, *low]).ok()?);
                after
            }
            (b'\\', _) => return None,
            (byte, after) => {
                out.push(byte);
                after
            }
        };
    }
    Some(out)
}

fn hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// Characters that are not seen where they stand, or change how others are: controls, format characters (Cf),
/// separators other than the space, default-ignorable code points.
pub(crate) fn invisible(c: char) -> bool {
    c.is_control() || (c.is_whitespace() && c != ' ') || INVISIBLE.iter().any(|range| range.contains(&c))
}

const INVISIBLE: &[std::ops::RangeInclusive<char>] = &[
    '\u{ad}'..='\u{ad}',   // soft hyphen
    '\u{34f}'..='\u{34f}', // combining grapheme joiner
    '\u{600}'..='\u{605}', // Arabic number signs
    '\u{61c}'..='\u{61c}', // Arabic letter mark (bidi)
    '\u{6dd}'..='\u{6dd}',
    '\u{70f}'..='\u{70f}',
    '\u{890}'..='\u{891}',
    '\u{8e2}'..='\u{8e2}',
    '\u{115f}'..='\u{1160}', // Hangul fillers
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}', // Mongolian selectors
    '\u{200b}'..='\u{200f}', // zero width, LRM, RLM
    '\u{202a}'..='\u{202e}', // bidi embeddings and overrides
    '\u{2060}'..='\u{206f}', // word joiner, bidi isolates
    '\u{2800}'..='\u{2800}', // blank braille
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}', // variation selectors
    '\u{feff}'..='\u{feff}', // byte order mark
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}', // interlinear annotation
    '\u{110bd}'..='\u{110bd}',
    '\u{110cd}'..='\u{110cd}',
    '\u{13430}'..='\u{1345f}', // hieroglyph controls
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}', // musical controls
    '\u{e0000}'..='\u{e0fff}', // tags, more variation selectors
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_terminal_gets_no_command_from_a_file_name() {
        let name = b"/tmp/\x1b]0;owned\x07\x7f\xc2\x9b31m\xe2\x80\xaegpj.exe\n\xff\\";
        let text = escape(name);
        assert_eq!(text, r"/tmp/\x1b]0;owned\x07\x7f\xc2\x9b31m\xe2\x80\xaegpj.exe\x0a\xff\\");
        assert_eq!(unescape(&text).as_deref(), Some(&name[..]));
    }

    #[test]
    fn letters_of_any_script_stay_readable() {
        assert_eq!(escape("/home/Zoë/日本語/файл".as_bytes()), "/home/Zoë/日本語/файл");
    }

    #[test]
    fn a_name_with_spaces_cannot_look_like_the_rest_of_the_line() {
        assert_eq!(quoted(b"motd by sshd[1]"), "\"motd by sshd[1]\"");
        assert_eq!(quoted(b"a\" b"), r#""a\x22 b""#);
        assert_eq!(quoted(b""), "\"\"");
    }

    #[test]
    fn text_that_escape_never_writes_is_not_unescaped() {
        for text in ["\\", "\\n", "\\x", "\\x1", "\\xzz"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let text = escape(&bytes);
            prop_assert!(!text.chars().any(invisible));
            prop_assert_eq!(unescape(&text), Some(bytes));
        }

        #[test]
        fn any_characters_come_back_and_none_is_invisible(text in any::<String>()) {
            let shown = escape(text.as_bytes());
            prop_assert!(!shown.chars().any(invisible));
            prop_assert_eq!(unescape(&shown), Some(text.clone().into_bytes()));
            let inner = quoted(text.as_bytes());
            let inner = inner.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(&inner);
            prop_assert!(!inner.contains('"'));
            prop_assert_eq!(unescape(inner), Some(text.into_bytes()));
        }
    }
}
