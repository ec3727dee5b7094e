//! Rules on the sources that no lint knows: size, unsafe only where it may stand, nothing left to do.

use crate::repo::Repo;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Lines of a Rust file, its tests not counted.
const LINES: usize = 600;

/// Files and folders in which unsafe code may stand, each piece with its reason beside it.
const UNSAFE: [&str; 4] =
    ["agent/src/sys.rs", "tests/src/syscalls/", "ebpf/sensor/src/kernel/", "ebpf/sensor/src/emit.rs"];

/// Crates whose roots forbid it.
const FORBID: [&str; 4] = ["record", "central", "ebpf/abi", "xtask"];

/// Words that say that something is not finished. Spelled in two halves so that this file has none.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Endings of the files that are read.
const ENDINGS: [&str; 6] = ["rs", "toml", "md", "proto", "sh", "yml"];

/// What was found, one line each.
pub(crate) fn findings(repo: &Repo) -> Result<Vec<String>> {
    let mut files = Vec::new();
    list(&repo.root, &mut files)?;
    files.sort();
    let mut found = Vec::new();
    for file in &files {
        let text =
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        found.extend(in_file(repo.short(file), &text));
    }
    Ok(found)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let hidden = name.to_str().is_none_or(|name| name.starts_with('.'));
        if entry.file_type()?.is_dir() {
            if !hidden && name != "target" {
                list(&path, files)?;
            }
        } else if path.extension().and_then(|end| end.to_str()).is_some_and(|end| ENDINGS.contains(&end)) {
            files.push(path);
        }
    }
    Ok(())
}

fn in_file(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let at = |line: usize, what: &str| format!("{}:{}: {what}", path.display(), line + 1);
    for (number, line) in text.lines().enumerate() {
        if let Some(word) = words(line).find(|word| UNFINISHED.contains(word)) {
            found.push(at(number, &format!("{word}: finish it or write down elsewhere what is open")));
        }
    }
    if path.extension().is_none_or(|end| end != "rs") {
        return found;
    }
    let code = code_of(text);
    if !UNSAFE.iter().any(|place| path.starts_with(place)) {
        // An attribute such as `#[unsafe(no_mangle)]` is guarded by the lint and the reason it asks for.
        let is_unsafe = |line: &str| words(&line.replace("#[unsafe(", "")).any(|word| word == "unsafe");
        let lines = code.lines().enumerate().filter(|(_, line)| is_unsafe(line));
        found.extend(lines.map(|(number, _)| at(number, "unsafe code outside its places")));
    }
    let is_root = FORBID.iter().any(|name| {
        let folder = Path::new(name).join("src");
        path == folder.join("lib.rs") || path == folder.join("main.rs")
    });
    if is_root && !code.contains("#![forbid(unsafe_code)]") {
        found.push(at(0, "a root without #![forbid(unsafe_code)]"));
    }
    let lines = production_lines(path, &code);
    if lines > LINES {
        found.push(at(0, &format!("{lines} lines without tests; a file stops at {LINES}")));
    }
    found
}

/// Lines before the tests; a file that is tests as a whole has none.
fn production_lines(path: &Path, code: &str) -> usize {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let is_test = path.starts_with("tests/suites") || name == "tests" || name.ends_with("_tests");
    if is_test {
        return 0;
    }
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    let opens_tests =
        |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{');
    lines.windows(2).position(opens_tests).unwrap_or(lines.len())
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The text with comments and the insides of literals blanked, line for line.
fn code_of(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = '\n';
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if first == '"' {
            quoted(rest, '"')
        } else if !(before.is_alphanumeric() || before == '_') && raw_string(rest).is_some() {
            raw_string(rest).unwrap_or(rest.len())
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            0
        };
        if skipped == 0 {
            out.push(first);
            before = first;
            rest = &rest[first.len_utf8()..];
        } else {
            out.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
            before = ' ';
            rest = &rest[skipped..];
        }
    }
    out
}

/// Length of a nested block comment.
fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of a literal with escapes, quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Length of `r"…"`, `r#"…"#`, `br#"…"#`, if one begins here.
fn raw_string(text: &str) -> Option<usize> {
    let letters = ["br", "cr", "r"].iter().find(|letters| text.starts_with(**letters))?.len();
    let hashes = text[letters..].chars().take_while(|c| *c == '#').count();
    let open = letters + hashes;
    text[open..].starts_with('"').then_some(())?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = text[open + 1..].find(&close).map_or(text.len(), |at| open + 1 + at + close.len());
    Some(end)
}

/// A character and not a lifetime: `'x'`, `'\n'`.
fn is_character(text: &str) -> bool {
    let mut after = text.chars().skip(1);
    match after.next() {
        Some('\\') => true,
        Some(_) => after.next() == Some('\''),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        in_file(Path::new(path), text)
    }

    #[test]
    fn unsafe_is_seen_in_code_and_not_in_words_about_it() {
        let text = "// unsafe\nlet a = \"unsafe\"; let b = r#\"unsafe \"# ; let c = '\"'; let d: &'static str;\n\
                    /* unsafe /* nested */ unsafe */ fn f<'a>() {}\nunsafe { g() }\n";
        assert_eq!(found("agent/src/x.rs", text), ["agent/src/x.rs:4: unsafe code outside its places"]);
        assert!(found("agent/src/sys.rs", text).is_empty());
        assert!(found("ebpf/sensor/src/kernel/task.rs", text).is_empty());
    }

    #[test]
    fn a_root_has_to_forbid_unsafe() {
        assert_eq!(found("record/src/lib.rs", "//! x\n").len(), 1);
        assert!(found("record/src/lib.rs", "#![forbid(unsafe_code)]\n").is_empty());
        assert_eq!(found("record/src/lib.rs", "// #![forbid(unsafe_code)]\n").len(), 1);
    }

    #[test]
    fn lines_are_counted_without_tests() {
        let code = "fn a() {}\n".repeat(600);
        let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &"// x\n".repeat(300) + "}\n";
        assert!(found("agent/src/x.rs", &(code.clone() + &tests)).is_empty());
        assert_eq!(found("agent/src/x.rs", &(code + "fn b() {}\n" + &tests)).len(), 1);
    }

    #[test]
    fn what_is_left_to_do_is_found_in_any_text() {
        let text = format!("# {} later\n", UNFINISHED[0]);
        assert_eq!(found("README.md", &text).len(), 1);
        assert!(found("README.md", "mastodons\n").is_empty());
    }
}
