//! The bytes of version 1. They are what hosts wrote and central logs keep: a change here is a break.
//!
//! `GRAVEN_GOLDEN=write cargo test -p graven-record --test contract golden` writes them anew, which is right
//! only for words (`*.json`, `lines.txt`) and for a new version beside the old.

use std::fs;
use std::path::{Path, PathBuf};

use graven_record::event;
use graven_record::frame::Frame;
use graven_record::id::Lane;
use prost::Message;

use crate::{fixed, grown};

/// The same of the frame of the records that the schema grew by.
const GROWN_HASH: &str = "4bb27b779aafd68c4ca54f91fa2bc818bddcb12dc7c687fce0eb083f1bdbe53c";
/// The frames' hashes as they were when version 1 was made: SHA-256("graven/frame/1\n" ‖ header).
const HASHES: [(Lane, &str); 2] = [
    (Lane::Protected, "b420aad3c51f1774a4aaa2636d631bf06091d709e7c33b9f00cc4cea586a3959"),
    (Lane::Activity, "feb9f5f8707d26a2eece82d683d24a44a8f232675dc6e71435474af698d1b129"),
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

fn writing() -> bool {
    std::env::var("GRAVEN_GOLDEN").is_ok_and(|value| value == "write")
}

fn golden(name: &str) -> Vec<u8> {
    fs::read(path(name))
        .unwrap_or_else(|error| panic!("golden/{name}: {error}; GRAVEN_GOLDEN=write makes it"))
}

fn compare(name: &str, made: &str) {
    if writing() {
        fs::write(path(name), made).unwrap();
    }
    assert_eq!(String::from_utf8(golden(name)).unwrap(), made, "golden/{name}");
}

#[test]
fn the_records_are_byte_for_byte_those_of_version_1() {
    let made = fixed::batch().encode_to_vec();
    if writing() {
        fs::write(path("batch-v1.bin"), &made).unwrap();
    }
    assert_eq!(golden("batch-v1.bin"), made);
}

/// zstd may compress otherwise in another release, so frames are read and not made again.
#[test]
fn frames_of_version_1_are_read() {
    for (lane, hash) in HASHES {
        let name = format!("frame-v1-{}.bin", lane.name());
        if writing() {
            fs::write(path(&name), fixed::frame(lane).bytes()).unwrap();
        }
        let bytes = golden(&name);
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!(frame.bytes(), bytes, "{name}");
        frame.verify(&fixed::epoch_key().verifying_key()).unwrap();
        assert_eq!(frame.batch().unwrap(), fixed::batch(), "{name}");
        assert_eq!(frame.private().unwrap(), fixed::private(), "{name}");
        let draft = fixed::draft(lane);
        let header = frame.header();
        let read = (header.lane, header.starts_run, header.host, header.boot, header.run, header.epoch);
        assert_eq!(read, (draft.lane, draft.starts_run, draft.host, draft.boot, draft.run, draft.epoch));
        let read = (header.first, header.last, header.lost, header.previous, header.sealed_at);
        assert_eq!(read, (1, 15, draft.lost, draft.previous, draft.sealed_at));
        assert_eq!(hex::encode(frame.header().hash()), hash, "{name}");
    }
}

#[test]
fn what_the_schema_grew_by_is_byte_for_byte_as_it_was() {
    let made = grown::batch().encode_to_vec();
    if writing() {
        fs::write(path("batch-v1-grown.bin"), &made).unwrap();
        fs::write(path("frame-v1-grown.bin"), grown::frame().bytes()).unwrap();
    }
    assert_eq!(golden("batch-v1-grown.bin"), made);
    let bytes = golden("frame-v1-grown.bin");
    let frame = Frame::parse(&bytes).unwrap();
    frame.verify(&fixed::epoch_key().verifying_key()).unwrap();
    assert_eq!(frame.batch().unwrap(), grown::batch());
    assert_eq!(frame.private().unwrap(), fixed::private());
    assert_eq!(hex::encode(frame.header().hash()), GROWN_HASH);
}

#[test]
fn json_of_each_kind_is_as_it_was() {
    let plain = fixed::records().into_iter().map(|record| (event::word(&record), record));
    for (name, record) in plain.chain(grown::named()) {
        let json = serde_json::to_string_pretty(&fixed::render(&record)).unwrap() + "\n";
        compare(&format!("{name}.json"), &json);
    }
}

#[test]
fn lines_of_each_kind_are_as_they_were() {
    let lines: String = fixed::all().iter().map(|record| format!("{}\n", fixed::line(record))).collect();
    compare("lines.txt", &lines);
}
