//! Requests of io_uring that name a place which is not protected, and lead to one that is, on a file system whose changes the
//! kernel's tracepoints do not tell by themselves.

use std::path::{Path, PathBuf};

use anyhow::Result;
use graven_tests::actor::Attempt;
use graven_tests::place::Place;
use graven_tests::stage::Stage;
use graven_tests::{missing, sight, skip, words};

use crate::mounted::overlay;
use crate::{SUITE, actor, on};

#[test]
fn on_overlay_what_io_uring_is_asked_for_by_a_name_elsewhere_is_recorded() -> Result<()> {
    on("overlay", &[], overlay, asks)
}

/// A file goes and another gets another name, both by way of a symbolic link in a mutable place.
fn asks(stage: &mut Stage, place: &Place) -> Result<()> {
    let watched = place.join("mount/watched");
    let link = place.join("link");
    std::os::unix::fs::symlink(&watched, &link)?;
    let [gone, before, after] = ["gone", "before", "after"].map(|name| link.join(name));
    for path in [&gone, &before] {
        std::fs::write(path, "x")?;
    }
    let requests: [(&str, Vec<&PathBuf>); 2] =
        [("unlinkat", vec![&gone]), ("renameat", vec![&before, &after])];
    for (name, paths) in requests {
        let begin = stage.begin()?;
        let mut request = words!["--uring", "plain", name].to_vec();
        request.extend(paths.iter().map(|path| path.as_os_str().to_owned()));
        request.push("0".into());
        let acted = match actor()?.attempt(&request)? {
            Attempt::Made(acted) => acted,
            Attempt::Lacking(why) => {
                skip::say(&format!("{SUITE}::io_uring"), &why);
                return Ok(());
            }
        };
        stage.fence()?;
        let records = stage.since(begin.moment, &[])?;
        if !sight::of_requests()? {
            let said =
                records.iter().find(|record| record.text("/unmapped/call") == format!("io_uring {name}"));
            missing::found(format_args!("{}: {records:#?}", acted.said), said)?;
            continue;
        }
        let kind = name.trim_end_matches("at");
        let asked = |path: &Path| path == paths[0].as_path();
        let told = records.iter().find(|record| {
            record.kind() == kind && record.pid() == Some(acted.pid.into()) && asked(&record.path())
        });
        stage.or_lost(begin, missing::found(format_args!("{}: {records:#?}", acted.said), told).map(drop))?;
    }
    Ok(())
}
