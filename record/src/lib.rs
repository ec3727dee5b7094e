//! What the agent and the central log share: the record of one event, the frame that seals a hundred of
//! them, and the rules by which both are read.
//!
//! In: values. Out: values. Always: no I/O, no clock, no unsafe; every size is checked before anything is
//! allocated for it. Never: a guess about bytes that do not decode. Failures are enums that say whose
//! fault it is.
//!
//! The schema is in `proto/`; [`v1`] and [`wire`] are generated from it. It only grows.
#![forbid(unsafe_code)]

pub mod id;
mod shape;
pub mod batch;
pub mod private;
pub mod frame;
pub mod epoch;
pub mod chain;
pub mod event;
pub mod shared;
pub mod ocsf;
pub mod text;

mod schema;

pub use schema::record::v1;
pub use schema::wire::v1 as wire;
