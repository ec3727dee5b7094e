//! A file in words and as OCSF's `file` object.

use serde_json::Value;

use crate::ocsf::{Object, Scene, word_of};
use crate::text::quoted;
use crate::v1::{File, Outcome};

/// Bits of `st_mode` that hold the type (S_IFMT), and its values.
const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
const CHARACTER: u32 = 0o020_000;
const BLOCK: u32 = 0o060_000;
const SOCKET: u32 = 0o140_000;
const FIFO: u32 = 0o010_000;
const LINK: u32 = 0o120_000;
/// Width of the minor number in the kernel's `dev_t`.
const MINOR_BITS: u32 = 20;

/// How a file is shown to people: its path, `…` before it when its beginning is missing, its inode without one.
pub(crate) fn shown(file: &File) -> String {
    match (file.path.as_slice(), file.cut) {
        ([], _) => format!("inode {} of {}", file.inode, device(file.device)),
        (path, false) => quoted(path),
        (path, true) => format!("…{}", quoted(path)),
    }
}

/// The same for a field that may be missing.
pub(crate) fn shown_or_unknown(file: Option<&File>) -> String {
    file.map_or_else(|| "a file that is not named".to_owned(), shown)
}

/// "alice opened X", "alice was refused: open X", "alice opened X, as the call reported".
pub(crate) fn act(who: &str, outcome: Outcome, done: &str, to_do: &str, object: &str) -> String {
    match outcome {
        Outcome::Refused => format!("{who} was refused: {to_do} {object}"),
        Outcome::Reported => format!("{who} {done} {object}, as the call reported"),
        Outcome::Success | Outcome::Unspecified => format!("{who} {done} {object}"),
    }
}

/// "8:1" of the kernel's number.
pub(crate) fn device(number: u64) -> String {
    format!("{}:{}", number >> MINOR_BITS, number & ((1 << MINOR_BITS) - 1))
}

/// `dev=8:1,ino=42,gen=7`: names the inode for as long as it lives. `None` = inode unknown.
pub(crate) fn identity(number: u64, inode: u64, generation: u32) -> Option<String> {
    let generation = if generation == 0 { String::new() } else { format!(",gen={generation}") };
    (inode != 0).then(|| format!("dev={},ino={inode}{generation}", device(number)))
}

/// OCSF's `file`; `at` is its place in the event.
pub(crate) fn object(scene: &Scene<'_>, at: &str, file: &File) -> Object {
    let identity = identity(file.device, file.inode, file.generation);
    let name = match name(&file.path) {
        [] => identity.clone().unwrap_or_else(|| "unknown".into()),
        name => scene.bytes(&format!("{at}.name"), name),
    };
    let (type_id, kind) = kind(file.mode);
    let mut out = Object::default();
    out.put("name", name);
    out.text("path", &scene.bytes(&format!("{at}.path"), &file.path));
    out.put("type_id", type_id).put("type", kind);
    out.maybe("uid", identity);
    if file.mode != 0 {
        out.maybe("size", i64::try_from(file.size).ok());
        let mut owner = Object::new();
        owner.put("uid", file.uid.to_string());
        out.object("owner", owner);
    }
    out
}

/// A file whose field is missing: the class demands one.
pub(crate) fn object_or_unknown(scene: &Scene<'_>, at: &str, file: Option<&File>) -> Object {
    object(scene, at, file.unwrap_or(&File::default()))
}

/// What OCSF's `file` has no place for.
pub(crate) fn rest(scene: &Scene<'_>, at: &str, file: &File) -> Object {
    let mut out = Object::default();
    out.text("path_source", &word_of("PATH_SOURCE_", file.path_source().as_str_name()));
    out.flag("path_cut", file.cut);
    if file.device != 0 || file.inode != 0 {
        out.put("device", device(file.device));
    }
    out.number("inode", file.inode).number("generation", file.generation);
    if file.mode != 0 {
        out.put("mode", format!("{:06o}", file.mode)).put("gid", file.gid).put("links", file.links);
    }
    out.text("filesystem", &file.filesystem);
    let aliases = file.aliases.iter().enumerate();
    out.list("aliases", aliases.map(|(n, path)| scene.bytes(&format!("{at}.aliases[{n}]"), path)));
    out
}

/// The part after the last slash; the root is its own name.
pub(crate) fn name(path: &[u8]) -> &[u8] {
    match path.rsplit(|byte| *byte == b'/').find(|part| !part.is_empty()) {
        Some(name) => name,
        None => path,
    }
}

fn kind(mode: u32) -> (u32, Value) {
    let (id, word) = match mode & TYPE {
        REGULAR => (1, "Regular File"),
        DIRECTORY => (2, "Folder"),
        CHARACTER => (3, "Character Device"),
        BLOCK => (4, "Block Device"),
        SOCKET => (5, "Local Socket"),
        FIFO => (6, "Named Pipe"),
        LINK => (7, "Symbolic Link"),
        _ => (0, "Unknown"),
    };
    (id, word.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_last_component() {
        assert_eq!(name(b"/etc/motd"), b"motd");
        assert_eq!(name(b"/etc/"), b"etc");
        assert_eq!(name(b"/"), b"/");
        assert_eq!(name(b""), b"");
    }

    #[test]
    fn a_file_without_a_path_is_named_by_its_inode() {
        let file = File { device: 8 << 20 | 1, inode: 42, ..File::default() };
        assert_eq!(shown(&file), "inode 42 of 8:1");
        assert_eq!(identity(file.device, 42, 7).as_deref(), Some("dev=8:1,ino=42,gen=7"));
        assert_eq!(identity(file.device, 0, 7), None);
    }

    #[test]
    fn a_path_whose_beginning_is_missing_says_so() {
        assert_eq!(shown(&File { path: b"deep/x".into(), cut: true, ..File::default() }), "…deep/x");
    }
}
