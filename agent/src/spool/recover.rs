//! Finds out what lies in the spool: at start, once.

use std::path::{Path, PathBuf};

use graven_record::chain::Head;
use graven_record::frame::MAX_FRAME;
use graven_record::id::{BootId, HostId, Lane};

use super::index::{Index, Segment};
use super::segment::{Look, NoFrame, frame_at, look};
use super::writer::SEGMENT_BYTES;
use super::{Disk, DiskFile, Finding, SpoolError, Stream};
use crate::seal::Heads;

/// Most bytes of a segment that a close look reads: no segment of ours is longer.
const MAX_LOOK: usize = (8 << 20) + MAX_FRAME;
const _: () = assert!(MAX_LOOK as u64 > SEGMENT_BYTES, "a whole segment is looked through");

/// Looks through the folder of the spool.
pub(super) fn recover<D: Disk>(
    disk: &D,
    root: &Path,
    host: HostId,
    boot: BootId,
) -> Result<(Index, Heads), SpoolError> {
    let mut found = Search { disk, host, index: Index::new(root, boot) };
    let mut heads = Heads::NONE;
    for name in disk.names(root).map_err(|e| failed(root, e))? {
        let Ok(this) = name.parse::<BootId>() else { continue };
        for lane in Lane::ALL {
            let head = found.stream(Stream { boot: this, lane })?;
            if this == boot {
                *heads.of_mut(lane) = head;
            }
        }
        if this != boot {
            // Only succeeds when nothing is left in it, which is when it should go.
            drop(disk.remove_dir(&root.join(&name)));
        }
    }
    Ok((found.index, heads))
}

fn failed(path: &Path, source: std::io::Error) -> SpoolError {
    SpoolError::Open { path: path.to_owned(), source }
}

struct Search<'a, D> {
    disk: &'a D,
    host: HostId,
    index: Index,
}

/// A file of a stream as its name says.
struct Named {
    number: u32,
    damaged: bool,
    path: PathBuf,
    size: u64,
}

/// What a file turned out to hold.
enum Content {
    /// Its first frame is whole.
    Sound { first: u64, since: u64 },
    /// It was looked through.
    Looked(Option<Look>),
    /// Frames of another host.
    Foreign,
}

impl<D: Disk> Search<'_, D> {
    /// One stream, from its newest segment back: the newest with a whole frame ends the chain.
    fn stream(&mut self, stream: Stream) -> Result<Head, SpoolError> {
        let folder = self.index.folder(stream);
        let Ok(names) = self.disk.names(&folder) else { return Ok(Head::NONE) };
        let mut files = self.sort(stream, &folder, names)?;
        let mut kept = Vec::new();
        let mut head = None;
        while let Some(file) = files.pop() {
            let newest = head.is_none();
            let Some((segment, end)) = self.file(stream, &file, newest)? else { continue };
            if newest {
                head = end;
            }
            kept.push(segment);
        }
        let head = head.unwrap_or(Head::NONE);
        let any = !kept.is_empty();
        kept.into_iter().rev().for_each(|segment| self.index.add(stream, segment));
        if any {
            self.index.set_last(stream, head.last);
        } else {
            drop(self.disk.remove_dir(&folder));
        }
        Ok(head)
    }

    /// Segments in the order of their numbers; everything else is set aside.
    fn sort(&mut self, stream: Stream, folder: &Path, names: Vec<String>) -> Result<Vec<Named>, SpoolError> {
        let mut files = Vec::new();
        for name in names {
            let path = folder.join(&name);
            let size = self.disk.open(&path).and_then(|file| file.length()).map_err(|e| failed(&path, e))?;
            let (stem, ending) = name.split_once('.').unwrap_or((&name, ""));
            let number: Option<u32> = stem.parse().ok();
            number.into_iter().for_each(|number| self.index.number_taken(stream, number));
            match (number, ending) {
                (Some(number), "seg" | "damaged") => {
                    files.push(Named { number, damaged: ending == "damaged", path, size });
                }
                _ => self.index.add_aside(path, size),
            }
        }
        files.sort_by_key(|file| file.number);
        Ok(files)
    }

    /// What one file is; the newest is looked through and its torn tail cut.
    fn file(
        &mut self,
        stream: Stream,
        file: &Named,
        newest: bool,
    ) -> Result<Option<(Segment, Option<Head>)>, SpoolError> {
        let Named { number, size, ref path, .. } = *file;
        let segment = |first, since, size, damaged| Segment {
            number,
            first,
            since,
            size,
            readable: size.min(MAX_LOOK as u64),
            damaged,
        };
        match self.content(stream, file, newest)? {
            Content::Sound { first, since } => Ok(Some((segment(first, since, size, file.damaged), None))),
            Content::Foreign => self.foreign(file).map(|()| None),
            Content::Looked(None) if newest => self.drop_torn(file).map(|()| None),
            Content::Looked(None) => {
                let path = self.damaged(file)?;
                self.index.add_aside(path, size);
                Ok(None)
            }
            Content::Looked(Some(look)) => {
                let mut kept = segment(look.first, look.since, size, file.damaged || look.damaged);
                if newest {
                    // Also where nothing is to cut: what is given out from here on must be on the disk.
                    self.disk.cut(path, look.end).map_err(|e| failed(path, e))?;
                }
                if newest && look.end < size {
                    self.index.find(Finding::Cut { path: path.clone(), bytes: size - look.end });
                    (kept.size, kept.readable) = (look.end, look.end);
                }
                if look.damaged {
                    self.damaged(file)?;
                }
                Ok(Some((kept, Some(look.head))))
            }
        }
    }

    fn content(&self, stream: Stream, named: &Named, newest: bool) -> Result<Content, SpoolError> {
        let file = self.disk.open(&named.path).map_err(|e| failed(&named.path, e))?;
        match frame_at(&file, 0, named.size, stream) {
            Ok(frame) if frame.header().host != self.host => return Ok(Content::Foreign),
            Ok(frame) if !newest => {
                return Ok(Content::Sound { first: frame.header().first, since: frame.header().sealed_at });
            }
            Ok(_) | Err(NoFrame::Bad) => {}
            Err(NoFrame::Disk(error)) => return Err(failed(&named.path, error)),
        }
        let mut bytes = vec![0; usize::try_from(named.size).unwrap_or(MAX_LOOK).min(MAX_LOOK)];
        let read = file.read_at(&mut bytes, 0).map_err(|e| failed(&named.path, e))?;
        Ok(Content::Looked(look(&bytes[..read], stream)))
    }

    /// A newest segment without one whole frame: a first write that a crash tore.
    fn drop_torn(&mut self, file: &Named) -> Result<(), SpoolError> {
        self.disk.remove(&file.path).map_err(|e| failed(&file.path, e))?;
        if file.size > 0 {
            self.index.find(Finding::Cut { path: file.path.clone(), bytes: file.size });
        }
        Ok(())
    }

    fn foreign(&mut self, file: &Named) -> Result<(), SpoolError> {
        let path = file.path.with_extension("foreign");
        self.disk.rename(&file.path, &path).map_err(|e| failed(&file.path, e))?;
        self.index.add_aside(path.clone(), file.size);
        self.index.find(Finding::Foreign { path });
        Ok(())
    }

    /// Gives a segment the name that says so, and reports it the first time.
    fn damaged(&mut self, file: &Named) -> Result<PathBuf, SpoolError> {
        let path = file.path.with_extension("damaged");
        if !file.damaged {
            self.disk.rename(&file.path, &path).map_err(|e| failed(&file.path, e))?;
            self.index.find(Finding::Damaged { path: path.clone() });
        }
        Ok(path)
    }
}
