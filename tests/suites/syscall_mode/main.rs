//! Every operation that changes something, by every way into the kernel, on ext4 and tmpfs: its record has the
//! kind, the real paths, how sure it is, the entry, the call's name in the table of that entry, and what it was
//! about.
//!
//! Each family of operations is one test for each entry; all tests share one agent, each has directories of its
//! own. What a kernel or file system lacks is skipped by its name.

mod opens;
mod names;
mod sizes;
mod attributes;
mod uring;
mod mounts;
mod commands;
mod kernel;
mod refused;
mod programs;

use std::ffi::OsString;
use std::sync::OnceLock;

use anyhow::{Result, anyhow};
use graven_tests::actor::{Actor, Attempt};
use graven_tests::calls::Entry;
use graven_tests::moment::Moment;
use graven_tests::place::Place;
use graven_tests::record::Expected;
use graven_tests::scene::Scene;
use graven_tests::shared::on_stage;
use graven_tests::skip;
use graven_tests::words;

const SUITE: &str = "syscall_mode";

fn actor() -> Result<Actor> {
    Actor::new(env!("CARGO_BIN_EXE_graven-actor"))
}

/// Left out by name.
fn skipped(what: &str, why: &str) {
    skip::say(&format!("{SUITE}::{what}"), why);
}

/// A test in a directory of its own on each file system; what it expects is compared at the end.
fn on_each_ground(
    name: &str,
    actor: &Actor,
    mut test: impl FnMut(&mut Scene<'_>) -> Result<()>,
) -> Result<()> {
    on_stage(SUITE, |stage| {
        let (begin, mut scenes) = (Moment::now(), Vec::new());
        for (_, folder) in stage.grounds() {
            let mut scene = Scene::below(stage, folder, name, actor)?;
            test(&mut scene)?;
            scenes.push(scene);
        }
        stage.fence()?;
        let records = stage.since(begin, &[])?;
        scenes.iter().try_for_each(|scene| scene.compare(&records))
    })
}

/// A test in a directory of its own.
fn scene(name: &str, test: impl FnOnce(&mut Scene<'_>) -> Result<()>) -> Result<()> {
    on_stage(SUITE, |stage| {
        let mut scene = Scene::new(stage, name, &actor()?)?;
        let done = test(&mut scene);
        scene.or_lost(done)?;
        scene.check()
    })
}

/// A scene whose actor enters the kernel in one way.
struct Take<'s, 'a> {
    scene: &'s mut Scene<'a>,
    entry: Entry,
}

impl Take<'_, '_> {
    /// One call, which is one record.
    fn one(&mut self, call: &str, operands: &[OsString], expected: Expected) -> Result<()> {
        self.all(call, operands, vec![expected.by(self.entry.name(), call)])
    }

    /// One call, which is so many records.
    fn all(&mut self, call: &str, operands: &[OsString], expected: Vec<Expected>) -> Result<()> {
        self.scene.act(&words(call, operands), expected)
    }

    /// One call that older kernels or other file systems have not.
    fn newer(&mut self, call: &str, operands: &[OsString], expected: Expected) -> Result<()> {
        let expected = vec![expected.by(self.entry.name(), call)];
        if let Some(why) = self.scene.act_if_there(&words(call, operands), expected)? {
            skipped("newer_calls", &why);
        }
        Ok(())
    }

    /// True by the 32-bit entry.
    fn is_compat(&self) -> bool {
        self.entry == Entry::Compat
    }
}

fn words(call: &str, operands: &[OsString]) -> Vec<OsString> {
    [&words![call], operands].concat()
}

/// One family by one entry.
fn take(entry: Entry, name: &str, family: fn(&mut Take<'_, '_>) -> Result<()>) -> Result<()> {
    let actor = actor()?.by(entry);
    if let Some(why) = lacks(entry, &actor)? {
        skipped(entry.name(), why);
        return Ok(());
    }
    on_each_ground(&format!("{entry}-{name}"), &actor, |scene| family(&mut Take { scene, entry }))
}

/// Why this kernel cannot be entered so.
fn lacks(entry: Entry, actor: &Actor) -> Result<Option<&'static str>> {
    static LACKS: [OnceLock<Result<Option<String>, String>>; 3] = [const { OnceLock::new() }; 3];
    let lacks = LACKS[entry as usize].get_or_init(|| try_entry(actor).map_err(|error| format!("{error:#}")));
    lacks.as_ref().map(Option::as_deref).map_err(|words| anyhow!("the entry cannot be tried: {words}"))
}

fn try_entry(actor: &Actor) -> Result<Option<String>> {
    let mut place = Place::new("entry")?;
    let attempt = actor.attempt(&words!["mkdir", place.join("made"), "0755"])?;
    place.done();
    Ok(match attempt {
        Attempt::Made(_) => None,
        Attempt::Lacking(why) => Some(why),
    })
}

/// Each family is a test in each of the modules `native`, `compat` and `x32`.
macro_rules! by_each_entry {
    ($($module:ident :: $family:ident),+ $(,)?) => {
        by_each_entry!(@one native Native $($module $family)+);
        by_each_entry!(@one compat Compat $($module $family)+);
        by_each_entry!(@one x32 X32 $($module $family)+);
    };
    (@one $name:ident $entry:ident $($module:ident $family:ident)+) => {
        mod $name {
            $(#[test]
            fn $family() -> anyhow::Result<()> {
                crate::take(graven_tests::calls::Entry::$entry, stringify!($family), crate::$module::$family)
            })+
        }
    };
}

by_each_entry!(
    opens::an_open_that_makes_a_file_is_a_creation,
    opens::an_open_for_writing_is_an_update,
    opens::an_open_that_only_truncates_is_an_update,
    opens::a_file_without_a_name_that_gets_one_is_a_creation,
    names::a_directory_or_node_that_is_made_is_a_creation_of_its_kind,
    names::a_symbolic_link_is_recorded_with_its_text,
    names::a_hard_link_is_recorded_with_the_name_the_file_had,
    names::a_bound_socket_is_a_creation,
    names::a_removed_name_is_a_deletion,
    names::a_rename_has_both_names,
    sizes::a_truncation_is_recorded_with_the_new_size,
    sizes::room_that_is_made_or_taken_is_a_modification,
    sizes::what_is_written_is_a_modification_by_that_call,
    sizes::a_mapping_for_writing_is_recorded_and_so_is_the_first_store,
    attributes::a_mode_is_recorded_as_asked_for,
    attributes::an_owner_is_recorded_as_asked_for,
    attributes::times_are_attributes,
    attributes::an_extended_attribute_is_recorded_by_its_name,
    attributes::an_extended_attribute_that_the_kernel_acts_on_is_security,
    attributes::an_access_control_list_and_capabilities_are_security,
    attributes::inode_flags_are_recorded_as_asked_for,
    mounts::a_mount_of_its_own_namespace_is_recorded_by_kind,
    mounts::a_mount_by_the_new_calls_is_recorded,
);
