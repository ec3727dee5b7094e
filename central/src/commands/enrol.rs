//! `graven enrol`: makes a token.

use std::io;

use serde_json::json;

use super::output::Output;
use super::{CommandError, Exit};
use crate::authority::{Authority, token};
use crate::cli::Enrol;
use crate::data::DataDir;
use crate::pipeline::clock;
use crate::query::time;
use crate::show;
use crate::store::sqlite::open_central;
use crate::store::tokens;

pub(super) fn run(words: &Enrol) -> Result<Exit, CommandError> {
    let dir = DataDir::open(&words.data.directory)?;
    let now = clock();
    let lives = time::span(&words.ttl).map_err(CommandError::Ttl)?;
    if lives == 0 {
        return Err(CommandError::NoTtl);
    }
    let expires = now.saturating_add(lives);
    let (text, hash) = token::make(&Authority::fingerprint_in(&dir)?)?;
    let (mut db, path) = open_central(&dir)?;
    tokens::add(&mut db, &path, hash, &words.group, now, expires)?;
    let mut output = Output::new(io::stdout().lock());
    if words.json {
        output.json(&json!({ "token": text, "group": words.group, "expires": show::utc(expires) }))?;
    } else {
        output.line(&text)?;
    }
    output.end()?;
    Ok(Exit::Done)
}
