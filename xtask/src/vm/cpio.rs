//! The kernel's archive format for its first file system: `newc`, uncompressed.

/// Bytes are padded to this.
const ALIGNMENT: usize = 4;

/// The name that ends an archive.
const TRAILER: &str = "TRAILER!!!";

/// Regular file, directory.
const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

/// An archive that grows.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// A directory; those above it come first.
    pub(crate) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY | 0o755, &[]);
    }

    /// A file that may be executed.
    pub(crate) fn program(&mut self, path: &str, content: &[u8]) {
        self.entry(path, FILE | 0o755, content);
    }

    /// The whole archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    /// All belongs to root; the kernel looks at nothing but these fields.
    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let links = if mode & DIRECTORY == 0 { 1 } else { 2 };
        let (size, name) = (length(content.len()), length(path.len() + 1));
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name, 0];
        self.bytes.extend(b"070701");
        self.bytes.extend(fields.iter().flat_map(|field| format!("{field:08x}").into_bytes()));
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

/// The format has 32 bits for a length; what is put in here is a script or a program of some megabytes.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a file of the first file system is below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_padded_and_name_their_lengths() {
        let mut archive = Archive::default();
        archive.directory("dev");
        archive.program("init", b"12345");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % ALIGNMENT, 0);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let starts: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        // 110 bytes of header, the name with its zero, padding.
        assert_eq!(starts, [0, 116, 116 + 116 + 8]);
        assert_eq!(&text[116 + 14..116 + 22], "000081ed");
        assert_eq!(&text[116 + 54..116 + 62], "00000005");
        assert_eq!(&text[116 + 94..116 + 102], "00000005");
        assert!(text.trim_end_matches('\0').ends_with(TRAILER));
    }
}
