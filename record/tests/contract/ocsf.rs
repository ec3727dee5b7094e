//! What is rendered is OCSF 1.8.0, for every kind and for records that no honest host writes.

use std::collections::BTreeSet;

use graven_record::event;
use graven_record::id::Lane;
use graven_record::ocsf::{self, Envelope};
use graven_record::text;
use graven_record::v1;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::table::faults;
use crate::{arbitrary, fixed};

#[test]
fn each_kind_is_an_event_of_the_schema() {
    for record in fixed::all() {
        assert_eq!(faults(&fixed::render(&record)), Vec::<String>::new(), "{}", event::word(&record));
    }
}

#[test]
fn there_is_a_fixed_record_of_each_kind() {
    let kinds: BTreeSet<_> = fixed::all().iter().map(event::word).collect();
    let schema = include_str!("../../proto/record.proto");
    let oneof = schema.split("oneof event {").nth(1).and_then(|rest| rest.split('}').next()).unwrap();
    let named: Vec<_> = oneof.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(named.len(), kinds.len());
    assert!(named.iter().all(|word| kinds.contains(word)), "{named:?} {kinds:?}");
}

#[test]
fn classes_and_activities_are_those_of_the_event_table() {
    let expected = [
        ("open", 100_103),
        ("modify", 100_103),
        ("create", 100_101),
        ("unlink", 100_104),
        ("rename", 100_105),
        ("attr", 100_107),
        ("exec", 100_701),
        ("exit", 100_702),
        ("uncovered", 100_899),
        ("lost", 100_899),
        ("epoch_start", 100_899),
        ("start", 100_806),
        ("stop", 100_807),
        ("clock", 100_899),
        ("policy_change", 100_899),
        ("truncate", 100_103),
        ("mmap", 100_103),
        ("mount", 100_112),
        ("login", 100_799),
        ("module", 100_799),
        ("bpf", 100_799),
        ("tamper", 100_799),
    ];
    for (kind, type_uid) in expected {
        assert_eq!(fixed::rendered(kind)["type_uid"], type_uid, "{kind}");
    }
}

#[test]
fn an_open_that_made_the_file_is_a_creation() {
    let mut record = fixed::record("open");
    let Some(v1::record::Event::Open(open)) = &mut record.event else { unreachable!() };
    open.created = true;
    assert_eq!(fixed::render(&record)["type_uid"], 100_101);
}

#[test]
fn an_alert_carries_the_policy_and_the_rule() {
    let event = fixed::rendered("open");
    let control = ["action_id", "disposition_id", "is_alert", "severity_id"].map(|name| event[name].clone());
    assert_eq!(control, [json!(3), json!(19), json!(true), json!(4)]);
    let policy = json!({"name": "golden-debian-web", "version": "2026.11.2", "uid": "git:4be1c90", "is_applied": true});
    assert_eq!(event["policy"], policy);
    assert_eq!(event["unmapped"]["verdict"]["rule"], "configuration");
    assert_eq!(fixed::rendered("create")["disposition_id"], 17);
}

#[test]
fn a_refused_attempt_is_a_failure() {
    assert_eq!(fixed::rendered("unlink")["status_id"], 2);
    assert_eq!(fixed::rendered("attr")["status"], "Reported");
}

#[test]
fn a_record_of_many_refusals_counts_them() {
    let mut record = fixed::record("unlink");
    assert_eq!(fixed::render(&record).get("count"), None);
    let Some(v1::record::Event::Unlink(unlink)) = &mut record.event else { unreachable!() };
    unlink.folded = u32::MAX;
    let event = fixed::render(&record);
    assert_eq!(
        (&event["count"], &event["unmapped"]["folded"]),
        (&json!(4_294_967_296_u64), &json!(u32::MAX))
    );
    assert!(fixed::line(&record).to_string().contains(" delete (refused, 4294967295 more) /etc/"));
}

#[test]
fn only_names_that_say_who_may_do_what_are_security() {
    let mut record = fixed::record("attr");
    let mut class_of = |kind: v1::AttrKind, name: &str| {
        let name = name.as_bytes().to_vec();
        let attr = v1::Attr { kind: kind.into(), name, ..v1::Attr::default() };
        record.event = Some(v1::record::Event::Attr(attr));
        fixed::render(&record)["type_uid"].clone()
    };
    for name in ["security.capability", "system.posix_acl_access", "trusted.overlay.opaque"] {
        assert_eq!(class_of(v1::AttrKind::Xattr, name), 100_107, "{name}");
        assert_eq!(class_of(v1::AttrKind::XattrRemoved, name), 100_107, "{name}");
    }
    for name in ["user.security.x", "securityx", "system.other", ""] {
        assert_eq!(class_of(v1::AttrKind::Xattr, name), 100_106, "{name}");
    }
    assert_eq!(class_of(v1::AttrKind::Times, ""), 100_106);
    assert_eq!(class_of(v1::AttrKind::Flags, "security.x"), 100_106);
}

#[test]
fn only_what_puts_other_files_at_a_place_is_a_mount() {
    let mut record = fixed::record("mount");
    let mut class_of = |kind: v1::MountKind| {
        let mount = v1::Mount { kind: kind.into(), ..v1::Mount::default() };
        record.event = Some(v1::record::Event::Mount(mount));
        fixed::render(&record)["type_uid"].as_u64().unwrap()
    };
    use v1::MountKind::{Bind, Mount, Move, PivotRoot, Remount, SwapOn, Unmount};
    assert_eq!([Mount, Bind, Move].map(&mut class_of), [100_112; 3]);
    assert_eq!(class_of(Unmount), 100_113);
    assert_eq!([Remount, PivotRoot, SwapOn].map(&mut class_of), [100_103; 3]);
}

#[test]
fn a_record_says_by_which_call_and_which_entry() {
    let said = |entry: v1::Entry, call: &str| {
        let source = v1::Source { entry: entry.into(), call: call.into(), ..v1::Source::default() };
        let event = fixed::render(&v1::Record { source: Some(source), ..fixed::record("open") });
        let unmapped = event["unmapped"].as_object().unwrap();
        ["entry", "call"].map(|name| unmapped.get(name).cloned().unwrap_or_default())
    };
    assert_eq!(said(v1::Entry::Native, "openat"), [json!("native"), json!("openat")]);
    assert_eq!(said(v1::Entry::Compat, "open"), [json!("compat"), json!("open")]);
    assert_eq!(said(v1::Entry::X32, "open")[0], "x32");
    assert_eq!(said(v1::Entry::IoUring, "io_uring openat"), [json!("io_uring"), json!("io_uring openat")]);
    assert_eq!(said(v1::Entry::Unspecified, ""), [Value::Null, Value::Null]);
}

#[test]
fn the_process_of_a_tampering_is_the_one_acted_upon() {
    let event = fixed::rendered("tamper");
    assert_eq!(event["process"], json!({"pid": 812}));
    assert_eq!(event["actor"]["process"]["path"], "/usr/bin/vim.basic");
}

#[test]
fn a_loss_that_is_counted_by_place_has_its_own_times_and_actor() {
    let mut record = fixed::record("lost");
    let Some(v1::record::Event::Lost(lost)) = &mut record.event else { unreachable!() };
    (lost.first, lost.last) = (lost.since + 500_000_000, lost.since + 700_000_000);
    record.subject = Some(fixed::subject().into());
    let event = fixed::render(&record);
    let times = ["start_time", "end_time"].map(|name| event[name].as_u64().unwrap());
    assert_eq!(times[1] - times[0], 200);
    assert_eq!(event["actor"]["process"]["path"], "/usr/bin/vim.basic");
}

#[test]
fn the_actor_of_an_exec_is_the_program_that_forked_and_the_process_the_one_that_runs() {
    let event = fixed::rendered("exec");
    assert_eq!(event["actor"]["process"]["path"], "/usr/bin/sudo");
    assert_eq!(event["process"]["path"], "/tmp/.x/kd");
    assert_eq!(event["process"]["cmd_line"], r"./kd -d 'it'\''s' ''");
    assert_eq!(event["actor"]["user"], json!({"uid": "1001", "name": "alice", "type_id": 1}));
}

#[test]
fn a_process_that_runs_a_second_program_is_its_own_actor() {
    let mut record = fixed::record("exec");
    let Some(v1::record::Event::Exec(exec)) = &mut record.event else { unreachable!() };
    exec.before.as_mut().unwrap().exec = 99;
    let event = fixed::render(&record);
    assert_eq!(event["actor"]["process"]["pid"], 4242);
    assert_eq!(event["actor"]["process"]["parent_process"]["path"], "/usr/bin/sudo");
    assert_eq!(faults(&event), Vec::<String>::new());
}

#[test]
fn a_program_run_is_named_in_full_and_dated() {
    let process = &fixed::rendered("open")["actor"]["process"];
    assert_eq!(process["uid"], format!("{}:4242:75476567890:7", fixed::BOOT));
    // 5.758 s before the first record's moment.
    assert_eq!(process["created_time"], (fixed::WALL - 5_758_000_000) / 1_000_000);
    let lineage = json!([
        "/usr/lib/systemd/systemd",
        "/usr/sbin/sshd",
        "/usr/bin/bash",
        "/usr/bin/sudo",
        "/usr/bin/vim.basic"
    ]);
    assert_eq!(process["lineage"], lineage);
}

#[test]
fn without_the_private_part_there_are_no_arguments() {
    let (record, context) = (fixed::record("open"), fixed::context());
    let envelope = Envelope {
        host: fixed::host(),
        boot: fixed::BOOT,
        lane: None,
        context: &context,
        private: &[],
        frame_hash: None,
    };
    let event = ocsf::render(&envelope, &record);
    assert_eq!(event["actor"]["process"].get("cmd_line"), None);
    assert_eq!(event["metadata"].get("uid"), None);
    assert_eq!(faults(&event), Vec::<String>::new());
}

#[test]
fn a_path_that_is_not_utf8_is_escaped_and_marked_and_comes_back() {
    let event = fixed::rendered("create");
    let path = event["file"]["path"].as_str().unwrap();
    assert_eq!(path, r"/etc/nginx/snippets \xff\\");
    assert_eq!(text::unescape(path).unwrap(), b"/etc/nginx/snippets \xff\\");
    assert_eq!(event["unmapped"]["escaped"], json!(["file.name", "file.path"]));
    // A unit's backslashes are text, and stay.
    assert_eq!(fixed::rendered("open")["unmapped"].get("escaped"), None);
}

#[test]
fn a_person_whose_account_is_shared_is_named_before_it() {
    let mut record = fixed::record("open");
    record.subject.as_mut().unwrap().login_user = "core".into();
    let user = json!({"name": "alice", "account": {"uid": "1001", "name": "core"}, "type_id": 1});
    assert_eq!(fixed::render(&record)["actor"]["user"], user);
}

#[test]
fn a_kind_of_a_newer_release_is_a_base_event() {
    let record = v1::Record { event: None, ..fixed::record("open") };
    let event = fixed::render(&record);
    assert_eq!((&event["class_uid"], &event["unmapped"]["kind"]), (&json!(0), &json!("unknown")));
    assert_eq!(faults(&event), Vec::<String>::new());
}

/// Every string of a value.
fn strings<'a>(value: &'a Value, out: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => out.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, out)),
        Value::Object(object) => object.values().for_each(|item| strings(item, out)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_record_is_an_event_of_the_schema(
        record in arbitrary::record(), context in arbitrary::context(), lane in any::<Option<bool>>(),
        private in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..4)
    ) {
        let private: Vec<_> = private.into_iter().map(|value| v1::PrivateEntry { salt: vec![0; 16], value }).collect();
        let envelope = Envelope {
            host: fixed::host(),
            boot: fixed::BOOT,
            lane: lane.map(|protected| if protected { Lane::Protected } else { Lane::Activity }),
            context: &context,
            private: &private,
            frame_hash: None,
        };
        let event = ocsf::render(&envelope, &record);
        prop_assert_eq!(faults(&event), Vec::<String>::new());
        prop_assert_eq!(ocsf::render(&envelope, &record).to_string(), event.to_string());
        prop_assert_eq!(&serde_json::from_str::<Value>(&ocsf::compact(&event)).unwrap(), &event);

        let line = text::line(&envelope, &record);
        let shown = line.to_string();
        prop_assert!(!shown.chars().any(char::is_control), "{}", shown);
        prop_assert!(text::unescape(&line.message).is_some(), "{}", line.message);
        prop_assert!(text::unescape(&line.detail).is_some(), "{}", line.detail);
        prop_assert!(!line.detail.chars().any(char::is_control), "{}", line.detail);
    }

    #[test]
    fn the_file_of_any_record_comes_back_from_json_and_from_text(record in arbitrary::record()) {
        let event = fixed::render(&record);
        let Some(file) = event::files(&record).first().copied().filter(|file| !file.path.is_empty()) else {
            return Ok(());
        };
        let places = [("file", "/file/path"), ("module.file", "/module/file/path"), ("process.file", "/process/file/path")];
        let found = places.iter().find_map(|(at, pointer)| Some((at, event.pointer(pointer)?.as_str()?)));
        let (at, path) = found.unwrap();
        let mut all = Vec::new();
        strings(&event["unmapped"]["escaped"], &mut all);
        let marked = all.contains(&format!("{at}.path").as_str());
        let back = if marked { text::unescape(path).unwrap() } else { path.as_bytes().to_vec() };
        prop_assert_eq!(&back, &file.path);

        let line = fixed::line(&record);
        let shown = line.paths[0].trim_start_matches('…').trim_matches('"');
        prop_assert_eq!(&text::unescape(shown).unwrap(), &file.path);
    }
}
