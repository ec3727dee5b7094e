//! `observe`: the sensor and the stages up to the verdict, on standard output. No keys, no spool, no network.

use std::io::{self, BufWriter, Write};
use std::time::Duration;

use anyhow::Context as _;
use graven_record::id::{BootId, HostId};
use graven_record::ocsf::{self, Envelope};
use graven_record::v1::{Context, PrivateEntry, Trust};
use graven_record::{text, v1};

use crate::attribute::{Attribution, walk};
use crate::cli::{Format, Observe};
use crate::pipeline::{Collected, Pipeline, collect, is_ignored};
use crate::policy::{Judged, Policy};
use crate::roots::Roots;
use crate::seal::{Now, this_boot};
use crate::sensor::Sensor;
use crate::signal::Hangup;
use crate::{context, signal, sys};

/// How long a quiet loop waits before it looks at the roots again.
const LOOK: Duration = Duration::from_secs(1);

/// Runs until SIGINT or SIGTERM, or until nobody reads any more.
pub fn observe(arguments: &Observe) -> anyhow::Result<()> {
    sys::keep_large_memory_apart();
    let policy = match &arguments.policy {
        Some(path) => Policy::load(path, Trust::Explicit)?,
        None => Policy::embedded()?,
    };
    let mut printer = Printer {
        format: arguments.format,
        all: arguments.all,
        boot: this_boot().context("cannot read the boot id")?,
        context: context::of_this_host(&policy),
        out: BufWriter::new(io::stdout()),
        sequence: 0,
    };
    let mut sensor = Sensor::load()?;
    let mut roots = Roots::new(Vec::new(), arguments.all);
    roots.mark(&policy, &mut sensor)?;
    let collector = collect(sensor.rings()?, false)?;
    sensor.attach()?;
    sensor.guard(&[std::process::id()])?;
    let mut attribution = Attribution::start()?;
    attribution.witness(sensor.tells_of_all());
    let links = walk(policy.protected()).context("cannot start the thread that looks for hard links")?;
    let mut pipeline = Pipeline::new(attribution, policy);
    signal::listen(collector.outgoing.clone(), Hangup::Ends)?;
    for hook in sensor.hooks().iter().filter(|hook| hook.refused.is_some()) {
        eprintln!("not seen on this kernel: {}", hook.without);
    }
    eprintln!("ready");
    loop {
        let collected = collector.incoming.recv_timeout(LOOK);
        let caught_up = collected.is_err();
        match collected {
            Ok(Collected::Records(records)) => {
                for raw in &records {
                    let judged = pipeline.judge(raw);
                    if let Some(login) = pipeline.aside() {
                        printer.print(&login)?;
                    }
                    match judged {
                        Ok(Some(judged)) => printer.print(&judged)?,
                        Ok(None) => {}
                        Err(error) => eprintln!("a record could not be read: {error}"),
                    }
                }
                if !printer.flush()? {
                    return Ok(());
                }
            }
            Ok(Collected::Stop | Collected::Done) => break,
            Ok(Collected::Failed(error)) => return Err(error.into()),
            // Nobody asks `observe` for it.
            Ok(Collected::Reload) => {}
            Err(_timeout) => {}
        }
        while let Ok(found) = links.try_recv() {
            pipeline.attribution().link(found);
        }
        let now = Now::read().boot;
        for judged in pipeline.folded(caught_up.then_some(now)).into_iter().chain(pipeline.remounted(now)) {
            printer.print(&judged)?;
        }
        if sensor.marks_stale() | roots.mounts_changed() {
            pipeline.refresh(Now::read().boot);
            roots.mark(pipeline.policy(), &mut sensor)?;
            pipeline.attribution().witness(sensor.tells_of_all());
        }
    }
    sensor.detach();
    for collected in collector.finish().iter() {
        match collected {
            Collected::Records(records) => {
                for raw in &records {
                    if let Ok(Some(judged)) = pipeline.judge(raw) {
                        printer.print(&judged)?;
                    }
                }
            }
            Collected::Done => break,
            Collected::Stop | Collected::Reload => {}
            Collected::Failed(error) => eprintln!("the rest of the rings cannot be read: {error}"),
        }
    }
    for judged in pipeline.folded(Some(u64::MAX)) {
        printer.print(&judged)?;
    }
    printer.flush()?;
    say_losses(&sensor)
}

fn say_losses(sensor: &Sensor) -> anyhow::Result<()> {
    let counters = sensor.counters()?;
    let skipped: u64 = sensor.skipped().iter().map(|(_, misses)| misses).sum();
    let lost: u64 = counters.lost.iter().sum::<u64>() + counters.state_full + skipped;
    if lost > 0 {
        eprintln!("{lost} events were lost: {counters:?}, skipped by the kernel: {skipped}");
    }
    Ok(())
}

struct Printer {
    format: Format,
    all: bool,
    boot: BootId,
    context: Context,
    out: BufWriter<io::Stdout>,
    sequence: u64,
}

impl Printer {
    fn print(&mut self, judged: &Judged) -> io::Result<()> {
        if is_ignored(judged) && !self.all {
            return Ok(());
        }
        self.sequence += 1;
        let now = Now::read();
        let record = v1::Record {
            sequence: self.sequence,
            time: now.wall.saturating_sub(now.boot.saturating_sub(judged.record.boot_time)),
            ..(*judged.record).clone()
        };
        let private: Vec<PrivateEntry> = judged
            .private
            .iter()
            .map(|value| PrivateEntry { salt: Vec::new(), value: value.to_vec() })
            .collect();
        let envelope = Envelope {
            host: HostId([0; 32]),
            boot: self.boot,
            lane: Some(judged.lane),
            context: &self.context,
            private: &private,
            frame_hash: None,
        };
        let line = match self.format {
            Format::Ocsf => ocsf::compact(&ocsf::render(&envelope, &record)),
            Format::Text => text::line(&envelope, &record).to_string(),
        };
        self.ignore_closed(|out| writeln!(out, "{line}")).map(drop)
    }

    /// False when the reader has gone (`observe | head`): that is no error.
    fn flush(&mut self) -> io::Result<bool> {
        self.ignore_closed(Write::flush)
    }

    fn ignore_closed(
        &mut self,
        write: impl FnOnce(&mut BufWriter<io::Stdout>) -> io::Result<()>,
    ) -> io::Result<bool> {
        match write(&mut self.out) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(error),
        }
    }
}
