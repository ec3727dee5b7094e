//! `graven replay HOST`

use std::io;

use serde_json::json;

use super::output::Output;
use super::{CommandError, Exit, choose, search};
use crate::cli::{Filter, Replay};
use crate::data::DataDir;
use crate::pipeline::clock;
use crate::replay::replay;
use crate::show::{self, Look};
use crate::store::reader::Reader;

pub(super) fn run(words: &Replay) -> Result<Exit, CommandError> {
    let reader = Reader::open(&DataDir::open(&words.data.directory)?)?;
    let (hosts, now) = (reader.hosts()?, clock());
    let host = choose::host(&words.host, &hosts)?;
    let filter = Filter { since: Some(words.since.clone()), ..Filter::default() };
    let query = choose::query_of(&filter, words.until.as_deref(), Some(host), now)?;
    let (rows, cut) = search::newest(&reader, &query, search::limit(words.limit))?;
    let mut records = Vec::with_capacity(rows.len());
    let damaged = search::each(&reader, &rows, |found| {
        records.push(found.clone());
        Ok(())
    })?;
    let boots = replay(&records);
    let mut output = Output::new(io::stdout().lock());
    if words.json {
        let boots: Vec<_> = boots.iter().map(show::replay::json).collect();
        output.json(&json!({
            "host": host.id.to_string(),
            "hostname": host.hostname,
            "since": show::utc(query.since),
            "until": show::utc(query.until.min(now)),
            "cut": cut,
            "boots": boots,
        }))?;
    } else {
        let look = Look::of_stdout();
        output.line(&format!(
            "{} from {} to {}: {} records",
            show::short_host(host),
            show::moment(query.since.max(0).cast_unsigned()),
            show::moment(query.until.min(now).max(0).cast_unsigned()),
            records.len(),
        ))?;
        for line in boots.iter().flat_map(|boot| show::replay::lines(boot, look)) {
            output.line(&line)?;
        }
    }
    output.end()?;
    if cut {
        eprintln!(
            "graven: only the newest {} records are told: give a shorter time or a larger --limit",
            words.limit
        );
    }
    Ok(if damaged { Exit::Findings } else { Exit::Done })
}
