//! Makes changes, each exactly by the call it is told, so that a test knows which process did what.
//!
//! `graven-actor [OPTION...] WHAT OPERAND... [then [OPTION...] WHAT OPERAND...]...`, where WHAT is a name of
//! `graven_tests::calls` or one of `deeds`. `@N` is what the N-th step answered. It never fails silently.
//!
//! | option | from this step on |
//! | --- | --- |
//! | `--cwd DIR` | in this working directory |
//! | `--at DIR` or `--at @N` | with this descriptor for the calls that take one |
//! | `--by native`, `compat`, `x32` | by this entry |
//! | `--uring plain`, or `worker`, `silent`, `polled` joined by `+` | as requests of an io_uring, where it has one of that name |
//! | `--cpu N` | on this processor only |
//! | `--error N` | this step only: must fail with this error number |

use std::process::ExitCode;

use graven_tests::actor::LACKING;

mod hand;
mod deeds;
mod deceptions;
mod kernel;

fn main() -> ExitCode {
    match hand::run(std::env::args_os().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("graven-actor: {error:#}");
            ExitCode::from(if hand::is_lacking(&error) { LACKING } else { 1 })
        }
    }
}
