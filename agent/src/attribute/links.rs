//! Other names of protected files: a hard link elsewhere is the same file.
//!
//! In: the files below the protected roots that have more than one name, as a walk finds them once, and every hard
//! link that is made later. Out: the known name of such a file is added to a record of its inode, as an alias; policy
//! looks at every name. Bounded; what does not fit is counted, and said by the caller.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use graven_record::v1::record::Event;
use graven_record::v1::{CreateKind, File, Outcome};

/// Files remembered: some 2 MB. Debian's /usr has a few hundred with more than one name; on an ostree host every file
/// has, and there both names are protected.
const FILES: usize = 16_384;
/// Names that wait between the walk and the agent.
const WAITING: usize = 256;
/// Directories deep a walk goes: PATH_MAX has room for no more.
const DEPTH: usize = 2048;

/// A file with more than one name: its inode and one path.
pub type Found = (u64, PathBuf);

/// Walks the roots on a thread of its own; the receiver ends when the walk has. Symbolic links are not followed.
pub fn walk(roots: Vec<PathBuf>) -> std::io::Result<Receiver<Found>> {
    let (outgoing, incoming) = sync_channel(WAITING);
    std::thread::Builder::new().name("links".to_owned()).spawn(move || {
        for root in roots {
            if !visit(&root, DEPTH, &outgoing) {
                return;
            }
        }
    })?;
    Ok(incoming)
}

/// False when nobody listens any more. What cannot be read has no names to tell.
fn visit(path: &Path, depth: usize, to: &SyncSender<Found>) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(facts) = path.symlink_metadata() else { return true };
    if facts.is_file() {
        return facts.nlink() < 2 || to.send((facts.ino(), path.to_path_buf())).is_ok();
    }
    if !facts.is_dir() || depth == 0 {
        return true;
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.into_iter().all(|entry| visit(&entry.path(), depth - 1, to))
}

/// One known name of each file that has more than one.
#[derive(Debug, Default)]
pub(super) struct Links {
    names: HashMap<(u64, u64), Vec<u8>>,
    /// Files beyond the bound.
    pub(super) untold: u64,
}

impl Links {
    /// A file of the device `device` (`s_dev`) has more than one name, and this is one of them.
    pub(super) fn learn(&mut self, device: u64, inode: u64, path: Vec<u8>) {
        if self.names.len() >= FILES && !self.names.contains_key(&(device, inode)) {
            self.untold += 1;
            return;
        }
        self.names.entry((device, inode)).or_insert(path);
    }

    /// Adds the known name to every file of the event that has more than one, and learns from the event.
    pub(super) fn complete(&mut self, event: &mut Event) {
        self.follow(event);
        if self.names.is_empty() {
            return;
        }
        for file in files(event).into_iter().flatten().filter(|file| file.links > 1) {
            if let Some(name) = self.names.get(&(file.device, file.inode))
                && file.path != *name
                && !file.aliases.contains(name)
            {
                file.aliases.push(name.clone());
            }
        }
    }

    fn follow(&mut self, event: &Event) {
        match event {
            Event::Create(made) if made.kind() == CreateKind::Link && made.outcome() == Outcome::Success => {
                if let Some(from) = &made.from {
                    self.learn(from.device, from.inode, from.path.clone());
                }
            }
            Event::Unlink(gone) => {
                if let Some(file) = &gone.file
                    && self.is_at(file)
                {
                    self.names.remove(&(file.device, file.inode));
                }
            }
            Event::Rename(moved) => {
                if let (Some(from), Some(to)) = (&moved.from, &moved.to)
                    && self.is_at(from)
                {
                    self.names.insert((from.device, from.inode), to.path.clone());
                }
            }
            _ => {}
        }
    }

    fn is_at(&self, file: &File) -> bool {
        self.names.get(&(file.device, file.inode)).is_some_and(|name| *name == file.path)
    }
}

fn files(event: &mut Event) -> [Option<&mut File>; 3] {
    match event {
        Event::Open(open) => [open.file.as_mut(), None, None],
        Event::Modify(modify) => [modify.file.as_mut(), None, None],
        Event::Create(create) => [create.file.as_mut(), None, None],
        Event::Unlink(unlink) => [unlink.file.as_mut(), None, None],
        Event::Attr(attr) => [attr.file.as_mut(), None, None],
        Event::Truncate(truncate) => [truncate.file.as_mut(), None, None],
        Event::Mmap(mmap) => [mmap.file.as_mut(), None, None],
        Event::Rename(rename) => [rename.from.as_mut(), rename.to.as_mut(), rename.replaced.as_mut()],
        _ => [None, None, None],
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
    use graven_record::v1;

    use super::*;

    fn file(path: &str, links: u32) -> Option<File> {
        Some(File { path: path.into(), device: 8, inode: 5, links, ..File::default() })
    }

    fn changed(links: &mut Links, path: &str) -> Vec<Vec<u8>> {
        let mut event = Event::Modify(v1::Modify { file: file(path, 2), ..v1::Modify::default() });
        links.complete(&mut event);
        let Event::Modify(modify) = event else { unreachable!() };
        modify.file.unwrap().aliases
    }

    #[test]
    fn a_link_elsewhere_has_the_protected_name_too_until_that_is_gone() {
        let mut links = Links::default();
        assert!(changed(&mut links, "/tmp/x").is_empty());
        let mut made = Event::Create(v1::Create {
            file: file("/tmp/x", 2),
            from: file("/etc/passwd", 2),
            kind: CreateKind::Link.into(),
            outcome: Outcome::Success.into(),
            ..v1::Create::default()
        });
        links.complete(&mut made);
        assert_eq!(changed(&mut links, "/tmp/x"), [b"/etc/passwd".to_vec()]);
        assert!(changed(&mut links, "/etc/passwd").is_empty());
        let mut gone = Event::Unlink(v1::Unlink { file: file("/etc/passwd", 1), ..v1::Unlink::default() });
        links.complete(&mut gone);
        assert!(changed(&mut links, "/tmp/x").is_empty());
    }

    #[test]
    fn a_walk_finds_what_has_two_names_and_the_bound_is_counted() {
        let folder = std::env::temp_dir().join(format!("graven-links-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("deep")).unwrap();
        std::fs::write(folder.join("deep/one"), "x").unwrap();
        std::fs::write(folder.join("single"), "x").unwrap();
        std::fs::hard_link(folder.join("deep/one"), folder.join("two")).unwrap();
        let found: Vec<PathBuf> = walk(vec![folder.clone()]).unwrap().iter().map(|(_, path)| path).collect();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found.len(), 2, "{found:?}");
        let mut links = Links::default();
        (0..FILES as u64 + 3).for_each(|inode| links.learn(1, inode, Vec::new()));
        assert_eq!(links.untold, 3);
    }
}
