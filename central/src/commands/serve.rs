//! `graven serve`: runs the pipeline until it is told to stop.

use tokio::signal::unix::{SignalKind, signal};

use super::{CommandError, Exit};
use crate::cli::Serve;
use crate::pipeline::{Central, Config};

pub(super) fn run(words: &Serve) -> Result<Exit, CommandError> {
    let config =
        Config { data: words.data.directory.clone(), listen: words.listen, names: words.names.clone() };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CommandError::Runtime)?;
    let ended = runtime.block_on(serve(&config));
    // What still runs is a connection that did not let go.
    runtime.shutdown_background();
    ended
}

async fn serve(config: &Config) -> Result<Exit, CommandError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(CommandError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CommandError::Runtime)?;
    let central = Central::prepare(config).await?;
    eprintln!("ready: https://{}", central.address());
    notify(sd_notify::NotifyState::Ready);
    central
        .run(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            notify(sd_notify::NotifyState::Stopping);
        })
        .await?;
    Ok(Exit::Done)
}

fn notify(state: sd_notify::NotifyState<'_>) {
    // Without a service manager there is nobody to tell; with one, it says so itself.
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}
