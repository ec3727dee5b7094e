//! SIGTERM and SIGINT end the agent in order: what is in the rings still becomes records. SIGHUP has it read its policy anew.

use std::future::pending;
use std::io;
use std::sync::mpsc::SyncSender;
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::pipeline::Collected;

/// What SIGHUP does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// It ends the process, as it does everywhere.
    Ends,
    /// It sends [`Collected::Reload`].
    Reloads,
}

/// Sends [`Collected::Stop`] at the first of the two signals. A second one is not needed: the stop is bounded.
pub fn listen(to: SyncSender<Collected>, hangup: Hangup) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        let hangup = (hangup == Hangup::Reloads).then(|| signal(SignalKind::hangup())).transpose()?;
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, hangup)
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => break,
                    _ = terminate.recv() => break,
                    () = arrived(&mut hangup) => {
                        if to.send(Collected::Reload).is_err() {
                            break;
                        }
                    }
                }
            }
        });
        // The receiver is gone only when the agent has stopped already.
        drop(to.send(Collected::Stop));
    })?;
    Ok(())
}

/// Never, if it is not listened to.
async fn arrived(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}
