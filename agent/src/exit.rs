//! How an error ends the program: one sentence, and the code that says whose fault it is.

use std::error::Error;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::lock::LockError;
use crate::policy::PolicyError;
use crate::sensor::SensorError;
use crate::ship::{EnrolError, IdentityError};

/// Usage or configuration.
const CONFIGURATION: u8 = 2;
/// This host cannot do it.
const HOST: u8 = 3;

/// The code of an error (see `--help`).
pub fn code(error: &anyhow::Error) -> ExitCode {
    let configuration = error.is::<ConfigError>()
        || error.is::<PolicyError>()
        || error.is::<LockError>()
        || error.is::<IdentityError>()
        || error.is::<EnrolError>();
    let marks =
        error.downcast_ref::<SensorError>().is_some_and(|e| matches!(e, SensorError::TooManyMarks(_)));
    ExitCode::from(if configuration || marks { CONFIGURATION } else { HOST })
}

/// An error and its causes in one line. Causes that the text already says are left out.
pub fn sentence(error: &anyhow::Error) -> String {
    in_one_line(error.as_ref())
}

/// As [`sentence`], of an error of any kind.
pub fn in_one_line(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in anyhow::Chain::new(error) {
        let words = cause.to_string();
        if text.is_empty() {
            text = words;
        } else if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
    }
    text
}
