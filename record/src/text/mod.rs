//! A record as one line for a person.
//!
//! In: an envelope and a record. Out: a [`Line`]: its parts, and all of them as plain text. Always: every
//! string that came from a host went through [`escape`], so that a file name cannot move the cursor, recolour
//! a terminal, turn the reading direction or look like another part of the line. Never: colours; they are the
//! caller's matter. It cannot fail.

mod escape;
mod line;
mod time;
mod who;

pub use escape::{escape, quoted, unescape};
pub use line::{Line, line};
pub use time::utc;

pub(crate) use escape::invisible;
pub(crate) use line::decision_word;
pub(crate) use who::who;
