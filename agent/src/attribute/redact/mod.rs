//! Secrets in arguments, replaced before anything is sealed.
//!
//! In: a NUL-joined argv. Out: the same with every secret value replaced by `‹redacted LEN TAG›`.
//!
//! Always: only the value goes; program names, flags, paths and hosts stay, as far as the rules can tell them
//! apart. Equal values have equal tags on one run of the agent. Work is linear in the length, and the output
//! is longer than the input by a constant at most ([`REPLACED`] marks).
//!
//! Never: keeps or logs what it replaced. It knows names, flags and shapes (`rules.rs`): a secret that looks
//! like any other word, under a name nobody would suspect, stays.

mod rules;
mod tag;

use std::ops::Range;

use rules::{Part, Shapes, Tool};
pub(super) use tag::TagKey;

/// Values replaced one by one; from here on the rest of the command line is one value.
const REPLACED: usize = 64;

/// Replaces secrets.
#[derive(Debug)]
pub(super) struct Redactor {
    key: TagKey,
    shapes: Shapes,
}

impl Redactor {
    pub(super) fn new(key: TagKey) -> Result<Self, regex::Error> {
        Ok(Self { key, shapes: Shapes::new()? })
    }

    /// The arguments without their secrets.
    pub(super) fn redact(&self, argv: &[u8]) -> Vec<u8> {
        let found = merged(self.find(argv), argv.len());
        let mut safe = Vec::with_capacity(argv.len());
        let mut from = 0;
        for range in found {
            safe.extend_from_slice(&argv[from..range.start]);
            let value = &argv[range.clone()];
            safe.extend_from_slice(format!("‹redacted {} {}›", value.len(), self.key.tag(value)).as_bytes());
            from = range.end;
        }
        safe.extend_from_slice(&argv[from..]);
        safe
    }

    fn find(&self, argv: &[u8]) -> Vec<Range<usize>> {
        let args = split(argv, 0..argv.len(), |byte| byte == 0);
        let mut found = Vec::new();
        in_words(argv, &args, &mut found);
        for arg in &args {
            let text = &argv[arg.clone()];
            if text.iter().any(u8::is_ascii_whitespace) {
                // A command line within an argument: `sh -c "mysql -psecret"`. Read as a shell would, and
                // once more through its quotes: `"$(mysql -psecret)"`.
                in_words(argv, &shell_words(argv, arg.clone()), &mut found);
                in_words(
                    argv,
                    &split(argv, arg.clone(), |byte| ends_word(byte) || is_quote(byte)),
                    &mut found,
                );
            }
            self.in_pairs(text, arg.start, &mut found);
            // Whether it is there at all is asked first: to find where takes memory.
            for shape in self.shapes.shapes.iter().filter(|shape| shape.is_match(text)) {
                let groups = shape.captures_iter(text).filter_map(|captures| captures.get(1));
                found.extend(groups.map(|group| arg.start + group.start()..arg.start + group.end()));
            }
        }
        if argv.windows(4).any(|four| four == b"AKIA" || four == b"ASIA") {
            self.beside_access_key(argv, &args, &mut found);
        }
        found
    }

    /// `name=value` anywhere in an argument.
    fn in_pairs(&self, text: &[u8], base: usize, found: &mut Vec<Range<usize>>) {
        if !text.iter().any(|byte| rules::SEPARATORS.contains(byte)) {
            return;
        }
        let mut from = 0;
        while let Some(captures) = self.shapes.pair.captures_at(text, from) {
            let (Some(all), Some(name), Some(separator)) =
                (captures.get(0), captures.get(1), captures.get(2))
            else {
                return;
            };
            from = all.end();
            let bare_colon = separator.as_bytes() == b":" && !rules::is_header(name.as_bytes());
            let in_path = name.start() > 0 && text[name.start() - 1] == b'/';
            let plain = name.as_bytes().iter().skip_while(|byte| **byte == b'-').copied().collect::<Vec<_>>();
            if bare_colon || in_path || !rules::is_secret_name(&plain) {
                continue;
            }
            let whole = name.start() == 0;
            let value = value_at(text, all.end(), whole);
            if !value.is_empty() && !rules::is_reference(&plain, &text[value.clone()]) {
                found.push(base + value.start..base + value.end);
                from = value.end;
            }
        }
    }

    fn beside_access_key(&self, argv: &[u8], args: &[Range<usize>], found: &mut Vec<Range<usize>>) {
        for arg in args {
            for captures in self.shapes.beside_access_key.captures_iter(&argv[arg.clone()]) {
                if let Some(group) = captures.get(1) {
                    // Forty hex digits are a commit.
                    if !group.as_bytes().iter().all(u8::is_ascii_hexdigit) {
                        found.push(arg.start + group.start()..arg.start + group.end());
                    }
                }
            }
        }
    }
}

/// Flags and the words behind them.
fn in_words(argv: &[u8], words: &[Range<usize>], found: &mut Vec<Range<usize>>) {
    let mut tool: Option<&Tool> = None;
    let mut behind = false;
    for (at, range) in words.iter().enumerate() {
        let word = &argv[range.clone()];
        if let Some(named) = rules::tool(word) {
            (tool, behind) = (Some(named), named.behind.is_none());
        }
        let next = words.get(at + 1).cloned();
        if let Some(tool) = tool {
            behind |= tool.behind.is_some_and(|needed| word == needed.as_bytes());
            if behind {
                found.extend(of_tool(argv, tool, range, next.clone()));
            }
        }
        if word.len() > 2 && word.starts_with(b"-") && !word.contains(&b'=') && rules::takes_secret(word) {
            let value = next.filter(|next| {
                let value = &argv[next.clone()];
                !value.starts_with(b"--") && !rules::is_reference(word, value)
            });
            found.extend(value);
        }
    }
}

/// The secret that this word gives a known program, here or in the next word.
fn of_tool(
    argv: &[u8],
    tool: &Tool,
    range: &Range<usize>,
    next: Option<Range<usize>>,
) -> Option<Range<usize>> {
    let word = &argv[range.clone()];
    tool.flags.iter().find_map(|flag| {
        let name = flag.flag.as_bytes();
        let value = if flag.next && word == name {
            next.clone()?
        } else if word.len() > name.len() && word.starts_with(name) && flag.attached {
            range.start + name.len()..range.end
        } else if word.strip_prefix(name)?.first() == Some(&b'=') {
            range.start + name.len() + 1..range.end
        } else {
            return None;
        };
        let value = unquoted(argv, value);
        let text = &argv[value.clone()];
        let skip = match flag.part {
            Part::Whole => 0,
            Part::After(mark) => text.iter().position(|&byte| byte == mark)? + 1,
            Part::AfterPass => text.starts_with(b"pass:").then_some(5)?,
        };
        (skip < text.len()).then(|| value.start + skip..value.end)
    })
}

/// Where the value that begins at `start` ends. One that is the whole argument may contain spaces.
fn value_at(text: &[u8], start: usize, whole: bool) -> Range<usize> {
    let Some(first) = text.get(start) else { return start..start };
    if matches!(first, b'"' | b'\'') {
        let rest = &text[start + 1..];
        let length = rest.iter().position(|byte| byte == first).unwrap_or(rest.len());
        return start + 1..start + 1 + length;
    }
    let ends = |at: usize| {
        let byte = text[at];
        match byte {
            b'&' | b';' | b',' => whole_pair_follows(&text[at + 1..]) || (byte == b'&' && !whole),
            b'"' | b'\'' | b'}' | b')' => !whole,
            _ if byte.is_ascii_whitespace() => !whole || whole_pair_follows(&text[at + 1..]),
            _ => false,
        }
    };
    let end = (start..text.len()).find(|&at| ends(at)).unwrap_or(text.len());
    start..end
}

/// Longest name of a pair that is looked for, so that the walk stays linear.
const NAME: usize = 64;

fn whole_pair_follows(rest: &[u8]) -> bool {
    let name = rest
        .iter()
        .take(NAME)
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"_.- ".contains(byte))
        .count();
    name > 0 && rest.get(name) == Some(&b'=')
}

fn split(text: &[u8], range: Range<usize>, ends: impl Fn(u8) -> bool) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut from = range.start;
    for at in range.clone() {
        if ends(text[at]) {
            words.push(from..at);
            from = at + 1;
        }
    }
    words.push(from..range.end);
    words.retain(|word| !word.is_empty());
    words
}

fn ends_word(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"`;|&()".contains(&byte)
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'')
}

/// Words that quotes hold together.
fn shell_words(text: &[u8], range: Range<usize>) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut from = range.start;
    let mut quote = None;
    for at in range.clone() {
        let byte = text[at];
        match quote {
            Some(open) if open == byte => quote = None,
            Some(_) => {}
            None if is_quote(byte) => quote = Some(byte),
            None if ends_word(byte) => {
                words.push(unquoted(text, from..at));
                from = at + 1;
            }
            None => {}
        }
    }
    words.push(unquoted(text, from..range.end));
    words.retain(|word| !word.is_empty());
    words
}

/// Without the quotes around it.
fn unquoted(text: &[u8], range: Range<usize>) -> Range<usize> {
    match &text[range.clone()] {
        [first, .., last] if first == last && is_quote(*first) => range.start + 1..range.end - 1,
        _ => range,
    }
}

/// In order, without overlaps, at most [`REPLACED`].
fn merged(mut found: Vec<Range<usize>>, length: usize) -> Vec<Range<usize>> {
    found.retain(|range| !range.is_empty());
    found.sort_by_key(|range| (range.start, range.end));
    let mut merged = Vec::<Range<usize>>::new();
    for range in found {
        let full = merged.len() == REPLACED;
        match merged.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            Some(last) if full => {
                last.end = length;
                break;
            }
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
