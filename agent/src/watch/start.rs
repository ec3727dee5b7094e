//! How `watch` begins: what is opened, marked and attached, and the record that says it.

use anyhow::Context as _;
use graven_record::v1;
use graven_record::v1::record::Event;
use sha2::{Digest, Sha256};

use super::Watch;
use super::safe::Safe;
use super::succession::{Succession, Totals, succeed};
use crate::attribute::{Attribution, walk};
use crate::canary::Canary;
use crate::config::Config;
use crate::doctor::{preemption, unseen};
use crate::health::{Health, Repeated};
use crate::pipeline::{Collector, Pipeline, collect};
use crate::policy::Policy;
use crate::roots::Roots;
use crate::sandbox::User;
use crate::seal::{Now, Opening, Sealer, new_run, this_boot};
use crate::sensor::{Counted, Sensor, Twins};
use crate::ship::{Identity, Launch, Shipper, Target};
use crate::spool::{LAST_WORD, Limits, Opened, Spool};
use crate::vigil::{Seen, Vigil};
use crate::{context, sys};

/// Binaries larger than this are not hashed whole: ours has some 20 MiB.
const MAX_BINARY: u64 = 256 << 20;

impl Watch {
    /// Opens what is on disk, then marks and attaches, then seeds the table; the first record says what hangs
    /// on what.
    pub(super) fn start(
        config: &Config,
        identity: Identity,
        policy: Policy,
    ) -> anyhow::Result<(Self, Collector)> {
        let boot = this_boot().context("cannot read the boot id")?;
        let limits =
            Limits { limit: config.spool.limit.saturating_sub(LAST_WORD), reserve: config.spool.reserve };
        let Opened { spool, heads } = Spool::open(&config.spool_folder(), limits, identity.host, boot)?;
        let run = new_run()?;
        let context = context::of_this_host(&policy);
        let hostname = context.hostname.clone();
        let opening = Opening {
            host: identity.host,
            start_key: &identity.start_key,
            boot,
            run,
            heads,
            context,
            reason: "start".to_owned(),
        };
        let sealer = Sealer::open(opening, Now::read())?;
        let mut sensor = Sensor::load()?;
        let canary = Canary::new(vec![config.runtime.join("canary"), config.state.join("canary")]);
        let mut roots = Roots::new([vec![config.spool_folder()], canary.folders()].concat(), false);
        roots.mark(&policy, &mut sensor)?;
        let drain = sensor.rings()?;
        // If this process dies at the start, its sensor knows that as well.
        sensor.guard(&[std::process::id()])?;
        sensor.attach()?;
        let collector = collect(drain, config.sensor.stay);
        let collector = collector.context("cannot start the thread that reads the rings")?;
        let mut attribution = Attribution::start()?;
        attribution.witness(sensor.tells_of_all());
        let seeded = attribution.counters().seeded;
        let links = walk(policy.protected()).context("cannot start the thread that looks for hard links")?;
        let user = User::find(&config.ship.user).context("cannot look up the user of [ship]")?;
        let target = Target {
            servers: config.central.servers.clone(),
            host: identity.host,
            boot,
            run,
            hostname,
            tls: identity.tls,
        };
        let shipper = Shipper::start(Launch::own(user), &target, spool.reader())?;
        // What can fail is done: what an earlier run left is let go by one that goes on.
        let succession = succeed(config, &identity.host, &mut sensor);
        let mut watch = Self {
            file: config.policy.clone(),
            sensor,
            pipeline: Pipeline::new(attribution, policy),
            sealer,
            spool,
            shipper,
            health: Health::default(),
            vigil: Vigil::new(canary, config.canary.every, Now::read()),
            roots,
            marked: 0,
            stored: 0,
            looked: 0,
            undecodable: 0,
            untold: 0,
            caught_up: false,
            unsynced: false,
            is_last: false,
            synced: 0,
            spool_says: Repeated::default(),
            disk_says: Repeated::default(),
            guarded: [0; 2],
            told: 0,
            counted: Counted::default(),
            safe: Safe::default(),
            twins: Twins::default(),
            inherited: Totals::default(),
            links,
        };
        watch.guard()?;
        let mut seen = Seen::default();
        watch.vigil.round(&mut watch.sensor, Now::read(), &mut seen);
        let start = watch.start_record(seeded, &succession);
        watch.own_record(Event::Start(start));
        watch.tell(seen);
        watch.inherit(succession);
        // Before anybody is told that we are ready: a spool that takes nothing is said now.
        watch.write(true);
        sys::give_back_memory();
        Ok((watch, collector))
    }

    fn start_record(&self, seeded: u64, succession: &Succession) -> v1::Start {
        let hooks = self.sensor.hooks();
        let missing = hooks.iter().filter(|hook| hook.refused.is_some());
        let witness = self.sensor.witness();
        let unseen = unseen(witness).into_iter().chain(missing.map(|hook| hook.without)).map(str::to_owned);
        let open =
            self.sensor.open_maps().iter().map(|map| format!("who changes the map {map}: it is not frozen"));
        let deaf =
            self.vigil.is_deaf().then(|| "whether the programs run: the kernel does not count it".to_owned());
        v1::Start {
            hooks: hooks
                .iter()
                .map(|hook| v1::Hook {
                    name: hook.name.to_owned(),
                    attached: hook.refused.is_none(),
                    reason: hook.refused.clone().unwrap_or_default(),
                    canary: heard(self.vigil.heard(hook.name)).into(),
                })
                .collect(),
            uncovered: unseen.chain(open).chain(deaf).chain(succession.unseen.iter().cloned()).collect(),
            agent_hash: own_hash(),
            processes_seeded: seeded,
            witness: witness.name().to_owned(),
            preemption: preemption(),
            sensor_hash: Sha256::digest(self.sensor.object()).to_vec(),
            late: succession.late(),
            stays: self.sensor.stays(),
        }
    }
}

fn heard(heard: Option<bool>) -> v1::Canary {
    match heard {
        Some(true) => v1::Canary::Ran,
        Some(false) => v1::Canary::Silent,
        None => v1::Canary::Unspecified,
    }
}

/// SHA-256 of the running binary; empty when it cannot be read, which the record then shows.
fn own_hash() -> Vec<u8> {
    use std::io::Read;
    let Ok(file) = std::fs::File::open("/proc/self/exe") else { return Vec::new() };
    let mut hash = Sha256::new();
    match std::io::copy(&mut file.take(MAX_BINARY), &mut hash) {
        Ok(_) => hash.finalize().to_vec(),
        Err(_) => Vec::new(),
    }
}
