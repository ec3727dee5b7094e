//! The door for hosts: gRPC over TLS, one port for enrolment and for the streams of frames.
//!
//! In: bytes of the network. Out: `Received` frames for verify, and what verify took for the store; receipts
//! and refusals back to the host. Always: who a host is, is what its certificate says; a receipt follows the
//! commit; one stream a host. Never: a frame or a name is believed because it was sent. Bounded: connections,
//! message size, frames and bytes under way, attempts to enrol, silence. Fails one stream at a time; the
//! host keeps what was not acknowledged and comes again.

pub mod incoming;
pub mod attempts;
pub mod enrolment;
pub mod live;
pub mod stream;
pub mod session;

use graven_record::frame::MAX_FRAME;

/// Largest message: a frame and the few bytes that protobuf puts around it.
pub const MAX_MESSAGE: usize = MAX_FRAME + 1024;
/// Frames that a host may have under way: at 100 records each, enough to fill a slow line.
pub const WINDOW: u32 = 64;
/// Bytes of frames of all hosts between arrival and commit.
pub const BYTES_UNDER_WAY: usize = 256 << 20;
