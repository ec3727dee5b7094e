#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
//! The real server on a port of its own, real TLS, real frames: what is taken, what is refused, and what is
//! still known after a restart.

#[expect(unreachable_pub, reason = "the fixture serves other tests too")]
mod fixture;
#[expect(unreachable_pub, reason = "one agent serves every test of the wire")]
mod agent;

use std::path::Path;

use graven::authority::{Authority, token};
use graven::data::DataDir;
use graven::pipeline::{Central, Config, clock};
use graven::query::{Found, Query};
use graven::store::reader::Reader;
use graven::store::sqlite::open_central;
use graven::store::tokens;
use graven_record::frame::Frame;
use graven_record::id::Lane;
use graven_record::wire::upward::Message as Up;
use rcgen::KeyPair;
use tokio::sync::oneshot;
use tonic::Code;

use agent::{Enrolled, connect, durable, enrol, opening};
use fixture::Host;

const LANE: Lane = Lane::Protected;
const HOUR: i64 = 3_600_000_000_000;

struct Running {
    port: u16,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

async fn serve(data: &Path) -> Running {
    let config = Config { data: data.to_owned(), listen: "127.0.0.1:0".parse().unwrap(), names: Vec::new() };
    let central = Central::prepare(&config).await.unwrap();
    let port = central.address().port();
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(async move {
        central.run(async { stopped.await.unwrap() }).await.unwrap();
    });
    Running { port, stop, task }
}

impl Running {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap();
    }
}

fn new_token(data: &Path, lives: i64) -> String {
    let dir = DataDir::open(data).unwrap();
    let (text, hash) = token::make(&Authority::fingerprint_in(&dir).unwrap()).unwrap();
    let (mut db, path) = open_central(&dir).unwrap();
    tokens::add(&mut db, &path, hash, "default", clock(), clock() + lives).unwrap();
    text
}

fn ca(data: &Path) -> String {
    std::fs::read_to_string(DataDir::open(data).unwrap().ca_file()).unwrap()
}

fn reader(data: &Path) -> Reader {
    Reader::open(&DataDir::open(data).unwrap()).unwrap()
}

fn findings(data: &Path) -> Vec<(String, u64, u64)> {
    let rows = reader(data).findings().unwrap();
    rows.into_iter().map(|row| (row.finding.kind, row.finding.first, row.finding.last)).collect()
}

fn records(data: &Path) -> Vec<Found> {
    let reader = reader(data);
    let rows = reader.find(&Query::default()).unwrap();
    reader.frames(&rows).unwrap().into_iter().map(Result::unwrap).collect()
}

fn sequences(data: &Path) -> Vec<u64> {
    records(data).iter().map(|found| found.record.sequence).collect()
}

/// A server, its CA, and a host that is enrolled with it.
struct Scene {
    dir: tempfile::TempDir,
    server: Running,
    ca: String,
    host: Host,
    enrolled: Enrolled,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = serve(dir.path()).await;
        let (ca, host) = (ca(dir.path()), Host::new(1));
        let enrolled = enrol(server.port, &ca, &host, &new_token(dir.path(), HOUR)).await.unwrap();
        Self { dir, server, ca, host, enrolled }
    }

    async fn open(&self) -> (agent::Line, graven_record::wire::Resume) {
        connect(self.server.port, &self.ca, Some(&self.enrolled), opening(&self.host)).await.unwrap()
    }

    fn data(&self) -> &Path {
        self.dir.path()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_one_host_in_and_only_once() {
    let scene = Scene::new().await;
    let (port, ca) = (scene.server.port, &scene.ca);
    let reply = &scene.enrolled.reply;
    assert_eq!(reply.host, scene.host.id().0);
    assert_eq!((reply.group.as_str(), reply.log_key.len(), &reply.ca), ("default", 64, ca));

    let token = new_token(scene.data(), HOUR);
    let key = KeyPair::generate().unwrap();
    let once = agent::request(&scene.host, &token, &key);
    agent::send_request(port, ca, once.clone()).await.unwrap();
    agent::send_request(port, ca, once)
        .await
        .expect("the same host may ask again: the answer may have been lost");
    let other = enrol(port, ca, &Host::new(2), &token).await.err().unwrap();
    assert_eq!(other.code(), Code::PermissionDenied);
    assert!(other.message().contains("used"), "{other}");
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_an_unknown_and_a_stolen_token_open_nothing() {
    let scene = Scene::new().await;
    let (port, ca) = (scene.server.port, &scene.ca);
    let host = Host::new(2);
    let expired = enrol(port, ca, &host, &new_token(scene.data(), -1)).await.err().unwrap();
    assert!(expired.message().contains("expired"), "{expired}");

    let (unknown, _) =
        token::make(&Authority::fingerprint_in(&DataDir::open(scene.data()).unwrap()).unwrap()).unwrap();
    let refused = enrol(port, ca, &host, &unknown).await.err().unwrap();
    assert!(refused.message().contains("not known"), "{refused}");

    let token = new_token(scene.data(), HOUR);
    let mut stolen = agent::request(&host, &token, &KeyPair::generate().unwrap());
    stolen.start_key = Host::new(3).start_key.verifying_key().to_bytes().to_vec();
    let refused = agent::send_request(port, ca, stolen).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    enrol(port, ca, &host, &token).await.expect("a token that was not accepted is not used up");
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_fails_too_often_must_wait() {
    let scene = Scene::new().await;
    let mut codes = Vec::new();
    for _ in 0..12 {
        codes
            .push(enrol(scene.server.port, &scene.ca, &Host::new(2), "nonsense").await.err().unwrap().code());
    }
    assert_eq!(codes[0], Code::PermissionDenied);
    assert_eq!(codes[11], Code::ResourceExhausted);
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_acknowledged_when_they_are_on_disk_and_stored_once() {
    let mut scene = Scene::new().await;
    let (mut line, resume) = scene.open().await;
    assert_eq!(durable(&resume.durable, &scene.host, LANE), Some(0));
    assert!(resume.window > 0);
    let first = scene.host.frame(LANE, 3);
    let (second, _) = {
        line.send(first.bytes()).await;
        scene.host.frame_with_private(LANE, b"--password=hunter2", b"-")
    };
    line.send(second.bytes()).await;
    line.until_durable(&scene.host, LANE, 4).await;
    line.send(first.bytes()).await;
    let again = line.acknowledged().await;
    assert_eq!(durable(&again.durable, &scene.host, LANE), Some(4));
    line.say(Up::Heartbeat(scene.host.heartbeat())).await;
    line.send(scene.host.frame(Lane::Activity, 2).bytes()).await;
    line.until_durable(&scene.host, Lane::Activity, 2).await;

    assert_eq!(sequences(scene.data()).len(), 6);
    assert_eq!(findings(scene.data()), []);
    let stored = records(scene.data());
    let private = stored.iter().find(|f| !f.private.is_empty()).unwrap();
    assert_eq!(private.arguments(1), Some(&b"--password=hunter2"[..]));
    let host = &reader(scene.data()).hosts().unwrap()[0];
    assert_eq!(host.heartbeat.as_ref().unwrap().0.protected_sequence, 4);
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_private_part_is_not_in_the_frames_file() {
    let mut scene = Scene::new().await;
    let (mut line, _) = scene.open().await;
    line.send(scene.host.frame(LANE, 1).bytes()).await;
    let (frame, _) = scene.host.frame_with_private(LANE, b"hunter2hunter2", b"-");
    line.send(frame.bytes()).await;
    line.until_durable(&scene.host, LANE, 2).await;
    let data = scene.dir.path().to_owned();
    scene.server.stop().await;
    let holds = |suffix: &str| {
        let files = std::fs::read_dir(data.join("days")).unwrap().map(|f| f.unwrap().path());
        let mut texts =
            files.filter(|p| p.to_string_lossy().contains(suffix)).map(|p| std::fs::read(p).unwrap());
        texts.any(|bytes| bytes.windows(14).any(|w| w == b"hunter2hunter2"))
    };
    assert!(holds(".private.db"));
    assert!(!holds(".frames.db"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_certificate_no_stream_opens_and_none_for_another_host() {
    let scene = Scene::new().await;
    let anonymous = connect(scene.server.port, &scene.ca, None, opening(&scene.host)).await.err().unwrap();
    assert_eq!(anonymous.code(), Code::Unauthenticated);
    let other = opening(&Host::new(2));
    let wrong = connect(scene.server.port, &scene.ca, Some(&scene.enrolled), other).await.err().unwrap();
    assert_eq!(wrong.code(), Code::PermissionDenied);
    assert_eq!(findings(scene.data()), [("host".to_owned(), 0, 0)]);
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tampered_frames_and_frames_of_others_are_refused_and_noted_and_the_stream_goes_on() {
    let mut scene = Scene::new().await;
    let (mut line, _) = scene.open().await;
    let first = scene.host.frame(LANE, 2);
    line.send(first.bytes()).await;
    let mut forger = scene.host.clone();
    forger.forge_key(ed25519_dalek::SigningKey::from_bytes(&[8; 32]));
    for (bytes, word) in [
        (forger.frame(LANE, 1).bytes().to_vec(), "signature"),
        (Host::new(2).frame(LANE, 1).bytes().to_vec(), "another host"),
        (first.bytes()[..40].to_vec(), "does not hold"),
    ] {
        line.send(&bytes).await;
        let refused = line.refused().await;
        assert!(!refused.retry && refused.reason.contains(word), "{refused:?}");
    }
    line.send(scene.host.frame(LANE, 1).bytes()).await;
    line.until_durable(&scene.host, LANE, 3).await;
    let kinds: Vec<String> = findings(scene.data()).into_iter().map(|f| f.0).collect();
    assert_eq!(kinds, ["signature", "host", "damaged"]);
    assert_eq!(sequences(scene.data()), [1, 2, 3]);
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_asked_for_and_taken_when_the_host_cannot_fill_it() {
    let mut scene = Scene::new().await;
    let (mut line, _) = scene.open().await;
    line.send(scene.host.frame(LANE, 2).bytes()).await;
    line.until_durable(&scene.host, LANE, 2).await;
    let lost = scene.host.frame(LANE, 3);
    let (next, after) = (scene.host.frame(LANE, 1), scene.host.frame(LANE, 1));
    for frame in [&next, &after] {
        line.send(frame.bytes()).await;
        let refused = line.refused().await;
        assert!(refused.retry && refused.reason.contains("missing"), "{refused:?}");
    }
    assert_eq!(durable(&line.acknowledged().await.durable, &scene.host, LANE), Some(2));
    assert_eq!(findings(scene.data()), [], "what is asked for again is no finding yet");

    let (mut line, resume) = scene.open().await;
    assert_eq!(durable(&resume.durable, &scene.host, LANE), Some(2));
    line.send(next.bytes()).await;
    line.send(after.bytes()).await;
    line.until_durable(&scene.host, LANE, 7).await;
    assert_eq!(findings(scene.data()), [("gap".to_owned(), 3, 5)]);

    line.send(lost.bytes()).await;
    line.acknowledged().await;
    assert_eq!(sequences(scene.data()), [1, 2, 3, 4, 5, 6, 7], "what was found again is kept");
    assert_eq!(findings(scene.data())[1].0, "late");
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_frame_at_the_same_sequences_is_a_fork_and_not_stored() {
    let mut scene = Scene::new().await;
    let (mut line, _) = scene.open().await;
    line.send(scene.host.frame(LANE, 2).bytes()).await;
    let mut twin = scene.host.clone();
    twin.sealed_at += 7;
    line.send(scene.host.frame(LANE, 2).bytes()).await;
    line.until_durable(&scene.host, LANE, 4).await;
    line.send(twin.frame(LANE, 2).bytes()).await;
    assert!(!line.refused().await.retry);
    assert_eq!(findings(scene.data()), [("fork".to_owned(), 3, 4)]);
    assert_eq!(sequences(scene.data()).len(), 4);
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_newer_statement_with_less_in_it_is_a_rollback() {
    let mut scene = Scene::new().await;
    let (mut line, _) = scene.open().await;
    line.send(scene.host.frame(LANE, 2).bytes()).await;
    let (old, unsent) = (scene.host.clone(), scene.host.heartbeat_at(2_100_000));
    line.say(Up::Heartbeat(old.heartbeat())).await;
    line.send(scene.host.frame(LANE, 2).bytes()).await;
    line.until_durable(&scene.host, LANE, 4).await;

    // An agent that starts again sends its last statement once more, or one that never went out.
    let (mut line, _) = scene.open().await;
    line.say(Up::Heartbeat(old.heartbeat())).await;
    line.say(Up::Heartbeat(unsent)).await;
    line.say(Up::Heartbeat(scene.host.heartbeat())).await;
    line.say(Up::Heartbeat(old.heartbeat())).await;
    line.send(scene.host.frame(LANE, 1).bytes()).await;
    line.until_durable(&scene.host, LANE, 5).await;
    assert_eq!(findings(scene.data()), []);
    let kept = reader(scene.data()).hosts().unwrap()[0].heartbeat.clone().unwrap().0;
    assert_eq!(kept.protected_sequence, 4);

    line.say(Up::Heartbeat(old.heartbeat_at(1_000_000_000))).await;
    line.send(scene.host.frame(LANE, 1).bytes()).await;
    line.until_durable(&scene.host, LANE, 6).await;
    assert_eq!(findings(scene.data()), [("rollback".to_owned(), 2, 4)]);

    // Less than the frames, without an earlier statement that said more.
    let (mut line, _) = scene.open().await;
    line.say(Up::Heartbeat(old.heartbeat_at(2_000_000_000))).await;
    line.send(scene.host.frame(LANE, 1).bytes()).await;
    line.until_durable(&scene.host, LANE, 7).await;
    assert_eq!(findings(scene.data())[1], ("rollback".to_owned(), 2, 6));
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_stream_takes_the_place_of_an_older_one() {
    let scene = Scene::new().await;
    let (mut older, _) = scene.open().await;
    let (_newer, _) = scene.open().await;
    assert_eq!(older.end().await.code(), Code::Aborted);
    scene.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_remembers_what_is_durable_and_the_keys_that_verify_what_comes() {
    let mut scene = Scene::new().await;
    let (mut line, _) = scene.open().await;
    line.send(scene.host.frame(LANE, 5).bytes()).await;
    line.until_durable(&scene.host, LANE, 5).await;
    let Scene { dir, server, ca, mut host, enrolled } = scene;
    server.stop().await;
    assert_eq!(line.end().await.code(), Code::Unavailable);

    let server = serve(dir.path()).await;
    let (mut line, resume) = connect(server.port, &ca, Some(&enrolled), opening(&host)).await.unwrap();
    assert_eq!(durable(&resume.durable, &host, LANE), Some(5));
    line.send(host.frame(LANE, 2).bytes()).await;
    line.until_durable(&host, LANE, 7).await;

    let before = host.clone();
    host.reboot();
    let (mut line, resume) = connect(server.port, &ca, Some(&enrolled), opening(&host)).await.unwrap();
    assert_eq!(durable(&resume.durable, &host, LANE), Some(0));
    assert_eq!(durable(&resume.durable, &before, LANE), Some(7));
    line.send(host.frame(LANE, 1).bytes()).await;
    line.until_durable(&host, LANE, 1).await;
    assert_eq!(findings(dir.path()), []);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_a_crash_left_behind_its_frames_is_mended() {
    let mut scene = Scene::new().await;
    let (mut line, _) = scene.open().await;
    let frames: Vec<Frame> = (0..3).map(|_| scene.host.frame(LANE, 2)).collect();
    for frame in &frames {
        line.send(frame.bytes()).await;
    }
    line.until_durable(&scene.host, LANE, 6).await;
    let Scene { dir, server, ca, mut host, enrolled } = scene;
    server.stop().await;
    // What a power cut between the day's commit and the head's would leave.
    let (db, _) = open_central(&DataDir::open(dir.path()).unwrap()).unwrap();
    let hash = frames[0].header().hash();
    db.execute("UPDATE head SET last = 2, hash = ?1", [hash]).unwrap();
    drop(db);

    let server = serve(dir.path()).await;
    let (mut line, resume) = connect(server.port, &ca, Some(&enrolled), opening(&host)).await.unwrap();
    assert_eq!(durable(&resume.durable, &host, LANE), Some(6));
    line.send(host.frame(LANE, 1).bytes()).await;
    line.until_durable(&host, LANE, 7).await;
    assert_eq!(sequences(dir.path()), [1, 2, 3, 4, 5, 6, 7]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_directory_and_a_taken_port_are_refused_with_the_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(dir.path()).await;
    let listen = format!("127.0.0.1:{}", server.port).parse().unwrap();
    let config = |data: &Path| Config { data: data.to_owned(), listen, names: Vec::new() };
    let locked = Central::prepare(&config(dir.path())).await.err().unwrap().to_string();
    assert!(locked.contains("another `graven serve`"), "{locked}");
    let other = tempfile::tempdir().unwrap();
    let taken = Central::prepare(&config(other.path())).await.err().unwrap().to_string();
    assert!(taken.contains("--listen"), "{taken}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_sends_hundreds_of_frames_and_all_are_there_in_order() {
    let mut scene = Scene::new().await;
    let (mut line, _) = scene.open().await;
    let frames: Vec<Frame> = (0..300).map(|_| scene.host.frame(Lane::Activity, 3)).collect();
    let mut sent = 0;
    let mut acknowledged = 0;
    while acknowledged < 900 {
        while sent < frames.len() && sent < usize::try_from(acknowledged / 3).unwrap() + 64 {
            line.send(frames[sent].bytes()).await;
            sent += 1;
        }
        acknowledged = durable(&line.acknowledged().await.durable, &scene.host, Lane::Activity).unwrap();
    }
    assert_eq!(sequences(scene.data()), (1..=900).collect::<Vec<u64>>());
    scene.server.stop().await;
}
