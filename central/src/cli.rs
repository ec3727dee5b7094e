//! The words of the command line. What they mean is in `commands`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// The central log: takes sealed records from hosts, proves that none was lost or changed, answers who
/// changed what.
#[derive(Debug, Parser)]
#[command(name = "graven", version)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the central log.
    Serve(Serve),
    /// Make a one-time token that lets one host in.
    Enrol(Enrol),
    /// List the hosts, when they were last seen, and what is wrong with their streams.
    Hosts(Hosts),
    /// List records, oldest first.
    Events(Search),
    /// List the records that the policy says to alert on.
    Violations(Search),
    /// Show records as they arrive, until interrupted.
    Tail(Tail),
    /// Show what happened on a host as a process tree, in order.
    Replay(Replay),
}

/// Where the log lies.
#[derive(Args, Clone, Debug)]
pub struct Data {
    /// The central log's directory.
    #[arg(long = "data", value_name = "DIR", env = "GRAVEN_DATA", default_value = "/var/lib/graven/central")]
    pub directory: PathBuf,
}

/// `graven serve`
#[derive(Args, Debug)]
#[command(
    after_help = "GRAVEN_LOG=debug (or warn, error) sets how much is said on standard error. SIGTERM and SIGINT end it."
)]
pub struct Serve {
    /// Where.
    #[command(flatten)]
    pub data: Data,
    /// Address and port for the hosts; port 0 lets the kernel choose.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7443")]
    pub listen: SocketAddr,
    /// One more name by which hosts call this server, for its certificate; may be given again.
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
}

/// `graven enrol`
#[derive(Args, Debug)]
pub struct Enrol {
    /// Where.
    #[command(flatten)]
    pub data: Data,
    /// The group that the host joins.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub group: String,
    /// How long the token may be used: 30m, 1h, 7d.
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    pub ttl: String,
    /// {"token", "group", "expires"} instead of the bare token.
    #[arg(long)]
    pub json: bool,
}

/// `graven hosts`
#[derive(Args, Debug)]
pub struct Hosts {
    /// Where.
    #[command(flatten)]
    pub data: Data,
    /// One object a host and line: host, hostname, group, enrolled, certificate_expires, last_seen, heartbeat,
    /// findings.
    #[arg(long)]
    pub json: bool,
}

/// `graven events`, `graven violations`
#[derive(Args, Debug)]
#[command(
    after_help = "Exit code: 0 when the search ran, whatever it found; with --exit-code 1 when it found \
something. 1 too when a stored frame no longer holds. 2 for a wrong word or directory."
)]
pub struct Search {
    /// Where.
    #[command(flatten)]
    pub data: Data,
    /// What to look for.
    #[command(flatten)]
    pub filter: Filter,
    /// Not after: how long ago, or a time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// The newest so many.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// One OCSF 1.8.0 object a line.
    #[arg(long)]
    pub json: bool,
    /// Exit with 1 when something was found.
    #[arg(long)]
    pub exit_code: bool,
}

/// What `events`, `violations` and `tail` choose by.
#[derive(Args, Clone, Debug, Default)]
pub struct Filter {
    /// A host's name, or the beginning of its id.
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
    /// Not before: how long ago (30s, 5m, 2h, 7d), or a time (2026-03-01T12:00:00Z); by the host's clock.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// A path with everything below it, or a glob (* within a directory, ** across).
    #[arg(long, value_name = "GLOB")]
    pub path: Option<String>,
    /// One kind: open, modify, create, unlink, rename, attr, exec, mount, login, …
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// By this user or login user.
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
}

/// `graven tail`
#[derive(Args, Debug)]
pub struct Tail {
    /// Where.
    #[command(flatten)]
    pub data: Data,
    /// What to look for. With --since, first what arrived already.
    #[command(flatten)]
    pub filter: Filter,
    /// Only what the policy says to alert on.
    #[arg(long)]
    pub violations: bool,
    /// One OCSF 1.8.0 object a line.
    #[arg(long)]
    pub json: bool,
}

/// `graven replay`
#[derive(Args, Debug)]
pub struct Replay {
    /// Where.
    #[command(flatten)]
    pub data: Data,
    /// A host's name, or the beginning of its id.
    #[arg(value_name = "HOST")]
    pub host: String,
    /// Not before: how long ago (30s, 5m, 2h, 7d), or a time; by the host's clock.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub since: String,
    /// Not after: how long ago, or a time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// The newest so many records.
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// One object: host, hostname, since, until, cut, boots; a boot: boot, notes, processes; a process: pid,
    /// start_ns, parent_cut, programs, user, started, exited, status, items; an item: change (OCSF 1.8.0) or child.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_words_do_not_contradict_each_other() {
        super::Cli::command().debug_assert();
    }
}
