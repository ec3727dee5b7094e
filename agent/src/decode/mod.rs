//! x
pub mod observed;
