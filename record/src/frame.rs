//! A frame: up to a hundred records, sealed once. Its header and public bytes are equal in the spool, on
//! the wire and at rest, so one verifier serves all three.
//!
//! ```text
//! len u32 | crc32c u32 | header 260 B | public_len u32 | public (zstd) | private_len u32 | private (zstd) | signature 64 B
//! ```
//! All numbers little-endian. `len` counts what follows the checksum. The frame's hash is
//! SHA-256("graven/frame/1\n" ‖ header); the signature is Ed25519 over that hash, and the next frame of
//! the lane names it in `previous`.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::batch::{self, BatchError, MAX_DECODED};
use crate::id::{BootId, HostId, Lane, RunId};
use crate::private;
use crate::v1::{Batch, PrivateEntry};

/// The version that this code writes, and the newest it reads.
pub const FORMAT: u16 = 1;
/// Bytes of `len` and `crc32c`.
pub const PREFIX_LEN: usize = 8;
/// Bytes of the header.
pub const HEADER_LEN: usize = 260;
const SIGNATURE_LEN: usize = 64;
const MAGIC: [u8; 4] = *b"GRVN";
const DOMAIN: &[u8] = b"graven/frame/1\n";
/// Most bytes of a whole frame: both parts at their bound would be 8 MiB; incompressible data grows by less than 1 %.
pub const MAX_FRAME: usize = 2 * MAX_DECODED + (64 << 10);

/// What was lost, by the place where it was lost. The header counts each since the lane's frame before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum LossKind {
    /// No room in the `life` ring.
    Life = 0,
    /// No room in the `protected` ring.
    Protected = 1,
    /// No room in the `activity` ring.
    Activity = 2,
    /// The kernel skipped a program (`recursion_misses`).
    Skipped = 3,
    /// Bytes from a ring that are no event.
    Undecodable = 4,
    /// No room in the spool.
    Spool = 5,
    /// A sensor map was full, so that an operation was seen without its inodes.
    State = 6,
    /// A queue inside the agent was full.
    Queue = 7,
}

impl LossKind {
    /// All, in header order.
    pub const ALL: [Self; 8] = [
        Self::Life,
        Self::Protected,
        Self::Activity,
        Self::Skipped,
        Self::Undecodable,
        Self::Spool,
        Self::State,
        Self::Queue,
    ];

    /// The word in records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Life => "life",
            Self::Protected => "protected",
            Self::Activity => "activity",
            Self::Skipped => "skipped",
            Self::Undecodable => "undecodable",
            Self::Spool => "spool",
            Self::State => "state",
            Self::Queue => "queue",
        }
    }

    /// The kind of a word.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Counts by [`LossKind`], in that order.
pub type Losses = [u64; 8];

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// [`FORMAT`] of the writer.
    pub format: u16,
    /// Which stream of the host.
    pub lane: Lane,
    /// The first frame of this lane in a run: its first record is the `EpochStart`.
    pub starts_run: bool,
    /// Whose.
    pub host: HostId,
    /// Which boot.
    pub boot: BootId,
    /// Which run of the agent.
    pub run: RunId,
    /// Which key of the run.
    pub epoch: u32,
    /// Sequence of the first record.
    pub first: u64,
    /// Sequence of the last record.
    pub last: u64,
    /// Events lost since the frame before.
    pub lost: Losses,
    /// Hash of the lane's frame before; zeros for the first of a boot.
    pub previous: [u8; 32],
    /// SHA-256 of the public bytes as they stand in the frame.
    pub public_hash: [u8; 32],
    /// Root over the private entries; zeros when there are none.
    pub private_root: [u8; 32],
    /// Wall clock when sealed, ns since the Unix epoch.
    pub sealed_at: u64,
}

/// Bytes are not a frame, or not a sound one.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// More bytes are needed: the tail of a segment that was cut.
    #[error("the frame is cut: {have} of {need} bytes are there")]
    Cut {
        /// Bytes there.
        have: usize,
        /// Bytes that the prefix announces.
        need: usize,
    },
    /// The length is impossible.
    #[error("a frame cannot be {0} bytes long")]
    Length(usize),
    /// Damaged on disk or on the wire.
    #[error("the checksum is {found:08x}, the bytes give {computed:08x}")]
    Checksum {
        /// In the prefix.
        found: u32,
        /// Over the bytes.
        computed: u32,
    },
    /// Not a frame at all.
    #[error("the bytes do not begin as a frame does")]
    Magic,
    /// Written by a newer release.
    #[error("frame format {0} is newer than this release reads ({FORMAT})")]
    Format(u16),
    /// A field holds what it cannot.
    #[error("the header's {0} is not valid")]
    Field(&'static str),
    /// The public bytes are not those that were signed.
    #[error("the public part is not the one in the header")]
    Public,
    /// The private entries are not those that were signed.
    #[error("the private part is not the one in the header")]
    Private,
    /// The signature is not of that key.
    #[error("the signature is not of the expected key")]
    Signature,
    /// A part does not decode.
    #[error("a part of the frame does not decode")]
    Part(#[source] BatchError),
}

/// A parsed frame; holds its own verbatim bytes.
#[derive(Clone, Debug)]
pub struct Frame {
    header: Header,
    bytes: Vec<u8>,
    public_len: usize,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.extend(MAGIC);
        out.extend(self.format.to_le_bytes());
        out.extend([self.lane.number(), u8::from(self.starts_run)]);
        out.extend(self.host.0);
        out.extend(self.boot.0);
        out.extend(self.run.0);
        out.extend(self.epoch.to_le_bytes());
        out.extend(self.first.to_le_bytes());
        out.extend(self.last.to_le_bytes());
        self.lost.iter().for_each(|n| out.extend(n.to_le_bytes()));
        out.extend(self.previous);
        out.extend(self.public_hash);
        out.extend(self.private_root);
        out.extend(self.sealed_at.to_le_bytes());
        let mut fixed = [0; HEADER_LEN];
        fixed.copy_from_slice(&out);
        fixed
    }

    fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, FrameError> {
        let mut rest = Fields(bytes);
        if rest.take::<4>() != MAGIC {
            return Err(FrameError::Magic);
        }
        let format = u16::from_le_bytes(rest.take());
        if format == 0 || format > FORMAT {
            return Err(FrameError::Format(format));
        }
        let [lane, flags] = rest.take();
        let header = Self {
            format,
            lane: Lane::from_number(lane.into()).map_err(|_| FrameError::Field("lane"))?,
            starts_run: match flags {
                0 => false,
                1 => true,
                _ => return Err(FrameError::Field("flags")),
            },
            host: HostId(rest.take()),
            boot: BootId(rest.take()),
            run: RunId(rest.take()),
            epoch: u32::from_le_bytes(rest.take()),
            first: u64::from_le_bytes(rest.take()),
            last: u64::from_le_bytes(rest.take()),
            lost: std::array::from_fn(|_| u64::from_le_bytes(rest.take())),
            previous: rest.take(),
            public_hash: rest.take(),
            private_root: rest.take(),
            sealed_at: u64::from_le_bytes(rest.take()),
        };
        let sound = header.first >= 1
            && header.last >= header.first
            && header.last - header.first < batch::MAX_RECORDS as u64;
        sound.then_some(header).ok_or(FrameError::Field("sequence"))
    }

    /// How many records are in the frame.
    pub fn records(&self) -> u64 {
        self.last - self.first + 1
    }

    /// SHA-256("graven/frame/1\n" ‖ header): what is signed and what the next frame names.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::new().chain_update(DOMAIN).chain_update(self.encode()).finalize().into()
    }
}

/// A cursor over the fixed header; the caller's types add up to less than its length.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let (field, rest) = self.0.split_at(N.min(self.0.len()));
        out[..field.len()].copy_from_slice(field);
        self.0 = rest;
        out
    }
}

/// What a frame says besides its records.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Which stream.
    pub lane: Lane,
    /// First of the lane in this run.
    pub starts_run: bool,
    /// Whose.
    pub host: HostId,
    /// Which boot.
    pub boot: BootId,
    /// Which run.
    pub run: RunId,
    /// Which key.
    pub epoch: u32,
    /// Losses since the frame before.
    pub lost: Losses,
    /// Hash of the frame before.
    pub previous: [u8; 32],
    /// Wall clock now, ns.
    pub sealed_at: u64,
}

impl Frame {
    /// Seals a batch. Its records must be numbered without gaps and there must be at least one.
    pub fn seal(
        draft: &Draft,
        batch: &Batch,
        private: &[PrivateEntry],
        key: &SigningKey,
    ) -> Result<Self, FrameError> {
        let (first, last) = numbers(batch).ok_or(FrameError::Field("sequence"))?;
        if private.iter().any(|entry| entry.salt.len() != private::SALT_LEN) {
            return Err(FrameError::Field("salt"));
        }
        let public = batch::pack(batch).map_err(FrameError::Part)?;
        let hidden = match private {
            [] => Vec::new(),
            entries => batch::pack_private(entries).map_err(FrameError::Part)?,
        };
        let header = Header {
            format: FORMAT,
            lane: draft.lane,
            starts_run: draft.starts_run,
            host: draft.host,
            boot: draft.boot,
            run: draft.run,
            epoch: draft.epoch,
            first,
            last,
            lost: draft.lost,
            previous: draft.previous,
            public_hash: Sha256::digest(&public).into(),
            private_root: private::root(private).unwrap_or_default(),
            sealed_at: draft.sealed_at,
        };
        let signature = key.sign(&header.hash());
        Ok(Self::assemble(header, &public, &hidden, &signature.to_bytes()))
    }

    fn assemble(header: Header, public: &[u8], private: &[u8], signature: &[u8; SIGNATURE_LEN]) -> Self {
        let body =
            [&header.encode()[..], &length(public.len()), public, &length(private.len()), private, signature]
                .concat();
        let bytes = [&length(body.len())[..], &crc32c::crc32c(&body).to_le_bytes(), &body].concat();
        Self { header, bytes, public_len: public.len() }
    }

    /// Length of the whole frame that begins with these bytes, from its prefix alone; `None` = fewer than 4 bytes.
    pub fn length(bytes: &[u8]) -> Option<Result<usize, FrameError>> {
        let len = number(bytes, 0)? as usize + PREFIX_LEN;
        let least = PREFIX_LEN + HEADER_LEN + 8 + SIGNATURE_LEN;
        Some((least..=MAX_FRAME).contains(&len).then_some(len).ok_or(FrameError::Length(len)))
    }

    /// Reads the frame at the start of `bytes`: prefix, checksum, header and that the public bytes are the
    /// signed ones. The signature is checked by [`Self::verify`], for which the caller must know the key.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let cut = |need| FrameError::Cut { have: bytes.len(), need };
        let len = Self::length(bytes).ok_or(cut(PREFIX_LEN))??;
        let bytes = bytes.get(..len).ok_or(cut(len))?;
        let body = &bytes[PREFIX_LEN..];
        let found = number(bytes, 4).ok_or(cut(PREFIX_LEN))?;
        let computed = crc32c::crc32c(body);
        if found != computed {
            return Err(FrameError::Checksum { found, computed });
        }
        let header = body.first_chunk::<HEADER_LEN>().ok_or(FrameError::Length(len))?;
        let header = Header::decode(header)?;
        let public_len = number(body, HEADER_LEN).ok_or(FrameError::Length(len))? as usize;
        let frame = Self { header, bytes: bytes.to_vec(), public_len };
        frame.check_shape(len)?;
        let hash: [u8; 32] = Sha256::digest(frame.public()).into();
        (hash == frame.header.public_hash).then_some(frame).ok_or(FrameError::Public)
    }

    fn check_shape(&self, len: usize) -> Result<(), FrameError> {
        let private_at = (PREFIX_LEN + HEADER_LEN + 4).checked_add(self.public_len);
        let private_len =
            private_at.and_then(|at| number(&self.bytes, at)).ok_or(FrameError::Field("public length"))?;
        let whole =
            private_at.and_then(|at| at.checked_add(4 + SIGNATURE_LEN)?.checked_add(private_len as usize));
        (whole == Some(len)).then_some(()).ok_or(FrameError::Field("private length"))
    }

    /// What was signed.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The verbatim bytes, prefix included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The compressed public part.
    pub fn public(&self) -> &[u8] {
        let at = PREFIX_LEN + HEADER_LEN + 4;
        &self.bytes[at..at + self.public_len]
    }

    fn private_bytes(&self) -> &[u8] {
        let at = PREFIX_LEN + HEADER_LEN + 8 + self.public_len;
        &self.bytes[at..self.bytes.len() - SIGNATURE_LEN]
    }

    /// Is it signed by the key that should have signed it? Header and public part then are what was sealed. The
    /// private part may have been erased since; [`Self::private`] checks what is left of it.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), FrameError> {
        let signature = self.bytes.last_chunk::<SIGNATURE_LEN>().ok_or(FrameError::Signature)?;
        key.verify_strict(&self.header.hash(), &Signature::from_bytes(signature))
            .map_err(|_| FrameError::Signature)
    }

    /// The records, checked against the header's sequences.
    pub fn batch(&self) -> Result<Batch, FrameError> {
        let batch = batch::decode(self.public()).map_err(FrameError::Part)?;
        let numbers = self.header.first..=self.header.last;
        let dense = batch.records.iter().map(|r| r.sequence).eq(numbers);
        dense.then_some(batch).ok_or(FrameError::Field("sequence"))
    }

    /// The private entries, checked against the header's root; none when the part was erased.
    pub fn private(&self) -> Result<Vec<PrivateEntry>, FrameError> {
        if self.private_bytes().is_empty() {
            return Ok(Vec::new());
        }
        let entries = batch::decode_private(self.private_bytes()).map_err(FrameError::Part)?;
        let same = private::root(&entries) == Some(self.header.private_root);
        same.then_some(entries).ok_or(FrameError::Private)
    }

    /// The same frame with its private part erased: header, hash and signature stay.
    #[must_use]
    pub fn without_private(&self) -> Self {
        let mut signature = [0; SIGNATURE_LEN];
        signature.copy_from_slice(&self.bytes[self.bytes.len() - SIGNATURE_LEN..]);
        Self::assemble(self.header.clone(), self.public(), &[], &signature)
    }
}

/// First and last sequence, when they are dense and begin at 1 or later.
fn numbers(batch: &Batch) -> Option<(u64, u64)> {
    let first = batch.records.first()?.sequence;
    let last = first.checked_add(u64::try_from(batch.records.len()).ok()? - 1)?;
    let dense = batch.records.iter().map(|record| record.sequence).eq(first..=last);
    (dense && first != 0).then_some((first, last))
}

/// A length as the format writes it. Parts are bounded far below 4 GiB, so nothing is cut.
fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}
