//! `graven hosts`

use std::io;

use super::output::Output;
use super::{ChooseError, CommandError, Exit};
use crate::cli::Hosts;
use crate::data::DataDir;
use crate::pipeline::clock;
use crate::show::Look;
use crate::show::hosts::HostView;
use crate::store::reader::Reader;

pub(super) fn run(words: &Hosts) -> Result<Exit, CommandError> {
    let reader = Reader::open(&DataDir::open(&words.data.directory)?)?;
    let (hosts, findings, now) = (reader.hosts()?, reader.findings()?, clock());
    let look = Look::of_stdout();
    let mut output = Output::new(io::stdout().lock());
    for host in &hosts {
        let findings = findings.iter().filter(|row| row.host == host.id).collect();
        let view = HostView { host, findings, now };
        if words.json {
            output.json(&view.json())?;
        } else {
            view.lines(look).iter().try_for_each(|line| output.line(line))?;
        }
    }
    output.end()?;
    if hosts.is_empty() && !words.json {
        eprintln!("graven: {}", ChooseError::NoHosts);
    }
    Ok(Exit::Done)
}
