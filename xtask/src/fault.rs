//! Whose fault it is, as an exit code.

use std::process::ExitCode;

/// An error that says by its variant who can do something about it.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The command line or a file it names.
    Usage(String),
    /// This machine.
    Host(String),
    /// A signal asked for the end.
    Interrupted,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(text) | Self::Host(text) => f.write_str(text),
            Self::Interrupted => f.write_str("stopped by a signal"),
        }
    }
}

impl std::error::Error for Fault {}

/// Shorthand for the error of a command line that cannot be carried out.
pub(crate) fn usage(text: impl Into<String>) -> anyhow::Error {
    Fault::Usage(text.into()).into()
}

/// Shorthand for the error of a machine that cannot do it.
pub(crate) fn host(text: impl Into<String>) -> anyhow::Error {
    Fault::Host(text.into()).into()
}

/// Prints the error and gives its exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    match error.downcast_ref::<Fault>() {
        Some(Fault::Usage(_)) => ExitCode::from(2),
        Some(Fault::Host(_)) => ExitCode::from(3),
        Some(Fault::Interrupted) => ExitCode::from(130),
        None => ExitCode::from(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_below_its_context() {
        let error = host("no BTF").context("starting");
        assert!(matches!(error.downcast_ref::<Fault>(), Some(Fault::Host(_))));
        assert_eq!(format!("{error:#}"), "starting: no BTF");
    }
}
