//! A run of the agent began: the host's start key certifies its first signing key.

use prost::Message;

use crate::event::View;
use crate::ocsf::{Activity, Object, Scene, class};
use crate::text::quoted;
use crate::v1::{EpochStart, EpochStatement};

impl EpochStart {
    /// What the statement says; whether it is signed is the verifier's matter.
    fn said(&self) -> Option<EpochStatement> {
        EpochStatement::decode(self.statement.as_slice()).ok()
    }
}

impl View for EpochStart {
    fn activity(&self) -> Activity {
        class::LOG.activity(class::OTHER, "Epoch Start")
    }

    fn verb(&self) -> &'static str {
        "epoch start"
    }

    fn sentence(&self, _who: &str, _scene: &Scene<'_>) -> String {
        match self.said() {
            Some(said) => format!(
                "a run of the agent began with signing key {} of epoch {} ({})",
                hex::encode(&said.key),
                said.epoch,
                quoted(said.reason.as_bytes())
            ),
            None => "a run of the agent began with a statement that does not decode".into(),
        }
    }

    fn attributes(&self, _scene: &Scene<'_>, out: &mut Object) {
        class::log(out);
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        out.text("signature", &hex::encode(&self.signature));
        let Some(said) = self.said() else {
            out.text("statement", &hex::encode(&self.statement));
            return;
        };
        out.text("run", &hex::encode(&said.run))
            .put("epoch", said.epoch)
            .text("key", &hex::encode(&said.key));
        out.text("reason", &said.reason);
        for (lane, sequence, hash) in [
            ("protected", said.protected_sequence, &said.protected_head),
            ("activity", said.activity_sequence, &said.activity_head),
        ] {
            let mut head = Object::new();
            head.put("sequence", sequence).text("hash", &hex::encode(hash));
            out.object(lane, head);
        }
    }
}
