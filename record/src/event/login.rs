//! A task set its own login uid: who it counts as from now on.

use crate::event::View;
use crate::ocsf::{Activity, Object, Scene, actor, class};
use crate::text::quoted;
use crate::v1::Login;

/// The kernel's "not set" (`AUDIT_UID_UNSET`).
const UNSET: u32 = u32::MAX;

impl View for Login {
    /// "Set User ID" is of `setuid` alone; this one gives no rights, but a name.
    fn activity(&self) -> Activity {
        class::PROCESS.activity(class::OTHER, "Login")
    }

    fn verb(&self) -> &'static str {
        "login"
    }

    fn detail(&self) -> String {
        match self.loginuid {
            UNSET => "removed".into(),
            _ => self.name(),
        }
    }

    fn sentence(&self, who: &str, scene: &Scene<'_>) -> String {
        let program = scene.program();
        let before = self.before.filter(|uid| *uid != UNSET);
        let now = match self.loginuid {
            UNSET => format!("{program} of {who} removed its login user"),
            _ => format!("{program} of {who} set its login user to {}", self.name()),
        };
        let from = before.map(|uid| format!(", which was uid {uid}")).unwrap_or_default();
        let doubt = if self.forgeable { ", and was free to choose any" } else { "" };
        format!("{now}{from}{doubt}")
    }

    fn attributes(&self, scene: &Scene<'_>, out: &mut Object) {
        out.object("process", actor::launched(scene));
    }

    fn unmapped(&self, _scene: &Scene<'_>, out: &mut Object) {
        let mut login = Object::new();
        login.maybe("before", self.before).put("loginuid", self.loginuid).text("user", &self.user);
        login.put("session", self.session).put("forgeable", self.forgeable);
        out.object("login", login);
    }
}

impl Login {
    /// "alice (uid 1001, session 17)".
    fn name(&self) -> String {
        let (uid, session) = (self.loginuid, self.session);
        let session = if session == UNSET { String::new() } else { format!("session {session}") };
        match (self.user.as_str(), session.as_str()) {
            ("", "") => format!("uid {uid}"),
            ("", session) => format!("uid {uid} ({session})"),
            (user, "") => format!("{} (uid {uid})", quoted(user.as_bytes())),
            (user, session) => format!("{} (uid {uid}, {session})", quoted(user.as_bytes())),
        }
    }
}
