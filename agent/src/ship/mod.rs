//! Out of the host: frames to the central log, receipts back. And enrolment, which opens that way.
//!
//! Two processes of one binary. `watch` holds keys, spool and root and has no network; `ship` has the network and
//! nothing else: another user, no capability, no file. Between them one socket pair, `ship`'s standard
//! input.
//!
//! ```text
//!   watch: spool ─ Feed ─ Shipper ══ socket pair ══ process ─ session ══ gRPC over mTLS ══ central log
//!                    ▲                                              │
//!                    └──────────── receipts, refusals ◄─────────────┘
//! ```
//! In: synced frames of the spool, heartbeats. Out: the same bytes to one of the servers; to the spool what
//! is durable there.
//!
//! Always: the central log says from where to send, at each connection anew; lane `protected` goes first;
//! no more frames are under way than it allows; a frame that it will never take is kept in a file and passed over;
//! `ship` that ends is started again, `ship` whose `watch` ended ends too. Never: `watch` waits for `ship`, or
//! `ship` for `watch`; a server is trusted that the enrolment CA did not certify; `ship` reads a file.
//!
//! Fails: without a central log the frames stay in the spool. Every queue here is bounded and holds nothing that the
//! spool does not hold.
//!
//! For the pipeline: [`Shipper::start`], [`Shipper::notify`] after each sync, [`Shipper::heartbeat`],
//! [`Shipper::stop`]. For the command line: [`enrol()`], [`Identity::load`], and [`run_process`] for the
//! hidden command `graven-agent ship`.

mod token;
mod pin;
mod identity;
mod enrol;
mod message;
mod feed;
mod watch;
mod backoff;
mod session;
mod process;

pub use enrol::{EnrolError, Enrolled, enrol};
pub use identity::{Identity, IdentityError, Tls};
pub use process::{ProcessError, run_process};
pub use watch::{Launch, ShipError, Shipper, Target};

/// Most characters of a server's words that are shown.
const MAX_WORDS: usize = 300;

/// A server's words, fit for a terminal and a log.
fn printable(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_WORDS).collect()
}
