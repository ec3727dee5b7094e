//! The central log: takes sealed frames from hosts, checks every one, keeps them as they are, and answers who
//! changed what.
//!
//! ```text
//! network → ingest (Received) → verify (Verified) → store (Stored, then the receipt) → query → replay, show
//! ```
//! `pipeline` wires the way in; `commands` the way out. Nothing here trusts a byte that a host sent.
#![forbid(unsafe_code)]

pub mod cli;
pub mod pipeline;
pub mod commands;

pub mod data;
pub mod authority;
pub mod ingest;
pub mod verify;
pub mod store;
pub mod query;
pub mod replay;
pub mod show;

#[cfg(test)]
#[path = "../tests/fixture/mod.rs"]
#[expect(missing_docs, reason = "its names are its documentation")]
pub mod fixture;
