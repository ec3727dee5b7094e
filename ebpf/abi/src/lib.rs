//! What the sensor writes and the agent reads. Both sides compile this crate, so a layout cannot differ.
//!
//! A record in a ring is a [`header::Header`], the fixed part of its kind (`event::*`), and a tail of
//! NUL-terminated strings. Every fixed part says how many bytes of the tail are whose.
//!
//! Always: fixed-width integers and byte arrays only, explicit padding, no references, no enums: numbers
//! from the kernel become enums in the agent's `decode`, where a wrong one is an error and not undefined
//! behaviour.
#![no_std]
#![forbid(unsafe_code)]

pub mod header;
pub mod path;
pub mod event;
pub mod filter;
pub mod offsets;
pub mod syscalls;
pub mod counter;
pub mod told;
pub mod overflow;
pub mod limits;
