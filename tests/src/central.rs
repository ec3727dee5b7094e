//! The real central log on a port of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::daemon::Daemon;
use crate::programs::{self, CENTRAL, Ended};
use crate::record::Record;

/// As many records as one query may show.
const LIMIT: &str = "100000";

/// `graven serve` on its data folder; it may be away for a while.
#[derive(Debug)]
pub struct Central {
    data: PathBuf,
    log: PathBuf,
    /// `127.0.0.1:PORT`, always the same.
    address: String,
    running: Option<Daemon>,
}

impl Central {
    /// Starts one with its data and log below a folder.
    pub fn start(folder: &Path) -> Result<Self> {
        let (data, log) = (folder.join("central"), folder.join("central.log"));
        let mut central = Self { data, log, address: "127.0.0.1:0".to_owned(), running: None };
        let url = central.serve()?;
        central.address = url.strip_prefix("https://").context("no https address")?.to_owned();
        Ok(central)
    }

    fn serve(&mut self) -> Result<String> {
        let mut command = programs::command(CENTRAL)?;
        command.arg("serve").arg("--data").arg(&self.data).args(["--listen", &self.address]);
        let mut daemon = Daemon::start("graven serve", command, &self.log)?;
        let url =
            daemon.line("the line `ready: URL`", |line| line.strip_prefix("ready: ").map(str::to_owned))?;
        self.running = Some(daemon);
        Ok(url)
    }

    /// Starts it again on the same port.
    pub fn restart(&mut self) -> Result<()> {
        ensure!(self.running.is_none(), "the central log is running");
        self.serve().map(drop)
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.running.take().context("the central log is not running")?.kill()
    }

    /// SIGTERM; it must end in order.
    pub fn stop(&mut self) -> Result<()> {
        self.running.take().context("the central log is not running")?.terminate()
    }

    /// SIGINT; it must end in order.
    pub fn interrupt(&mut self) -> Result<()> {
        let mut daemon = self.running.take().context("the central log is not running")?;
        daemon.signal(Signal::INT)?;
        let status = daemon.ended()?;
        ensure!(status.success(), "graven serve ended with {status} after SIGINT");
        Ok(())
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// `https://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The operator's command on this log's data.
    pub fn graven<S: AsRef<OsStr>>(&self, command: &str, arguments: &[S]) -> Result<Ended> {
        let data = ["--data".as_ref(), self.data.as_os_str()];
        let rest = arguments.iter().map(AsRef::as_ref);
        programs::run(CENTRAL, [OsStr::new(command)].into_iter().chain(data).chain(rest))
    }

    /// A new one-time token.
    pub fn token(&self) -> Result<String> {
        Ok(self.graven::<&str>("enrol", &[])?.succeeded()?.text()?.trim().to_owned())
    }

    /// All records, by `graven events`, with these filters.
    pub fn events<S: AsRef<OsStr>>(&self, filters: &[S]) -> Result<Vec<Record>> {
        self.query("events", filters)
    }

    /// All violations, by `graven violations`, with these filters.
    pub fn violations<S: AsRef<OsStr>>(&self, filters: &[S]) -> Result<Vec<Record>> {
        self.query("violations", filters)
    }

    fn query<S: AsRef<OsStr>>(&self, command: &str, filters: &[S]) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        self.each(command, filters, |record| {
            records.push(record.clone());
            Ok(())
        })?;
        Ok(records)
    }

    /// One record after the other: for more than fit well into memory.
    pub fn each<S: AsRef<OsStr>>(
        &self,
        command: &str,
        filters: &[S],
        mut with: impl FnMut(&Record) -> Result<()>,
    ) -> Result<()> {
        let fixed = ["--json", "--limit", LIMIT].map(OsStr::new);
        let arguments: Vec<&OsStr> = fixed.into_iter().chain(filters.iter().map(AsRef::as_ref)).collect();
        let ended = self.graven(command, &arguments)?.succeeded()?;
        ensure!(ended.stderr.is_empty(), "{}: {}", ended.said, ended.stderr);
        ended.text()?.lines().try_for_each(|line| with(&Record::parse(line)?))
    }

    /// The one enrolled host, by `graven hosts --json`.
    pub fn host(&self) -> Result<Value> {
        let ended = self.graven("hosts", &["--json"])?.succeeded()?;
        let lines: Vec<&str> = ended.text()?.lines().collect();
        ensure!(lines.len() == 1, "there are {} hosts and not one", lines.len());
        Ok(serde_json::from_str(lines[0])?)
    }
}
