//! What a secret looks like: names of keys, flags of known programs, shapes of known tokens.

use regex::bytes::Regex;

/// Names that end so hold a secret, whatever stands before (`DB_PASSWORD`, `clientSecret`); `-`, `_` and `.`
/// within them do not count.
const ENDINGS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "secrets",
    "token",
    "apikey",
    "accesskey",
    "secretkey",
    "secretaccesskey",
    "privatekey",
    "encryptionkey",
    "signingkey",
    "accountkey",
    "sharedkey",
    "authkey",
    "credential",
    "credentials",
    "bearer",
    "storepass",
    "keypass",
];
/// Short words that count only as the last part of a name: `bypass` is none.
const PARTS: &[&str] = &["pass", "pwd", "pw", "psk", "otp", "pin"];
/// Flags whose name ends like a secret's and that take none.
const SWITCHES: &[&str] =
    &["no", "ask", "use", "prompt", "show", "list", "get", "create", "with", "without", "reset"];
/// Endings whose value is often the file that holds the secret: a path stays.
const FILES: &[&str] = &["key", "token", "credential", "credentials", "secrets"];

/// Whether a name is that of a secret.
pub(super) fn is_secret_name(name: &[u8]) -> bool {
    let name = lower(name);
    let parts = name.split(['-', '_', '.']).collect::<Vec<_>>();
    let joined = parts.concat();
    ENDINGS.iter().any(|ending| joined.ends_with(ending))
        || (parts.last().is_some_and(|last| PARTS.contains(last)) && name != "oldpwd")
}

/// Whether a flag without `=` takes its secret from the next word.
pub(super) fn takes_secret(flag: &[u8]) -> bool {
    let flag = lower(flag);
    let name = flag.trim_start_matches('-');
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    // Behind one dash a short flag may have its value in the same word: `-psecret` takes none from the next.
    let whole = flag.starts_with("--") || name.contains(['-', '_']) || ENDINGS.contains(&name);
    if !whole || !name.chars().all(is_name) {
        return false;
    }
    let first = name.split(['-', '_']).next().unwrap_or(name);
    is_secret_name(name.as_bytes()) && (first == name || !SWITCHES.contains(&first))
}

/// Whether this value of this name is not a secret but says where one is.
pub(super) fn is_reference(name: &[u8], value: &[u8]) -> bool {
    let name = lower(name);
    let path = [&b"/"[..], b"./", b"~/", b"@"].iter().any(|start| value.starts_with(start));
    let switch = [&b"true"[..], b"false", b"yes", b"no", b"none", b"null"].contains(&value);
    // `PWD` is the shell's working directory.
    switch || (path && (FILES.iter().any(|ending| name.ends_with(ending)) || name == "pwd"))
}

fn lower(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_ascii_lowercase()
}

/// How a known program takes a secret on its command line.
pub(super) struct Flag {
    pub(super) flag: &'static str,
    /// In the same word, right behind the flag.
    pub(super) attached: bool,
    /// In the next word.
    pub(super) next: bool,
    /// What of the value is secret.
    pub(super) part: Part,
}

/// The secret part of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// What follows the first of this byte; nothing when it is not there.
    After(u8),
    /// What follows `pass:`.
    AfterPass,
}

/// A program with flags of its own.
pub(super) struct Tool {
    /// Names; one that ends in `*` is a beginning.
    names: &'static [&'static str],
    /// Only behind this word: `docker login -p` is a password and `docker run -p` is a port.
    pub(super) behind: Option<&'static str>,
    pub(super) flags: &'static [Flag],
}

const fn both(flag: &'static str) -> Flag {
    Flag { flag, attached: true, next: true, part: Part::Whole }
}

const fn attached(flag: &'static str) -> Flag {
    Flag { flag, attached: true, next: false, part: Part::Whole }
}

const fn next(flag: &'static str) -> Flag {
    Flag { flag, attached: false, next: true, part: Part::Whole }
}

const fn part(flag: &'static str, attached: bool, part: Part) -> Flag {
    Flag { flag, attached, next: true, part }
}

const TOOLS: &[Tool] = &[
    Tool { names: &["mysql*", "mariadb*"], behind: None, flags: &[attached("-p")] },
    Tool {
        names: &[
            "sshpass",
            "mycli",
            "mongo",
            "mongosh",
            "mongodump",
            "mongorestore",
            "mongoexport",
            "useradd",
            "usermod",
        ],
        behind: None,
        flags: &[both("-p")],
    },
    Tool {
        names: &["curl"],
        behind: None,
        flags: &[
            part("-u", true, Part::After(b':')),
            part("-U", true, Part::After(b':')),
            part("--user", false, Part::After(b':')),
            part("--proxy-user", false, Part::After(b':')),
            part("-b", true, Part::After(b'=')),
            part("--cookie", false, Part::After(b'=')),
            part("-E", true, Part::After(b':')),
            part("--cert", false, Part::After(b':')),
        ],
    },
    Tool { names: &["redis-cli"], behind: None, flags: &[next("-a")] },
    Tool { names: &["ldap*"], behind: None, flags: &[both("-w")] },
    Tool {
        names: &["smbclient", "rpcclient", "smbget", "net"],
        behind: None,
        flags: &[part("-U", true, Part::After(b'%')), part("--user", false, Part::After(b'%'))],
    },
    Tool {
        names: &["openssl"],
        behind: None,
        flags: &[
            part("-passin", false, Part::AfterPass),
            part("-passout", false, Part::AfterPass),
            part("-pass", false, Part::AfterPass),
            next("-k"),
            next("-K"),
        ],
    },
    Tool { names: &["zip", "unzip", "ipmitool", "sqlcmd", "bcp"], behind: None, flags: &[both("-P")] },
    Tool { names: &["7z", "7za", "7zr", "7zz", "rar", "unrar"], behind: None, flags: &[attached("-p")] },
    Tool {
        names: &["docker", "podman", "buildah", "skopeo", "helm", "oc", "az", "nerdctl"],
        behind: Some("login"),
        flags: &[both("-p")],
    },
    Tool {
        names: &["xfreerdp*", "wlfreerdp*", "rdesktop"],
        behind: None,
        flags: &[attached("/p:"), both("-p")],
    },
    Tool { names: &["nmcli"], behind: None, flags: &[next("password")] },
    Tool { names: &["ssh-keygen"], behind: None, flags: &[both("-N"), both("-P")] },
    Tool { names: &["snmp*"], behind: None, flags: &[both("-A"), both("-X"), both("-c")] },
];

/// The program of that name, when it has flags of its own.
pub(super) fn tool(word: &[u8]) -> Option<&'static Tool> {
    let name = word.rsplit(|&byte| byte == b'/').next()?;
    TOOLS.iter().find(|tool| {
        tool.names.iter().any(|known| match known.strip_suffix('*') {
            Some(start) => name.starts_with(start.as_bytes()),
            None => name == known.as_bytes(),
        })
    })
}

/// Secrets that are known by their shape; each pattern's first group is what is replaced.
const SHAPES: &[&str] = &[
    // Userinfo of a URL: up to the last `@` before the path.
    r#"[A-Za-z][A-Za-z0-9+.-]*://[^/\s:@"']*:([^/\s"']+)@"#,
    r#"https?://([^/\s:@"']{20,})@"#,
    r#"(?i)[?&](?:sig|signature|x-amz-signature|x-goog-signature)=([^&\s"'#]+)"#,
    r#"(?i)(?:proxy-)?authorization["']?\s*[:=]\s*["']?(?:(?:basic|bearer|token|digest|negotiate|apikey)\s+)?([^"'\r\n]+)"#,
    r#"(?i)\bcookie:\s*([^"'\r\n]+)"#,
    r"(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{16,})",
    r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_-]+)",
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----((?s:.)*?)(?:-----END|$)",
    r"\b((?:AKIA|ASIA)[0-9A-Z]{16})\b",
    r"\b(gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})",
    r"\b(gl(?:pat|dt|rt|ptt|cbt|ft|imt|agent|soat)-[A-Za-z0-9_.-]{20,})",
    r"\b(xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,})",
    r"\b(eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,3})",
    r"\b(AIza[0-9A-Za-z_-]{35})",
    r"\b([sr]k_(?:live|test)_[0-9A-Za-z]{16,})",
    r"\b(npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{40,}|dckr_pat_[A-Za-z0-9_-]{20,}|hv[sb]\.[A-Za-z0-9_-]{24,}|sk-[A-Za-z0-9_-]{32,})",
    r"\b(AGE-SECRET-KEY-1[0-9A-Z]{20,})",
];

/// `name = value` in its many spellings; the value begins where the match ends.
const PAIR: &str = r#"([A-Za-z0-9_.-]{1,64})(["']?\s*=\s*|["']\s*:\s*|:\s+|:)"#;

/// One of them is in each pair.
pub(super) const SEPARATORS: &[u8] = b"=:";

/// An AWS secret key has no mark of its own; beside an access key id it is one.
const BESIDE_ACCESS_KEY: &str = r"(?:^|[^A-Za-z0-9/+])([A-Za-z0-9+][A-Za-z0-9/+]{39})(?:$|[^A-Za-z0-9/+=])";

/// The compiled patterns.
#[derive(Debug)]
pub(super) struct Shapes {
    pub(super) shapes: Vec<Regex>,
    pub(super) pair: Regex,
    pub(super) beside_access_key: Regex,
}

impl Shapes {
    pub(super) fn new() -> Result<Self, regex::Error> {
        Ok(Self {
            shapes: SHAPES.iter().map(|shape| Regex::new(shape)).collect::<Result<_, _>>()?,
            pair: Regex::new(PAIR)?,
            beside_access_key: Regex::new(BESIDE_ACCESS_KEY)?,
        })
    }
}

/// Whether a colon without a space separates name and value: in HTTP headers, not in `image-token:1.2`.
pub(super) fn is_header(name: &[u8]) -> bool {
    let name = lower(name);
    name.starts_with("x-")
        || ["private-token", "job-token", "deploy-token", "api-key", "apikey"].contains(&name.as_str())
}
