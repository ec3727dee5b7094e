//! SIGTERM and SIGINT end the agent in order: what is in the rings still becomes records.

use std::io;
use std::sync::mpsc::SyncSender;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use crate::pipeline::Collected;

/// Sends [`Collected::Stop`] at the first of the two signals. A second one is not needed: the stop is bounded.
pub fn stop_on_signal(to: SyncSender<Collected>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        // The receiver is gone only when the agent has stopped already.
        drop(to.send(Collected::Stop));
    })?;
    Ok(())
}
