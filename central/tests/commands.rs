#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
//! The binary as an operator uses it, on a log that holds a real host's frames: words in, lines and exit codes
//! out.

#[expect(unreachable_pub, reason = "the fixture serves other tests too")]
mod fixture;
#[expect(dead_code, unreachable_pub, reason = "one agent serves every test of the wire")]
mod agent;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use graven_record::id::Lane;
use graven_record::v1::record::Event;
use graven_record::v1::{
    Decision, Exec, ExecId, Mount, MountKind, Outcome, PrivateEntry, Process, Record, Rename, Severity,
    Subject, Tamper, Unlink, Verdict,
};
use serde_json::Value;

use agent::{connect, enrol, opening};
use fixture::{Host, file, modify};

const GRAVEN: &str = env!("CARGO_BIN_EXE_graven");
const ESCAPE: &str = "/srv/\u{1b}[2Jclear\u{202e}";

/// `graven serve` as a process of its own; killed with the test that started it.
struct Served {
    process: Child,
    port: u16,
}

impl Served {
    fn start(data: &Path) -> Self {
        let mut process = Command::new(GRAVEN)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let ready = lines.by_ref().map(Result::unwrap).find(|line| line.starts_with("ready: ")).unwrap();
        // Somebody must read on, or the server would wait for its log to be read.
        std::thread::spawn(move || lines.for_each(drop));
        let port = ready.rsplit(':').next().unwrap().parse().unwrap();
        assert_eq!(ready, format!("ready: https://127.0.0.1:{port}"));
        Self { process, port }
    }

    fn terminate(mut self) -> Option<i32> {
        signal(&self.process, "TERM");
        self.process.wait().unwrap().code()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Ended already in the tests that end well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn signal(process: &Child, name: &str) {
    assert!(
        Command::new("kill").args([format!("-{name}"), process.id().to_string()]).status().unwrap().success()
    );
}

fn graven(data: &Path, words: &[&str]) -> Output {
    let (command, rest) = words.split_first().unwrap();
    Command::new(GRAVEN).arg(command).arg("--data").arg(data).args(rest).output().unwrap()
}

/// Standard output of a command that must end with `code`.
fn says(data: &Path, words: &[&str], code: i32) -> String {
    let output = graven(data, words);
    let text = String::from_utf8(output.stdout).unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {text}{error}");
    text
}

/// The sentence of a command that must fail with 2.
fn fails(data: &Path, words: &[&str]) -> String {
    let output = graven(data, words);
    assert_eq!(output.status.code(), Some(2), "{words:?}");
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

fn program(pid: u32, exec: u32, exe: &str) -> Process {
    let comm = exe.rsplit('/').next().unwrap().as_bytes().to_vec();
    let id = Some(ExecId { pid, start: u64::from(pid), exec });
    Process { id, exe: exe.as_bytes().to_vec().into(), comm: comm.into(), ..Process::default() }
}

fn by(process: Process, record: Record) -> Record {
    let ancestors =
        [program(30, 2, "/usr/bin/bash"), program(20, 2, "/usr/sbin/sshd"), program(1, 1, "/sbin/init")];
    let above = ancestors.iter().position(|a| a.id == process.id).map_or(0, |at| at + 1);
    let (user, login_user) = ("root".to_owned(), "ada".to_owned());
    let ancestors = ancestors[above..].to_vec();
    let subject = Subject {
        process: Some(process),
        ancestors,
        user,
        login_user,
        loginuid: Some(1000),
        ..Subject::default()
    };
    Record { subject: Some(subject.into()), ..record }
}

fn judged(decision: Decision, record: Record) -> Record {
    let (severity, rule) = (Severity::High.into(), "demo".to_owned());
    let verdict = Verdict { decision: decision.into(), severity, rule, reason: "must not change".to_owned() };
    Record { verdict: Some(verdict.into()), ..record }
}

/// What a person did over ssh, sealed now.
fn story() -> Vec<Record> {
    let bash = program(30, 2, "/usr/bin/bash");
    let cp = Process { arguments: 1, ..program(40, 3, "/usr/bin/cp") };
    let exec = Exec { file: Some(file("/usr/bin/cp")), ..Exec::default() };
    let started = Record { event: Some(Event::Exec(exec)), ..Record::default() };
    let (from, to, outcome) = (Some(file("/etc/a")), Some(file("/etc/b")), Outcome::Success.into());
    let renamed = Record {
        event: Some(Event::Rename(Rename { from, to, outcome, ..Rename::default() })),
        ..Record::default()
    };
    vec![
        judged(Decision::Alert, by(bash.clone(), modify("/etc/motd"))),
        judged(Decision::Log, by(cp.clone(), started)),
        judged(Decision::Alert, by(cp, modify("/etc/copy"))),
        judged(Decision::Alert, by(bash.clone(), renamed)),
        judged(Decision::Log, by(bash, modify(ESCAPE))),
    ]
}

struct Scene {
    _dir: tempfile::TempDir,
    data: PathBuf,
    served: Served,
    host: Host,
    line: agent::Line,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("central");
        let served = Served::start(&data);
        let ca = std::fs::read_to_string(data.join("ca/ca.pem")).unwrap();
        let token = says(&data, &["enrol", "--group", "web"], 0);
        let mut host = Host::new(1);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        host.sealed_at = u64::try_from(now.as_nanos()).unwrap();
        let enrolled = enrol(served.port, &ca, &host, token.trim()).await.unwrap();
        let (mut line, _) = connect(served.port, &ca, Some(&enrolled), opening(&host)).await.unwrap();
        let arguments = PrivateEntry { salt: vec![1; 16], value: b"cp\0/bin/true\0/etc/copy".to_vec() };
        line.send(host.frame(Lane::Protected, 1).bytes()).await;
        line.send(host.seal(Lane::Protected, false, story(), &[arguments]).bytes()).await;
        line.until_durable(&host, Lane::Protected, 6).await;
        Self { _dir: dir, data, served, host, line }
    }

    fn says(&self, words: &[&str]) -> String {
        says(&self.data, words, 0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn violations_name_path_process_ancestors_user_and_rule_on_one_line() {
    let scene = Scene::new().await;
    let text = scene.says(&["violations", "--since", "5m"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for part in [
        "host-1",
        "HIGH",
        "/etc/motd",
        "bash[30]",
        "sshd[20]",
        "init[1]",
        "ada",
        "root",
        "demo",
        "must not change",
    ] {
        assert!(lines[0].contains(part), "{part} is not in {}", lines[0]);
    }
    assert!(lines[2].contains("/etc/a → /etc/b"), "{}", lines[2]);
    assert!(!text.contains('\u{1b}'), "colours only on a terminal");
    assert_eq!(scene.served.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_choose_by_kind_path_user_host_and_time() {
    let scene = Scene::new().await;
    let count = |words: &[&str]| scene.says(words).lines().count();
    assert_eq!(count(&["events"]), 6);
    assert_eq!(count(&["events", "--kind", "exec"]), 1);
    assert_eq!(count(&["events", "--path", "/etc"]), 3);
    assert_eq!(count(&["events", "--path", "/etc/b"]), 1);
    assert_eq!(count(&["events", "--user", "ada", "--kind", "modify"]), 3);
    assert_eq!(count(&["events", "--user", "bob"]), 0);
    assert_eq!(count(&["events", "--host", "host-1"]), 6);
    assert_eq!(count(&["events", "--host", &scene.host.id().to_string()[..10]]), 6);
    assert_eq!(count(&["events", "--until", "1h"]), 0);
    assert_eq!(count(&["events", "--limit", "2"]), 2);
    assert!(says(&scene.data, &["events", "--exit-code"], 1).lines().count() == 6);
    assert!(says(&scene.data, &["events", "--exit-code", "--until", "1h"], 0).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_change_of_a_file_is_chosen_by_its_kind_and_said_in_full() {
    let mut scene = Scene::new().await;
    let bash = || program(30, 2, "/usr/bin/bash");
    let of = |event| judged(Decision::Alert, by(bash(), Record { event: Some(event), ..Record::default() }));
    let (target, outcome) = (Some(file("/usr/lib")), Outcome::Success.into());
    let (kind, source, filesystem) = (MountKind::Bind.into(), b"/srv/lib".to_vec(), "none".to_owned());
    let mount = Mount { kind, outcome, target, source, filesystem, ..Mount::default() };
    let tamper = Tamper { operation: "signal".to_owned(), number: 9, target: 812, outcome };
    let refused = Unlink { file: Some(file("/etc/x")), outcome: Outcome::Refused.into(), folded: 2 };
    let story = vec![of(Event::Mount(mount)), of(Event::Tamper(tamper)), of(Event::Unlink(refused))];
    scene.line.send(scene.host.seal(Lane::Protected, false, story, &[]).bytes()).await;
    scene.line.until_durable(&scene.host, Lane::Protected, 9).await;

    let mount = scene.says(&["events", "--kind", "mount"]);
    assert!(mount.contains(" bind-mount /usr/lib (of /srv/lib) by bash[30] "), "{mount}");
    assert_eq!(scene.says(&["events", "--path", "/srv/lib"]), mount);
    let tamper = scene.says(&["events", "--kind", "tamper"]);
    assert!(tamper.contains(" tamper (send SIGKILL to graven's process 812) by bash[30] "), "{tamper}");
    let refused = scene.says(&["events", "--kind", "unlink"]);
    assert!(refused.contains(" delete (refused, 2 more) /etc/x by bash[30] "), "{refused}");
    for kind in ["truncate", "mmap", "login", "module", "bpf"] {
        assert!(scene.says(&["events", "--kind", kind]).is_empty(), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_one_ocsf_object_a_line_and_text_has_no_commands_for_the_terminal() {
    let scene = Scene::new().await;
    let text = scene.says(&["events", "--json"]);
    let objects: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(objects.len(), 6);
    assert!(objects.iter().all(|o| o["metadata"]["version"] == "1.8.0"));
    assert!(objects.iter().any(|o| o["file"]["path"] == ESCAPE));
    let text = scene.says(&["events"]);
    assert!(text.contains(r"\x1b[2Jclear\xe2\x80\xae"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}']));
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_tells_the_story_as_a_tree_in_text_and_in_json() {
    let scene = Scene::new().await;
    let text = scene.says(&["replay", "host-1", "--since", "5m"]);
    let order = [
        "init[1]",
        "sshd[20]",
        "bash[30]",
        "/etc/motd",
        "cp[40]",
        "cp /bin/true /etc/copy",
        "! ",
        "/etc/a → /etc/b",
    ];
    let mut rest = text.as_str();
    for part in order {
        let at = rest.find(part).unwrap_or_else(|| unreachable!("{part} is not in its place in\n{text}"));
        rest = &rest[at..];
    }
    let json: Value = serde_json::from_str(&scene.says(&["replay", "host-1", "--json"])).unwrap();
    let init = &json["boots"][0]["processes"][0];
    let bash = &init["items"][0]["child"]["items"][0]["child"];
    assert_eq!(bash["programs"][0]["exe"], "/usr/bin/bash");
    assert_eq!(bash["items"][0]["change"]["file"]["path"], "/etc/motd");
    assert_eq!(bash["items"][1]["child"]["programs"][0]["arguments"][1], "/bin/true");
    assert!(fails(&scene.data, &["replay", "nobody"]).contains("graven hosts"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_say_who_is_there_and_what_was_found() {
    let mut scene = Scene::new().await;
    let mut forged = scene.host.clone();
    forged.forge_key(ed25519_dalek::SigningKey::from_bytes(&[9; 32]));
    scene.line.send(forged.frame(Lane::Protected, 1).bytes()).await;
    scene.line.refused().await;
    let text = scene.says(&["hosts"]);
    assert!(text.contains("host-1") && text.contains("live") && text.contains("SIGNATURE"), "{text}");
    let json: Value = serde_json::from_str(scene.says(&["hosts", "--json"]).trim()).unwrap();
    assert_eq!((&json["group"], &json["state"]), (&"web".into(), &"live".into()));
    assert_eq!(json["findings"][0]["kind"], "signature");
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_shows_what_arrives_line_by_line_and_ends_on_a_signal() {
    let mut scene = Scene::new().await;
    let mut tail = Command::new(GRAVEN)
        .args(["tail", "--violations", "--data"])
        .arg(&scene.data)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    // The tail begins where the log ends when it starts; what comes until it is there may be before that.
    let (seen, first) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Some(Ok(line)) = lines.next() {
            if seen.send(line).is_err() {
                return;
            }
        }
    });
    let mut sent = 6;
    let line = loop {
        let record = judged(Decision::Alert, by(program(30, 2, "/usr/bin/bash"), modify("/etc/tailed")));
        scene.line.send(scene.host.seal(Lane::Protected, false, vec![record], &[]).bytes()).await;
        sent += 1;
        scene.line.until_durable(&scene.host, Lane::Protected, sent).await;
        if let Ok(line) = first.recv_timeout(Duration::from_millis(500)) {
            break line;
        }
        assert!(sent < 60, "the tail shows nothing");
    };
    assert!(line.contains("/etc/tailed") && !line.contains("/etc/motd"), "{line}");
    signal(&tail, "INT");
    assert_eq!(tail.wait().unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_is_read_after_the_server_has_ended() {
    let scene = Scene::new().await;
    let Scene { _dir, data, served, line, .. } = scene;
    drop(line);
    assert_eq!(served.terminate(), Some(0));
    assert_eq!(says(&data, &["events"], 0).lines().count(), 6);
    assert!(says(&data, &["hosts"], 0).contains("host-1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_frame_is_said_and_does_not_hide_the_others() {
    let scene = Scene::new().await;
    let Scene { _dir, data, served, line, .. } = scene;
    drop(line);
    served.terminate();
    let days = std::fs::read_dir(data.join("days")).unwrap().map(|f| f.unwrap().path());
    let frames = days.into_iter().find(|p| p.to_string_lossy().ends_with(".frames.db")).unwrap();
    let db = rusqlite::Connection::open(frames).unwrap();
    db.execute("UPDATE frame SET bytes = zeroblob(length(bytes)) WHERE first = 1", []).unwrap();
    drop(db);
    let output = graven(&data, &["events"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 5);
    assert!(String::from_utf8(output.stderr).unwrap().contains("does not hold"));
}

#[test]
fn a_wrong_word_gets_one_sentence_with_the_remedy_and_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none");
    for words in [&["events"][..], &["enrol"], &["hosts"], &["tail"], &["replay", "x"]] {
        assert!(fails(&missing, words).contains("graven serve --data"));
    }
    let served = Served::start(&missing);
    assert!(fails(&missing, &["events", "--kind", "opened"]).contains("unlink"));
    assert!(fails(&missing, &["events", "--since", "yesterday"]).contains("5m"));
    assert!(fails(&missing, &["events", "--path", "["]).contains("glob"));
    assert!(fails(&missing, &["events", "--host", "web"]).contains("graven enrol"));
    assert_eq!(says(&missing, &["hosts"], 0) + &says(&missing, &["hosts", "--json"], 0), "");
    assert!(fails(&missing, &["events", "--path", ""]).contains("empty"));
    assert!(fails(&missing, &["events", "--path", &"{".repeat(250)]).contains("nested"));
    assert!(fails(&missing, &["events", "--since", "1h", "--until", "2h"]).contains("--until"));
    assert!(fails(&missing, &["enrol", "--ttl", "0s"]).contains("1h"));
    assert!(fails(&missing, &["enrol", "--ttl", "5"]).contains("1h"));
    let token: Value = serde_json::from_str(says(&missing, &["enrol", "--json"], 0).trim()).unwrap();
    assert!(token["token"].as_str().unwrap().starts_with("gvn1."));
    assert_eq!(served.terminate(), Some(0));
}
