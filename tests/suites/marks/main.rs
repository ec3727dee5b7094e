//! A place is protected as the kernel sees it, whatever stat says: on overlay a file has another inode than the one
//! below it that is written, and on btrfs another device than its file system. What lies beside it on the same mount is
//! not protected.

mod mounted;
mod requests;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use graven_tests::actor::Actor;
use graven_tests::place::Place;
use graven_tests::record::{Expected, Record, activity};
use graven_tests::scene::Scene;
use graven_tests::spooled::Tally;
use graven_tests::stage::Stage;
use graven_tests::{missing, sight, skip, words};

use mounted::{
    DEEP, Mounted, btrfs, lacks, overlay, overlay_in_memory, overlay_over_an_image, overlay_over_memory,
};

const SUITE: &str = "marks";

/// Changes beside the protected place that the kernel leaves out, of eight times as many in a second: while the agent sets
/// its marks anew, as it does when another test mounts something, none is.
const BESIDE: u64 = 500;

#[test]
fn on_overlay_the_upper_inode_is_protected_and_not_the_layers() -> Result<()> {
    on("overlay", &[], overlay, |stage, place| {
        protects(stage, &place.join("mount/watched"), None)?;
        ignores(stage, &place.join("mount/beside"))
    })
}

#[test]
fn on_overlay_with_a_protected_layer_each_change_is_told_by_the_overlay() -> Result<()> {
    on("overlay", &["changes/upper/watched"], overlay, |stage, place| {
        protects(stage, &place.join("mount/watched"), Some(&place.join("changes/upper/watched")))?;
        ignores(stage, &place.join("mount/beside"))
    })
}

#[test]
fn what_takes_the_place_of_a_protected_directory_of_a_layer_is_protected_from_its_first_change_on()
-> Result<()> {
    on("overlay", &["changes/upper/watched/root"], overlay, replaces)
}

#[test]
fn on_overlay_what_only_the_lower_layer_has_is_told_by_the_overlay_when_it_is_copied_up() -> Result<()> {
    on("overlay", &[], overlay_over_an_image, copies_up)
}

#[test]
fn on_overlay_what_comes_from_a_lower_layer_on_another_file_system_is_told_by_the_overlay() -> Result<()> {
    on("overlay", &[], overlay_over_memory, copies_up)
}

#[test]
fn on_overlay_with_an_upper_layer_on_another_file_system_its_inode_is_protected() -> Result<()> {
    on("overlay", &[], overlay_in_memory, |stage, place| protects(stage, &place.join("mount/watched"), None))
}

#[test]
fn on_btrfs_a_subvolume_is_protected_though_stat_gives_it_a_device_of_its_own() -> Result<()> {
    on("btrfs", &[], btrfs, |stage, place| {
        protects(stage, &place.join("mount/watched"), None)?;
        ignores(stage, &place.join("mount/beside"))
    })
}

/// A `mount` in which `watched` is there, with the file `below`: it is protected, `more` beside it, and the rest is
/// not.
fn on(
    name: &str,
    more: &[&str],
    make: fn(&Place) -> Result<Mounted>,
    test: impl FnOnce(&mut Stage, &Place) -> Result<()>,
) -> Result<()> {
    if skip::needs_root(SUITE) {
        return Ok(());
    }
    if let Some(why) = lacks(name)? {
        skip::say(&format!("{SUITE}::{name}"), why);
        return Ok(());
    }
    let mut place = Place::new(name)?;
    let mounted = make(&place)?;
    let guarded: Vec<PathBuf> = more.iter().chain(&["mount/watched"]).map(|name| place.join(name)).collect();
    let guarded: Vec<&Path> = guarded.iter().map(PathBuf::as_path).collect();
    let mut stage = match Stage::guarding(name, &guarded) {
        Err(error) if skip::is_refused(SUITE, &error) => {
            place.done();
            return Ok(());
        }
        stage => stage?,
    };
    test(&mut stage, &place)?;
    stage.finish()?;
    drop(mounted);
    place.done();
    Ok(())
}

/// A directory of the same file system is not protected, and nothing of its changes is recorded under any name. Where nothing
/// says what a call changes, nothing is left out.
fn ignores(stage: &mut Stage, beside: &Path) -> Result<()> {
    if !sight::of_changes() {
        return Ok(());
    }
    let begin = stage.begin()?;
    std::fs::create_dir(beside)?;
    let acted = actor()?.act(&words!["storm", beside, (8 * BESIDE).to_string(), "4000"])?;
    stage.fence()?;
    let mut told = stage.since(begin.moment, &[])?;
    told.retain(|record| {
        record.pid() == Some(acted.pid.into()) && !["exec", "exit"].contains(&record.kind())
    });
    // What is told by the call alone: that nothing changed in a protected place was not seen.
    let is_claim = |record: &Record| record.text("/unmapped/outcome") == "reported";
    let (claims, told): (Vec<Record>, Vec<Record>) = told.into_iter().partition(is_claim);
    ensure!(told.is_empty(), "what is not protected is recorded: {told:#?}");
    stage.or_lost(begin, missing::none("what was left out", claims))?;
    stage.agent.stop()?;
    let counters = Tally::of(&stage.agent.spool())?.counters;
    ensure!(counters.is_some_and(|counters| counters.ignored >= BESIDE), "{counters:?}");
    Ok(())
}

/// `layer`: what `watched` is made of, where that is protected too.
fn protects(stage: &Stage, watched: &Path, layer: Option<&Path>) -> Result<()> {
    let below = watched.join("below");
    // A name that was there before the agent: on overlay it is copied up by this.
    let mut scene = Scene::below(stage, watched, "made", &actor()?)?;
    let opened = Expected::new("open", activity::UPDATE, &below).with("/unmapped/writable", true);
    // O_WRONLY
    scene.act(&words!["open", below, "1", "0"], vec![opened])?;
    let moved = scene.path("moved");
    scene.act(&words!["rename", below, moved], vec![Expected::rename(&below, &moved)])?;
    scene.act(&words!["unlink", moved], vec![Expected::new("unlink", activity::DELETE, &moved)])?;
    let new = scene.path("directory");
    let made = Expected::new("create", activity::CREATE, &new).with("/unmapped/create/kind", "directory");
    scene.act(&words!["mkdir", new, "0755"], vec![made])?;
    let file = scene.file("file")?;
    let changed = scene.actor().act(&words!["chmod", file, "0600"])?;
    let written = scene.file("written")?;
    let wrote = scene.actor().act(&words!["write", written, "x"])?;
    stage.fence()?;
    let mut records = scene.records(&[])?;
    let told = records.iter().filter(|record| record.pid() == Some(wrote.pid.into()));
    let told: Vec<_> = told.filter(|record| record.kind() == "modify").map(Record::path).collect();
    let by_layer = layer.map(|layer| vec![layer.join("made/written")]);
    let is_once = told == [written.clone()] || by_layer == Some(told.clone());
    ensure!(told.is_empty() || is_once, "a write is told once: {told:?}");
    scene.or_lost(missing::none("written", told.is_empty().then_some(written)))?;
    let mut path = file.clone();
    if let Some(layer) = layer {
        // Of what keeps its name, the layer's is as true.
        let below = layer.join("made/file");
        let is_layers = |record: &Record| record.kind() == "attr" && record.path() == below;
        path = if records.iter().any(is_layers) { below } else { path };
        // What a call's record does not name is told beside it: the layer's inodes, or the overlay's.
        records.retain(|record| {
            record.kind() != "modify" || (record.path().starts_with(watched) && record.path() != file)
        });
    }
    scene.expect(changed, vec![Expected::new("attr", activity::SECURITY, path)]);
    scene.compare(&records)
}

/// A change of a file in the image copies up all directories above it; a file is made where one of the image was removed, and
/// one of the image gets another name. Each is told with the overlay's own name.
fn copies_up(stage: &mut Stage, place: &Place) -> Result<()> {
    let watched = place.join("mount/watched");
    let (file, gone) = (place.join("mount").join(DEEP).join("file"), watched.join("gone"));
    let (below, linked) = (watched.join("below"), watched.join("linked"));
    let mut scene = Scene::below(stage, &watched, "made", &actor()?)?;
    let link = Expected::new("create", activity::CREATE, &linked)
        .with("/unmapped/create/kind", "link")
        .with("/unmapped/create/from/path", below.to_string_lossy().into_owned());
    let changes = [
        (words!["chmod", file, "0600"].to_vec(), Expected::new("attr", activity::SECURITY, &file)),
        (words!["unlink", gone].to_vec(), Expected::new("unlink", activity::DELETE, &gone)),
        (words!["mknod", gone, "0100644", "0"].to_vec(), Expected::new("create", activity::CREATE, &gone)),
        (words!["link", below, linked].to_vec(), link),
    ];
    for (words, expected) in changes {
        scene.act(&words, vec![expected])?;
    }
    stage.fence()?;
    let mut records = scene.records(&[])?;
    // What a call's record does not name is told beside it: directories that were copied up.
    records.retain(|record| record.kind() != "modify");
    scene.compare(&records)
}

/// A root in the layer is renamed through the overlay, and a new directory made in its place. Then the overlay is
/// unmounted, because under it nobody may change a layer, and a directory is made there which only the new one's mark
/// could tell to be protected. All by one process and without a pause: nobody has time to look.
fn replaces(stage: &mut Stage, place: &Place) -> Result<()> {
    let [root, away] = ["root", "away"].map(|name| place.join("mount/watched").join(name));
    let first = place.join("changes/upper/watched/root/first");
    let mut words = words!["rename", root, away, "then", "mkdir", root, "0777"].to_vec();
    words.extend(words!["then", "mkdir", root.join("through"), "0755"]);
    // MNT_DETACH
    words.extend(words!["then", "umount2", place.join("mount"), "2"]);
    words.extend(words!["then", "mkdir", first, "0755"]);
    let begin = stage.begin()?;
    let acted = actor()?.act(&words)?;
    stage.fence()?;
    let mut records = stage.since(begin.moment, &[])?;
    records.retain(|record| record.pid() == Some(acted.pid.into()));
    // Where the overlay was may be unknown by the time that its records are made.
    let told = [("rename", "root"), ("create", "root"), ("create", "through")].map(|(kind, name)| {
        let is = |record: &&Record| record.kind() == kind && record.path().ends_with(name);
        missing::found(format_args!("{kind} of {name} in {records:#?}"), records.iter().find(is)).map(drop)
    });
    let own = records.iter().find(|record| record.kind() == "create" && record.path().ends_with("first"));
    let own = missing::found(format_args!("{} in {records:#?}", first.display()), own);
    let own = own.and_then(|own| Expected::new("create", activity::CREATE, &first).is(own, &acted));
    stage.or_lost(begin, missing::all(told.into_iter().chain([own])))
}

fn actor() -> Result<Actor> {
    Actor::new(env!("CARGO_BIN_EXE_graven-actor"))
}
