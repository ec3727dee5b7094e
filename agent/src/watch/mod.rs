//! `run`, the privileged half: rings to spool, and the care of everything in between.
//!
//! In: the configuration. Out: synced frames, which `ship` takes from the spool. Always: the hooks are attached
//! before the process table is seeded, so that no process is missed between; a loss that any stage counts
//! is a signed record within a second or so; SIGTERM reads the rings to their end and syncs before it ends, and leaves the
//! sensor to the next run if it is to stay. Never: waits for the network. It fails at the start, with a remedy; later it goes on with
//! what is left and says so.

mod start;
mod reload;
mod safe;
mod succession;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use graven_record::batch::MAX_RECORDS;
use graven_record::frame::{LossKind, Losses};
use graven_record::v1::record::Event;
use graven_record::v1::{self, Counters};
use sd_notify::NotifyState;

use crate::attribute::Found;
use crate::config::Config;
use crate::health::{Health, Repeated};
use crate::lock::Lock;
use crate::pipeline::{Collected, Collector, Pipeline, is_ignored};
use crate::policy::{self, Policy};
use crate::roots::Roots;
use crate::seal::{Frame, Now, Sealer, monotonic};
use crate::sensor::{Counted, Overflow, Raw, Sensor, SensorError, Twins};
use crate::ship::{Identity, Shipper};
use crate::signal::Hangup;
use crate::spool::{Spool, is_own};
use crate::vigil::{Seen, Vigil};
use crate::{exit, sandbox, signal, sys};

use safe::Safe;
use succession::Totals;
pub use succession::detach;

/// How often counters, clocks and roots are looked at.
const LOOK: u64 = 1_000_000_000;
/// Full frames that are appended within this time (ns) after a sync wait for the next one: under a heavy load the disk is
/// asked some twenty times a second, and not for each round. A record may wait twice as long for its frame.
const TOGETHER: u64 = 50_000_000;
/// Where mounts follow each other the marks are renewed this often at most, beside each [`LOOK`].
const REMARK: u64 = 100_000_000;

/// Runs until SIGTERM or SIGINT.
pub fn run(config: &Config) -> anyhow::Result<()> {
    // Anybody else cannot read the keys either, and would be told that the host is not enrolled.
    if !rustix::process::geteuid().is_root() {
        return Err(SensorError::NotRoot.into());
    }
    sandbox::watch()?;
    sys::keep_large_memory_apart();
    let policy = Policy::load(&config.policy, v1::Trust::Image)?;
    for warning in policy.warnings() {
        tracing::warn!("policy: {warning}");
    }
    let identity = Identity::load(config)?;
    let _locks = [Lock::of_runtime(&config.runtime)?, Lock::of_state(&config.state)?];
    let (mut watch, collector) = Watch::start(config, identity, policy)?;
    signal::listen(collector.outgoing.clone(), Hangup::Reloads)?;
    eprintln!("ready");
    tell_systemd(&[NotifyState::Ready]);
    let failure = watch.until_stopped(&collector);
    tell_systemd(&[NotifyState::Stopping]);
    let reason = if failure.is_some() { "the rings could not be read" } else { "asked to stop by a signal" };
    watch.finish(collector, reason);
    failure.map_or(Ok(()), |error| Err(error.into()))
}

/// systemd is told; where there is none, nobody is.
fn tell_systemd(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd could not be told of the agent's state: {error}");
    }
}

struct Watch {
    /// The policy's file.
    file: PathBuf,
    sensor: Sensor,
    pipeline: Pipeline,
    sealer: Sealer,
    spool: Spool,
    shipper: Shipper,
    health: Health,
    vigil: Vigil,
    roots: Roots,
    /// When they were marked last.
    marked: u64,
    /// Records sealed into the spool, of this run.
    stored: u64,
    looked: u64,
    undecodable: u64,
    /// Mounts that were not told, up to now.
    untold: u64,
    /// What the rings held was judged, up to now.
    caught_up: bool,
    /// Something was appended and not yet synced.
    unsynced: bool,
    /// A frame of it was not full: nothing follows it so fast that a sync would be saved.
    is_last: bool,
    /// When the spool was synced last, boot ns.
    synced: u64,
    /// What the spool refuses.
    spool_says: Repeated,
    /// What the disk does not confirm.
    disk_says: Repeated,
    /// The processes that the sensor was told are ours.
    guarded: [u32; 2],
    /// Losses in the rings up to the last look at their rows.
    told: u64,
    /// What was taken from the rings, and the sensor's losses that were told.
    counted: Counted,
    safe: Safe,
    /// What the agent before has told.
    twins: Twins,
    inherited: Totals,
    /// Files of protected places that have more than one name, while they are being looked for.
    links: Receiver<Found>,
}

impl Watch {
    /// What the vigil has found.
    fn tell(&mut self, seen: Seen) {
        seen.children.into_iter().for_each(|pid| self.pipeline.expect(pid));
        seen.events.into_iter().for_each(|event| self.own_record(event));
    }

    /// What the walk over the protected places has found since the last look.
    fn learn_links(&mut self) {
        while let Ok(found) = self.links.try_recv() {
            self.pipeline.attribution().link(found);
        }
    }

    /// `ship` may have been started anew.
    fn guard(&mut self) -> Result<(), SensorError> {
        let own = [std::process::id(), self.shipper.process()];
        if own != self.guarded {
            self.sensor.guard(&own)?;
            self.guarded = own;
        }
        Ok(())
    }

    /// Who lost records where: rows are looked at while records are being lost, and once more after that, because
    /// those of the last second are not complete yet.
    fn tell_losses(&mut self, lost: u64) {
        if lost == self.told && self.sensor.is_told() {
            return;
        }
        self.told = lost;
        match self.sensor.overflows() {
            Ok(rows) => rows.iter().for_each(|row| self.tell_row(row)),
            Err(error) => tracing::error!("the losses cannot be read: {}", exit::in_one_line(&error)),
        }
    }

    fn tell_row(&mut self, row: &Overflow) {
        match self.pipeline.lost(row) {
            Ok(judged) => self.sealer.push(judged, Now::read()),
            Err(error) => tracing::error!("a row of losses could not be read: {error}"),
        }
    }

    fn mark(&mut self) -> anyhow::Result<()> {
        self.marked = Now::read().boot;
        self.pipeline.refresh(self.marked);
        self.roots.mark(self.pipeline.policy(), &mut self.sensor)?;
        self.pipeline.attribution().witness(self.sensor.tells_of_all());
        Ok(())
    }

    /// Ends with what made it impossible to go on, if anything did.
    fn until_stopped(&mut self, collector: &Collector) -> Option<SensorError> {
        loop {
            let collected = collector.incoming.recv_timeout(self.wait());
            self.caught_up = collected.is_err();
            match collected {
                Ok(Collected::Records(records)) => self.take(&records),
                Ok(Collected::Failed(error)) => return Some(error),
                Ok(Collected::Reload) => self.reload(),
                Ok(Collected::Stop | Collected::Done) | Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Now::read();
            if now.boot >= self.looked.saturating_add(LOOK) {
                self.looked = now.boot;
                if let Some((since, lasted)) = self.health.pause(now, monotonic()) {
                    self.own_record(Event::Paused(v1::Paused { since, lasted }));
                }
                let seen = self.vigil.look(&mut self.sensor, now);
                self.tell(seen);
                self.look(now);
            }
            self.write(false);
        }
    }

    /// Until the next frame, the next sync or the next look is due.
    fn wait(&self) -> Duration {
        let look = self.looked.saturating_add(LOOK);
        let sync = self.unsynced.then(|| self.synced.saturating_add(TOGETHER));
        let due = self.sealer.due().into_iter().chain(sync).fold(look, u64::min);
        Duration::from_nanos(due.saturating_sub(Now::read().boot))
    }

    fn take(&mut self, records: &[Raw]) {
        let mut twins = std::mem::take(&mut self.twins);
        self.feed(records.iter().filter(|raw| twins.is_new(raw)));
        self.twins = twins;
        self.counted.records += records.len() as u64;
        self.safe.handed(Now::read().boot, self.counted);
    }

    fn feed<'a>(&mut self, records: impl Iterator<Item = &'a Raw>) {
        let now = Now::read();
        let (mut pushed, mut mounted) = (0, false);
        for raw in records {
            let judged = self.pipeline.judge(raw);
            if let Some(login) = self.pipeline.aside() {
                self.sealer.push(login, Now::read());
            }
            match judged {
                Ok(Some(judged)) if is_ignored(&judged) => {}
                Ok(Some(judged)) => {
                    mounted |= matches!(judged.record.event, Some(Event::Mount(_)));
                    self.sealer.push(judged, now);
                    // A frame's worth is sealed while it is warm, and does not wait in memory for the whole round.
                    pushed += 1;
                    if pushed % MAX_RECORDS == 0 {
                        self.seal(false);
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::error!("a record of the sensor could not be read: {error}"),
            }
        }
        // What is mounted for less than a second would be seen by nobody.
        if mounted && now.boot >= self.marked.saturating_add(REMARK) {
            self.look_at_mounts();
        }
    }

    fn look_at_mounts(&mut self) {
        if self.roots.mounts_changed() {
            self.mark_again();
        }
    }

    fn mark_again(&mut self) {
        if let Err(error) = self.mark() {
            tracing::error!("the protected places could not be marked anew: {error:#}");
        }
    }

    /// Once a second: what was lost, whether the clock was set, whether the roots still stand.
    fn look(&mut self, now: Now) {
        match self.sensor.counters() {
            Ok(counters) => {
                let skipped = self.sensor.skipped();
                for loss in self.health.losses(counters, &skipped) {
                    self.sealer.lose(loss.kind, loss.count, loss.hook, now);
                }
                self.count(&counters, &skipped);
                self.tell_losses(counters.lost.iter().sum());
            }
            Err(error) => {
                tracing::error!("the sensor's counters cannot be read: {}", exit::in_one_line(&error))
            }
        }
        if let Err(error) = self.guard() {
            tracing::error!("the agent's own processes are not guarded: {}", exit::in_one_line(&error));
        }
        let undecodable = self.pipeline.undecodable();
        self.sealer.lose(LossKind::Undecodable, undecodable - self.undecodable, "", now);
        self.undecodable = undecodable;
        let untold = self.pipeline.attribution().counters().remounts_untold;
        self.sealer.lose(LossKind::Queue, untold - self.untold, "", now);
        self.untold = untold;
        for finding in self.spool.findings() {
            tracing::warn!("spool: {finding}");
            self.sealer.lose(LossKind::Spool, finding.lost(), "", now);
        }
        let folded = self.pipeline.folded(self.caught_up.then_some(now.boot)).into_iter();
        for judged in folded.chain(self.pipeline.remounted(now.boot)) {
            self.sealer.push(judged, now);
        }
        self.learn_links();
        if let Some(step) = self.health.clock_step(now) {
            self.own_record(Event::Clock(v1::Clock { step }));
        }
        match self.sensor.marks_stale() {
            true => self.mark_again(),
            false => self.look_at_mounts(),
        }
        self.beat(now);
    }

    fn beat(&mut self, now: Now) {
        let counters = self.counters();
        if let Some(beat) = self.sealer.heartbeat(counters, now) {
            self.shipper.heartbeat(beat);
        }
    }

    fn counters(&self) -> Counters {
        // Unreadable counters were said in `look`; the heartbeat then states what is known without them.
        let sensor = self.sensor.counters().unwrap_or_default();
        let skipped: u64 = self.sensor.skipped().iter().map(|(_, misses)| misses).sum();
        Counters {
            seen: sensor.kept.iter().sum::<u64>() + self.inherited.seen,
            stored: self.stored,
            lost: sensor.lost.iter().sum::<u64>()
                + sensor.state_full
                + skipped
                + self.inherited.lost
                + lost_here(&self.sealer.lost()),
            ignored: sensor.ignored,
            unrecorded: self.pipeline.ignored(),
            folded: sensor.folded,
            refused: sensor.refused,
        }
    }

    fn own_record(&mut self, event: Event) {
        let now = Now::read();
        self.sealer.push(policy::own(self.pipeline.policy(), now.boot, event), now);
    }

    /// Seals what is due (or everything) and appends it to the spool.
    fn seal(&mut self, everything: bool) {
        loop {
            let now = Now::read();
            let sealed = if everything { self.sealer.rest(now) } else { self.sealer.ready(now) };
            match sealed {
                Ok(Some(frame)) => {
                    self.unsynced |= self.append(&frame, now);
                    self.is_last |= frame.header().records() < MAX_RECORDS as u64;
                }
                Ok(None) => break,
                Err(error) => tracing::error!("{}", exit::in_one_line(&error)),
            }
        }
    }

    /// Seals what is due (or everything), and puts it on the disk: full frames [`TOGETHER`], all others at once.
    fn write(&mut self, everything: bool) {
        self.seal(everything);
        let together = self.synced.saturating_add(TOGETHER);
        let at_once = std::mem::take(&mut self.is_last) || everything;
        if self.unsynced && !at_once && Now::read().boot < together {
            return;
        }
        if std::mem::take(&mut self.unsynced) {
            self.sync();
            self.synced = Now::read().boot;
        }
        self.tell_successor();
    }

    fn sync(&mut self) {
        match self.spool.sync() {
            Ok(()) => self.disk_says.well(),
            Err(error) => {
                let text = exit::in_one_line(&error);
                if self.disk_says.again(error.to_string(), Now::read().boot) {
                    tracing::error!("records may not outlive a power cut: {text}");
                }
            }
        }
        self.shipper.notify();
    }

    /// A frame that the spool does not take is withdrawn: its records are counted lost, and the next frame
    /// that fits says so. A disk that stays full is said once a minute, not for each frame.
    fn append(&mut self, frame: &Frame, now: Now) -> bool {
        match self.spool.append(frame) {
            Ok(()) => {
                self.stored += frame.header().records();
                // Its own words it takes also when it is full.
                if self.spool_says.is_bad() && !is_own(frame) {
                    tracing::warn!("the spool takes records again");
                    self.spool_says.well();
                }
                true
            }
            Err(error) => {
                let kind = std::mem::discriminant(&error);
                if self.spool_says.again(format!("{kind:?}"), now.boot) {
                    tracing::error!(
                        "records are being lost: {}; {}",
                        exit::in_one_line(&error),
                        error.remedy()
                    );
                }
                self.sealer.withdraw(now);
                false
            }
        }
    }

    /// Detaches, if the programs are not to stay, takes the rest out of the rings, and leaves everything in the spool.
    fn finish(mut self, collector: Collector, reason: &str) {
        if !self.sensor.stays() {
            self.sensor.detach();
        }
        self.rest_of(&collector.finish());
        self.look(Now::read());
        if !self.sensor.stays() {
            // Detached, so that every row is complete.
            self.sensor.complete();
        }
        for judged in self.pipeline.folded(Some(u64::MAX)) {
            self.sealer.push(judged, Now::read());
        }
        self.tell_losses(u64::MAX);
        // First the rest, so that the last frame holds only what a full spool still takes.
        self.write(true);
        let counters = Some(self.counters());
        self.own_record(Event::Stop(v1::Stop { reason: reason.to_owned(), counters }));
        self.sealer.end();
        self.write(true);
        let last = self.sealer.last_heartbeat(self.counters(), Now::read());
        self.shipper.heartbeat(last);
        self.shipper.stop();
        self.sensor.leave();
    }

    fn rest_of(&mut self, incoming: &Receiver<Collected>) {
        for collected in incoming {
            match collected {
                Collected::Records(records) => {
                    self.take(&records);
                    self.write(false);
                }
                Collected::Done => return,
                Collected::Stop | Collected::Reload => {}
                Collected::Failed(error) => {
                    tracing::error!("the rest of the rings cannot be read: {}", exit::in_one_line(&error))
                }
            }
        }
    }
}

/// What was lost behind the sensor. What was lost before is counted by the sensor itself, from where the
/// sealer has it too.
fn lost_here(lost: &Losses) -> u64 {
    let here = [LossKind::Undecodable, LossKind::Spool, LossKind::Queue];
    here.into_iter().map(|kind| lost[kind as usize]).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_sensor_counts_itself_is_not_counted_twice() {
        let mut lost = Losses::default();
        LossKind::ALL.into_iter().zip(0..).for_each(|(kind, n)| lost[kind as usize] = 10_u64.pow(n));
        assert_eq!(lost_here(&lost), 10_u64.pow(4) + 10_u64.pow(5) + 10_u64.pow(7));
    }
}
