//! How `watch` takes another policy while it runs.

use anyhow::Context as _;
use graven_record::v1;
use graven_record::v1::record::Event;
use sd_notify::NotifyState;

use super::{Watch, tell_systemd};
use crate::attribute::walk;
use crate::policy::Policy;
use crate::seal::Now;
use crate::{context, exit};

impl Watch {
    /// The policy's file is read anew. What is wrong with it, or cannot be done, is said, and the policy stays as it was.
    pub(super) fn reload(&mut self) {
        tell_systemd_of_reload();
        let before = Some(self.pipeline.policy().about().clone());
        let change = match self.replace_policy() {
            Ok(()) => {
                let after = Some(self.pipeline.policy().about().clone());
                v1::PolicyChange { before, after, refused: String::new() }
            }
            Err(error) => {
                let (name, refused) = (self.file.display().to_string(), exit::sentence(&error));
                tracing::error!("the policy stays as it was: {refused}");
                v1::PolicyChange {
                    before,
                    after: Some(v1::Policy { name, ..v1::Policy::default() }),
                    refused,
                }
            }
        };
        self.own_record(Event::PolicyChange(change));
        tell_systemd(&[NotifyState::Ready]);
    }

    fn replace_policy(&mut self) -> anyhow::Result<()> {
        let policy = Policy::load(&self.file, v1::Trust::Image)?;
        let links = walk(policy.protected()).context("cannot start the thread that looks for hard links")?;
        // What has moved since the last look stays protected.
        self.mark()?;
        if let Err(error) = self.roots.mark_anew(&policy, &mut self.sensor) {
            self.mark().context("and the places of the old one cannot be marked again")?;
            return Err(error.context("its places cannot be marked"));
        }
        for warning in policy.warnings() {
            tracing::warn!("policy: {warning}");
        }
        self.links = links;
        self.sealer.set_context(context::of_this_host(&policy));
        self.pipeline.judge_by(policy, Now::read().boot);
        self.pipeline.attribution().witness(self.sensor.tells_of_all());
        Ok(())
    }
}

/// For a unit of type `notify-reload`: both in one message (sd_notify(3)).
fn tell_systemd_of_reload() {
    match NotifyState::monotonic_usec_now() {
        Ok(moment) => tell_systemd(&[NotifyState::Reloading, moment]),
        Err(error) => tracing::warn!("systemd cannot be told of the reload: {error}"),
    }
}
