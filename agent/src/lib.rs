//! The agent: what happens on this host, who did it, whether the policy expects it, sealed and shipped.
//!
//! The stages stand in flow order; [`pipeline`] wires them, [`watch`] and [`observe`] put an end to them.
#![deny(unsafe_code)]

pub mod sensor;
pub mod decode;
pub mod attribute;
pub mod policy;
pub mod seal;
pub mod spool;
pub mod ship;

mod quick;
pub mod pipeline;
pub mod roots;
pub mod vigil;
pub mod watch;
pub mod observe;
pub mod doctor;

pub mod canary;
pub mod cli;
pub mod config;
pub mod context;
pub mod exit;
pub mod health;
pub mod lock;
pub mod sandbox;
pub mod signal;
mod sys;
