//! The agent: what happens on this host, who did it, whether the policy expects it, sealed and shipped.
//!
//! The modules stand in flow order.

pub mod sensor;
pub mod decode;
pub mod attribute;
pub mod policy;
pub mod seal;
pub mod spool;
pub mod ship;
pub mod config;
pub mod sandbox;
pub mod sys;
