//! The record's contract with the world: its bytes, its OCSF JSON, its lines.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod fixed;
mod grown;
mod arbitrary;
mod table;
mod derive;
mod ocsf;
mod words;
mod frames;
mod golden;
