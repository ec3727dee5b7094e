//! The shared libraries that programs of this machine load, as its own loader finds them.

use crate::fault;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// All libraries of all these programs, and their loader; those in these folders come first.
pub(crate) fn of(programs: &[PathBuf], folders: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>> {
    let mut command = Command::new("ldd");
    crate::cargo::clean(&mut command);
    if !folders.is_empty() {
        command.env("LD_LIBRARY_PATH", std::env::join_paths(folders)?);
    }
    // A program without libraries makes ldd fail and is none of our concern.
    let output = command.env("LC_ALL", "C").args(programs).output().context("cannot run ldd")?;
    parse(&String::from_utf8_lossy(&output.stdout))
}

/// True for what the loader could be asked about.
pub(crate) fn is_program(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0; 4];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *b"\x7fELF"
}

/// The folders of what is a library by its name, such as `libx.so.1`: a program among these files may need it.
pub(crate) fn folders(files: &[PathBuf]) -> BTreeSet<PathBuf> {
    let name = |file: &Path| file.file_name().map(|name| name.to_string_lossy().into_owned());
    let is_library = |file: &Path| {
        name(file)
            .is_some_and(|name| name.starts_with("lib") && (name.ends_with(".so") || name.contains(".so.")))
    };
    let libraries = files.iter().filter(|file| is_library(file));
    libraries.filter_map(|file| file.parent()).map(Path::to_path_buf).collect()
}

/// `name => path (address)`, or `path (address)`; what has no path is made by the kernel.
fn parse(text: &str) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with(char::is_whitespace)).map(str::trim) {
        let (name, rest) = line.split_once(" => ").unwrap_or((line, line));
        if rest == "not found" {
            return Err(fault::host(format!("a program needs {name}, which is not on this machine")));
        }
        let path = rest.split(" (").next().unwrap_or(rest);
        if path.starts_with('/') {
            found.insert(PathBuf::from(path));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found_once_each() -> Result<()> {
        let text = "/a/agent:\n\tlinux-vdso.so.1 (0x00007fb5e8542000)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fb5e761e000)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007fb5e8544000)\n\
                    /a/static:\n\tnot a dynamic executable\n/a/b:\n\tstatically linked\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007fb5e761e000)\n";
        let found: Vec<PathBuf> = parse(text)?.into_iter().collect();
        assert_eq!(
            found,
            ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from)
        );
        Ok(())
    }

    #[test]
    fn libraries_among_the_files_are_known_by_their_names() {
        let files =
            ["/a/b/libx.so.1", "/a/b/liby.so.0.0.0", "/c/libz.so", "/d/program", "/e/libx.sort", "/f/x.so.1"];
        let found: Vec<PathBuf> = folders(&files.map(PathBuf::from)).into_iter().collect();
        assert_eq!(found, ["/a/b", "/c"].map(PathBuf::from));
    }

    #[test]
    fn a_library_that_is_not_there_is_said_by_name() {
        let refused = parse("/a:\n\tlibx.so.1 => not found\n");
        assert!(refused.is_err_and(|error| error.to_string().contains("libx.so.1")));
    }
}
