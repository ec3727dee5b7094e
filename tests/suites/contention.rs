//! Many writers on one processor: the kernel takes the processor from one in the middle of the sensor's program
//! and gives it to the next. Nothing is lost without being counted.

use std::process::Stdio;
use std::time::Instant;

use anyhow::{Result, ensure};
use graven_tests::actor::Actor;
use graven_tests::scene::Scene;
use graven_tests::shared::on_stage;
use graven_tests::tally::{Done, Tally};
use graven_tests::{sight, words};

const SUITE: &str = "contention";

/// As in the experiments that showed programs to be skipped.
const WRITERS: usize = 8;
const FILES: usize = 4_000;

#[test]
fn what_eight_writers_do_on_one_processor_is_recorded_or_counted() -> Result<()> {
    on_stage(SUITE, |stage| {
        let actor = Actor::new(env!("CARGO_BIN_EXE_graven-actor"))?;
        let scene = Scene::new(stage, "busy", &actor)?;
        let folders = (0..WRITERS).map(|number| scene.directory(&number.to_string()));
        let folders = folders.collect::<Result<Vec<_>>>()?;
        let files = sight::repetitions(FILES, 2);
        let begin = Instant::now();
        let mut writers = Vec::new();
        for folder in folders {
            let words = words!["--cpu", "0", "flood", folder, "0", files.to_string()];
            let child = actor.command(&words).stdout(Stdio::null()).spawn()?;
            writers.push((folder, child));
        }
        for (_, child) in &mut writers {
            ensure!(child.wait()?.success(), "a writer failed");
        }
        println!("{} creations in {:?}", WRITERS * files, begin.elapsed());
        stage.fence()?;
        let done = writers.iter().map(|(folder, child)| Done { folder, pid: child.id(), names: files });
        let done: Vec<Done<'_>> = done.collect();
        for tally in Tally::all(stage, scene.begin(), &done)? {
            println!("{tally:?}");
        }
        Ok(())
    })
}
