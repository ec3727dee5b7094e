//! A directory that moves while changes are made in it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use graven_tests::missing;
use graven_tests::shared::on_stage;
use graven_tests::{sight, words};

use crate::{SUITE, actor};

#[test]
fn what_is_made_between_two_moves_is_recorded() -> Result<()> {
    const CHANGES: usize = 6_000;
    let changes = sight::repetitions(CHANGES, 3);
    on_stage(SUITE, |stage| {
        for (number, (_, folder)) in stage.grounds().into_iter().enumerate() {
            let inside = folder.join("shuttle");
            let outside = folder.parent().context("no place beside it")?.join(format!("shuttle-{number}"));
            std::fs::create_dir(&inside)?;
            let begin = stage.begin()?;
            let acted =
                actor()?.act_on(Stdio::piped(), &words!["shuttle", inside, outside, changes.to_string()])?;
            let told = String::from_utf8(acted.told.clone())?;
            let must: BTreeSet<PathBuf> = told.lines().map(|name| inside.join(name)).collect();
            ensure!(!must.is_empty(), "no change was surely made inside");
            stage.fence()?;
            // The kernel reads a name when it writes the record: if the directory has just left, it is the new one.
            let mut records = stage.since(begin.moment, &words!["--kind", "create"])?;
            records.retain(|record| record.pid() == Some(acted.pid.into()));
            let known: BTreeSet<_> =
                records.iter().filter_map(|record| record.path().file_name().map(PathBuf::from)).collect();
            let missing: Vec<_> = must
                .iter()
                .filter(|path| !path.file_name().is_some_and(|name| known.contains(&PathBuf::from(name))))
                .collect();
            stage.or_lost(begin, missing::none(&format!("of {} changes", must.len()), missing))?;
        }
        Ok(())
    })
}
