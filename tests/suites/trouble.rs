//! Bad input and trouble, through the real programs: one clear sentence with the remedy, the documented exit
//! code, and no breakdown.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use graven_tests::actor::NOBODY;
use graven_tests::agent::{self, Agent};
use graven_tests::central::Central;
use graven_tests::place::Place;
use graven_tests::programs::{self, AGENT, CENTRAL};
use graven_tests::{skip, wait};

const SUITE: &str = "trouble";

/// Usage or configuration.
const USAGE: i32 = 2;
/// The host cannot do it.
const HOST: i32 = 3;

/// A port on which nobody listens.
const NOWHERE: &str = "https://127.0.0.1:1";

/// A test in a folder of its own.
fn within(name: &str, test: impl FnOnce(&Place) -> Result<()>) -> Result<()> {
    let mut place = Place::new(name)?;
    test(&place)?;
    place.done();
    Ok(())
}

/// An agent's files, with a policy that is in order.
fn agent(place: &Place, server: &str) -> Result<Agent> {
    Agent::prepare(&place.join("agent"), server, &agent::policy(&place.folder("watched")?))
}

/// Runs as a user without any privilege, whoever runs the tests.
fn as_nobody<S: AsRef<OsStr>>(name: &str, arguments: &[S]) -> Result<programs::Ended> {
    match rustix::process::geteuid().is_root() {
        true => programs::run_as(NOBODY, name, arguments),
        false => programs::run(name, arguments),
    }
}

#[test]
fn the_agent_without_root_says_that_it_needs_root() -> Result<()> {
    within("no-root", |place| {
        let mut central = Central::start(place.path())?;
        let agent = agent(place, &central.url())?;
        agent.enrol(&central)?;
        let config = agent.config();
        as_nobody(AGENT, &["run".as_ref(), "--config".as_ref(), config.as_os_str()])?
            .refused(HOST, &["root"])?;
        as_nobody(AGENT, &["observe"])?.refused(HOST, &["root"])?;
        central.stop()
    })
}

#[test]
fn doctor_without_root_says_why_the_sensor_does_not_work() -> Result<()> {
    let ended = as_nobody(AGENT, &["doctor"])?;
    ensure!(ended.code == Some(HOST), "{:?}: {}", ended.code, ended.stderr);
    ensure!(format!("{}{}", ended.text()?, ended.stderr).contains("root"), "{ended:?}");
    ensure!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn a_wrong_policy_is_refused_by_line_and_key_with_what_is_allowed() -> Result<()> {
    within("policy", |place| {
        let good = agent::policy(Path::new("/srv"));
        let wrong = [
            (
                good.replace("severity = \"high\"", "severity = \"shouting\""),
                "protect.severity",
                &["high", "critical"][..],
            ),
            (good.replace("paths = [\"/srv\"]", "path = [\"/srv\"]"), "protect", &["path", "paths"]),
            (good.replace("[policy]\n", "[policy]\ncolour = \"red\"\n"), "colour", &["name", "version"]),
            (good.replace("schema = 1", "schema = 7"), "schema", &["1"]),
            (good.replace("paths = [\"/srv\"]", "paths = [\"srv\"]"), "paths", &["absolute"]),
            (good.replace("[[mutable]]", "[[mutable]"), "array table", &[]),
        ];
        for (text, key, allowed) in wrong {
            ensure!(text != good);
            let path = place.join("policy.toml");
            std::fs::write(&path, &text)?;
            let file = path.to_str().context("not text")?;
            let line = 1 + good.lines().zip(text.lines()).take_while(|(a, b)| a == b).count();
            for words in [&["policy", "check", file][..], &["observe", "--policy", file]] {
                let ended = programs::run(AGENT, words)?;
                ensure!(
                    ended.code == Some(USAGE),
                    "{words:?} of\n{text}\nended with {:?}: {}",
                    ended.code,
                    ended.stderr
                );
                let said = format!("{}{}", ended.text()?, ended.stderr);
                ensure!(said.contains(&format!("{file}:{line}:")), "line {line} is not named: {said}");
                ensure!(said.contains(key), "{key} is not named: {said}");
                for word in allowed {
                    ensure!(said.contains(word), "{word} is not said to be allowed: {said}");
                }
                ensure!(!said.contains("panicked"), "{said}");
            }
        }
        Ok(())
    })
}

#[test]
fn every_problem_of_a_policy_is_said_at_once() -> Result<()> {
    within("problems", |place| {
        let text = agent::policy(Path::new("/srv")).replace("severity = \"high\"", "severity = \"loud\"");
        let path = place.join("policy.toml");
        std::fs::write(&path, text.replace("deny_from", "deny_form"))?;
        let ended = programs::run(AGENT, ["policy".as_ref(), "check".as_ref(), path.as_os_str()])?;
        let said = format!("{}{}", ended.text()?, ended.stderr);
        ensure!(ended.code == Some(USAGE) && said.contains("loud") && said.contains("deny_form"), "{said}");
        Ok(())
    })
}

#[test]
fn a_policy_that_is_in_order_is_said_to_be() -> Result<()> {
    within("valid", |place| {
        let path = place.join("policy.toml");
        std::fs::write(&path, agent::policy(Path::new("/srv")))?;
        let ended =
            programs::run(AGENT, ["policy".as_ref(), "check".as_ref(), path.as_os_str()])?.succeeded()?;
        ensure!(ended.text()?.contains("tests 1"), "{ended:?}");
        Ok(())
    })
}

#[test]
fn an_agent_that_is_not_enrolled_says_how_to_enrol() -> Result<()> {
    if skip::needs_root(SUITE) {
        return Ok(());
    }
    within("not-enrolled", |place| {
        agent(place, NOWHERE)?
            .run_to_end()?
            .refused(USAGE, &["not enrolled", "graven-agent enrol", "graven enrol"])
    })
}

#[test]
fn an_agent_without_its_policy_names_the_file() -> Result<()> {
    if skip::needs_root(SUITE) {
        return Ok(());
    }
    within("no-policy", |place| {
        let agent = agent(place, NOWHERE)?;
        std::fs::remove_file(agent.policy())?;
        let path = agent.policy();
        agent.run_to_end()?.refused(USAGE, &[path.to_str().context("not text")?, "name an existing file"])
    })
}

#[test]
fn a_configuration_that_is_not_there_is_named() -> Result<()> {
    within("no-config", |place| {
        let path = place.join("nowhere.toml");
        let name = path.to_str().context("not text")?;
        programs::run(AGENT, ["run", "--config", name])?.refused(USAGE, &[name, "--config"])?;
        let words = ["enrol", "--config", name, "--server", NOWHERE, "--token", "gvn1.x.y"];
        programs::run(AGENT, words)?.refused(USAGE, &[name, "--config"])
    })
}

#[test]
fn an_unknown_key_of_the_configuration_is_named_by_line_with_what_is_allowed() -> Result<()> {
    within("config", |place| {
        let agent = agent(place, NOWHERE)?;
        for (more, words) in [
            ("colour = \"red\"", &["line 8", "colour", "user"][..]),
            ("[spool]\nlimt = \"1GiB\"", &["line 9", "limt", "limit", "reserve"]),
            ("[spool]\nlimit = \"1GB\"", &["line 9", "limit", "GiB"]),
            ("[spool\n", &["line 8"]),
        ] {
            agent.configure(NOWHERE, more)?;
            agent.run_to_end()?.refused(USAGE, words)?;
        }
        agent.configure("http://central.example:7443", "")?;
        agent.run_to_end()?.refused(USAGE, &["line 5", "https://"])
    })
}

#[test]
fn a_port_that_is_taken_is_named_with_the_remedy() -> Result<()> {
    within("port", |place| {
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let address = taken.local_addr()?;
        let data = place.join("central");
        let words = ["serve".as_ref(), "--data".as_ref(), data.as_os_str()];
        let listen = address.to_string();
        let ended =
            programs::run(CENTRAL, words.into_iter().chain(["--listen", listen.as_str()].map(OsStr::new)))?;
        ended.refused(USAGE, &[&address.port().to_string(), "taken", "--listen"])
    })
}

#[test]
fn a_second_central_log_on_one_folder_names_the_first() -> Result<()> {
    within("second-serve", |place| {
        let mut central = Central::start(place.path())?;
        let ended = central.graven("serve", &["--listen", "127.0.0.1:0"])?;
        ended.refused(
            USAGE,
            &["another", "graven serve", central.data().to_str().context("not text")?, "--data"],
        )?;
        central.stop()
    })
}

#[test]
fn a_command_without_a_central_log_says_how_to_start_one() -> Result<()> {
    within("no-data", |place| {
        let data = place.join("central");
        for command in ["enrol", "hosts", "events", "violations", "tail"] {
            let words = [OsStr::new(command), OsStr::new("--data"), data.as_os_str()];
            programs::run(CENTRAL, words)?.refused(USAGE, &["graven serve --data"])?;
        }
        ensure!(!data.exists(), "a question made the folder");
        Ok(())
    })
}

#[test]
fn a_wrong_word_of_a_query_is_answered_with_the_right_ones() -> Result<()> {
    within("query", |place| {
        let mut central = Central::start(place.path())?;
        agent(place, &central.url())?.enrol(&central)?;
        for (words, said) in [
            (["--kind", "opened"], &["opened", "unlink"][..]),
            (["--since", "yesterday"], &["yesterday", "5m"]),
            (["--host", "nobody-knows-it"], &["nobody-knows-it", "graven hosts"]),
            (["--path", "/etc/["], &["/etc/[", "glob"]),
        ] {
            central.graven("events", &words)?.refused(USAGE, said)?;
        }
        central.graven("enrol", &["--ttl", "soon"])?.refused(USAGE, &["--ttl", "1h"])?;
        central
            .graven("replay", &["nobody-knows-it"])?
            .refused(USAGE, &["nobody-knows-it", "graven hosts"])?;
        central.stop()
    })
}

#[test]
fn a_token_opens_the_door_once_and_only_when_it_is_whole_known_and_fresh() -> Result<()> {
    within("token", |place| {
        let mut central = Central::start(place.path())?;
        let url = central.url();
        let first = agent(place, &url)?;
        let other = Agent::prepare(&place.join("other"), &url, "")?;
        let token = central.token()?;
        first.enrol_with(&url, &token)?.succeeded()?;
        first.enrol_with(&url, &token)?.refused(USAGE, &["enrolled already", "--force"])?;
        other.enrol_with(&url, &token)?.refused(USAGE, &["used", "graven enrol"])?;
        let brief = central.graven("enrol", &["--ttl", "1s"])?.succeeded()?.text()?.trim().to_owned();
        let deadline = std::time::Instant::now() + std::time::Duration::from_millis(1_100);
        wait::until("the end of the token's second", || {
            Ok((std::time::Instant::now() > deadline).then_some(()))
        })?;
        other.enrol_with(&url, &brief)?.refused(USAGE, &["expired", "graven enrol"])?;
        let cut = &token[..token.len() - 1];
        for garbage in [cut, "", "gvn1..", "x\u{1b}[31m", "gvn1.a.b.c"] {
            other.enrol_with(&url, garbage)?.refused(USAGE, &["token", "graven enrol"])?;
        }
        let (head, hash) = token.rsplit_once('.').context("no parts")?;
        let secret = head.strip_prefix("gvn1.").context("no secret")?;
        let unknown: String = secret.chars().rev().collect();
        other
            .enrol_with(&url, &format!("gvn1.{unknown}.{hash}"))?
            .refused(USAGE, &["token", "graven enrol"])?;
        ensure!(!place.join("other/state/keys").exists(), "a refused enrolment left keys");
        // The second agent comes in by a token of its own.
        other.enrol_with(&url, &central.token()?)?.succeeded()?;
        central.stop()
    })
}

#[test]
fn a_token_of_another_central_log_is_not_believed() -> Result<()> {
    within("other-log", |place| {
        let (mut central, mut other) =
            (Central::start(&place.folder("one")?)?, Central::start(&place.folder("two")?)?);
        let agent = agent(place, &central.url())?;
        let ended = agent.enrol_with(&central.url(), &other.token()?)?;
        ended.refused(USAGE, &["not the central log that the token is of", "graven enrol", "--server"])?;
        central.stop()?;
        other.stop()
    })
}

#[test]
fn a_server_that_is_not_there_or_not_ours_is_named_with_what_to_check() -> Result<()> {
    within("no-server", |place| {
        let mut central = Central::start(place.path())?;
        let token = central.token()?;
        let agent = agent(place, NOWHERE)?;
        agent
            .enrol_with(NOWHERE, &token)?
            .refused(USAGE, &["https://127.0.0.1:1", "cannot be reached", "--server"])?;
        let wrong = agent.enrol_with("http://127.0.0.1:1", &token)?;
        wrong.refused(USAGE, &["--server", "https://"])?;
        // Somebody who takes connections and is no TLS server.
        let mute = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("https://{}", mute.local_addr()?);
        let answer = std::thread::spawn(move || {
            use std::io::Write;
            mute.accept().and_then(|(mut stream, _)| stream.write_all(b"220 hello\r\n"))
        });
        agent.enrol_with(&url, &token)?.refused(USAGE, &[&url])?;
        answer.join().ok().context("the listener panicked")??;
        central.stop()
    })
}

#[test]
fn a_second_agent_names_the_first() -> Result<()> {
    if skip::needs_root(SUITE) {
        return Ok(());
    }
    within("second-agent", |place| {
        let mut central = Central::start(place.path())?;
        let mut agent = agent(place, &central.url())?;
        agent.enrol(&central)?;
        if let Err(error) = agent.run() {
            return if skip::is_refused(SUITE, &error) { Ok(()) } else { Err(error) };
        }
        let pid = agent.pid().context("not running")?.to_string();
        agent.run_to_end()?.refused(USAGE, &["another agent", &pid])?;
        agent.interrupt()?;
        central.stop()
    })
}

#[test]
fn a_damaged_identity_is_named_with_the_remedy() -> Result<()> {
    if skip::needs_root(SUITE) {
        return Ok(());
    }
    within("identity", |place| {
        let mut central = Central::start(place.path())?;
        let agent = agent(place, &central.url())?;
        agent.enrol(&central)?;
        std::fs::write(place.join("agent/state/keys/start.key"), "nothing")?;
        agent.run_to_end()?.refused(USAGE, &["start.key", "--force"])?;
        central.stop()
    })
}

#[test]
fn a_wrong_command_line_is_answered_with_usage() -> Result<()> {
    for (program, words) in
        [(AGENT, &["rum"][..]), (AGENT, &["run", "--colour"]), (CENTRAL, &["evnets"]), (CENTRAL, &[])]
    {
        let ended = programs::run(program, words)?;
        ensure!(ended.code == Some(USAGE), "{ended:?}");
        ensure!(ended.stderr.contains("Usage") || ended.stderr.contains("--help"), "{}", ended.stderr);
    }
    Ok(())
}
