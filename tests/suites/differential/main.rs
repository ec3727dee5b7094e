//! The same random changes, seen by the kernel's audit and by Graven. Where the two differ, there is a reason in
//! the kernel or in the design, in a table of few rows; every row is used that this kernel can have, and nothing differs
//! without one, but what is missing where the kernel skipped a program of the sensor.
//!
//! On this machine it runs last: processes that are started after audit was once on take a slower way into the kernel,
//! until a rule keeps audit from them. An emulated machine is its own.

mod changes;
mod facts;
mod reasons;
mod compared;

use anyhow::{Context, Result, ensure};
use graven_tests::actor::Actor;
use graven_tests::audit::{self, Audit};
use graven_tests::calls::Entry;
use graven_tests::place::Place;
use graven_tests::shared::on_stage;
use graven_tests::skip;
use graven_tests::wait::until;

use changes::Changes;
use compared::Compared;

const SUITE: &str = "differential";
/// Any; what fails is said with it.
const SEED: u64 = 8;
const CHANGES: usize = 2_000;

#[test]
fn audit_and_graven_tell_the_same_but_for_reasons_that_are_known() -> Result<()> {
    on_stage(SUITE, |stage| {
        let mut place = Place::new("audit")?;
        let names = |entry| changes::CALLS.iter().filter(move |(by, _)| *by == entry).map(|(_, name)| *name);
        let rules =
            [Entry::Native, Entry::Compat].map(|entry| audit::rule(entry, &names(entry).collect::<Vec<_>>()));
        let audit = match Audit::start(&place.join("auditd"), &rules)? {
            Ok(audit) => audit,
            Err(why) => {
                let name = if audit::is_there() { "audit" } else { "auditd" };
                skip::say(&format!("{SUITE}::{name}"), &why);
                return Ok(());
            }
        };
        let (begin, lost) = (stage.begin()?, audit.lost()?);
        let actor = Actor::new(env!("CARGO_BIN_EXE_graven-actor"))?;
        let made = Changes::new(stage, &actor, SEED)?.make(CHANGES)?;
        stage.fence()?;
        ensure!(audit.lost()? == lost, "audit has lost something");
        let seen = until("the last mark in audit's log", || {
            let seen = audit.seen()?;
            Ok(facts::is_whole(&made, &seen).then_some(seen))
        })?;
        let by_audit = facts::of_audit(&made, &seen)?;
        drop(audit);
        let by_graven = facts::of_graven(&made, &stage.central.events::<&str>(&[])?)?;
        let compared = Compared::of(&made, &by_audit, &by_graven);
        compared.show();
        stage.or_lost(begin, compared.is_right().context(format!("seed {SEED}")))?;
        place.done();
        Ok(())
    })
}
