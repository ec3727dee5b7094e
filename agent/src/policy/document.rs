//! A policy file as values: every key read, nothing looked up on the host.

use std::collections::HashMap;

use graven_record::v1::Severity;
use toml::de::DeTable;

use super::image::Source;
use super::pattern::Pattern;
use super::problem::Problem;
use super::reader::{At, Keys, Reader, Section, unknown};

/// The format this release reads.
const SCHEMA: i64 = 1;
/// Longest name of an entry: it is written into every record that the entry decides.
const NAME: usize = 100;
/// Paths of one file: as many roots as the sensor can mark.
const PATHS: usize = 4096;

const TOP: Keys = Keys {
    known: &["schema", "policy", "image", "protect", "mutable", "allow", "exec"],
    later: &["watch", "update", "window", "break_glass", "privacy", "health"],
};
const POLICY: Keys =
    Keys { known: &["name", "version", "commit", "owner", "mode"], later: &["weaken", "serial"] };
const IMAGE: Keys =
    Keys { known: &["id", "version", "commit", "match"], later: &["build", "cloud", "extensions", "digest"] };
const MATCH: Keys = Keys { known: &["id", "version", "commit"], later: &["build", "cloud", "extensions"] };
const PROTECT: Keys = Keys { known: &["name", "paths", "severity"], later: &["block", "mounts"] };
const MUTABLE: Keys = Keys { known: &["name", "paths"], later: &[] };
const ALLOW: Keys = Keys { known: &["write"], later: &[] };
const ALLOW_WRITE: Keys = Keys { known: &["name", "paths", "writer"], later: &["when", "severity"] };
const WRITER: Keys = Keys {
    known: &["exe", "unit", "user", "login_user", "parent"],
    later: &[
        "sha256",
        "sha256_file",
        "group",
        "cgroup",
        "container",
        "container_image",
        "namespace",
        "image_member",
        "with_children",
    ],
};
const EXEC: Keys = Keys { known: &["otherwise", "image", "allow"], later: &["watch", "containers"] };
const EXEC_IMAGE: Keys =
    Keys { known: &["deny_from"], later: &["manifest", "signature", "verity", "readonly", "extensions"] };
const EXEC_ALLOW: Keys = Keys {
    known: &["name", "exe", "parent", "severity"],
    later: &["sha256", "sha256_file", "unit", "tty", "namespace", "image_member"],
};

/// The words for a severity, weakest first.
const SEVERITIES: [(&str, Severity); 5] = [
    ("info", Severity::Info),
    ("low", Severity::Low),
    ("medium", Severity::Medium),
    ("high", Severity::High),
    ("critical", Severity::Critical),
];

/// `[policy] mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Record only.
    Learn,
    /// Record and alert.
    Alert,
}

/// A whole file.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) commit: String,
    pub(super) owner: String,
    pub(super) mode: Mode,
    pub(super) image: ImageSources,
    pub(super) protect: Vec<Protect>,
    pub(super) mutable: Vec<Mutable>,
    pub(super) allow: Vec<AllowWrite>,
    pub(super) exec: Exec,
}

/// `[image]`: where identity is read, and what it must be.
#[derive(Debug, Default)]
pub(super) struct ImageSources {
    pub(super) id: Option<Source>,
    pub(super) version: Option<Source>,
    pub(super) commit: Option<Source>,
    /// Key and value that must be equal.
    pub(super) expected: Vec<(&'static str, String)>,
}

/// `[[protect]]`.
#[derive(Debug)]
pub(super) struct Protect {
    pub(super) name: String,
    pub(super) paths: Vec<Pattern>,
    pub(super) severity: Severity,
}

/// `[[mutable]]`.
#[derive(Debug)]
pub(super) struct Mutable {
    pub(super) name: String,
    pub(super) paths: Vec<Pattern>,
}

/// `[[allow.write]]`.
#[derive(Debug)]
pub(super) struct AllowWrite {
    pub(super) name: String,
    pub(super) paths: Vec<Pattern>,
    pub(super) writer: Writer,
}

/// Who may write: every key that is there must match.
#[derive(Clone, Debug, Default)]
pub(super) struct Writer {
    pub(super) exe: Option<Vec<Pattern>>,
    pub(super) parent: Option<Vec<Pattern>>,
    pub(super) unit: Option<Vec<String>>,
    pub(super) user: Option<Vec<String>>,
    pub(super) login_user: Option<Vec<String>>,
}

/// `[exec]`.
#[derive(Debug)]
pub(super) struct Exec {
    pub(super) otherwise: Severity,
    pub(super) deny_memfd: bool,
    pub(super) deny_deleted: bool,
    pub(super) deny_from: Vec<Pattern>,
    pub(super) allow: Vec<ExecAllow>,
}

/// `[[exec.allow]]`.
#[derive(Clone, Debug)]
pub(super) struct ExecAllow {
    pub(super) name: String,
    pub(super) exe: Vec<Pattern>,
    pub(super) parent: Option<Vec<Pattern>>,
    pub(super) severity: Severity,
}

/// Reads the text of a policy, or says everything that is wrong with it.
pub(super) fn parse(text: &str) -> Result<Document, (Vec<Problem>, usize)> {
    let mut reader = Reader::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // After a syntax error the tables are a guess: only the syntax is reported.
        for error in &errors {
            let at = error.span().map_or(text.len(), |span| span.start);
            reader.problem(at, String::new(), error.message());
        }
        return Err(reader.finish().err().unwrap_or_default());
    }
    let mut names = Names::default();
    let document = document(&mut reader, &Section::root(table.get_ref()), &mut names);
    reader.finish()?;
    Ok(document)
}

fn document(reader: &mut Reader<'_>, top: &Section<'_>, names: &mut Names) -> Document {
    reader.only(top, &TOP);
    schema(reader, top);
    let mut document = head(reader, top);
    document.image = reader.section(top, "image").map(|section| image(reader, &section)).unwrap_or_default();
    document.protect = reader
        .sections(top, "protect")
        .iter()
        .map(|section| {
            reader.only(section, &PROTECT);
            Protect {
                name: names.of_entry(reader, section),
                paths: names.paths(reader, section, "paths"),
                severity: needed_severity(reader, section),
            }
        })
        .collect();
    document.mutable = reader
        .sections(top, "mutable")
        .iter()
        .map(|section| {
            reader.only(section, &MUTABLE);
            Mutable { name: names.of_entry(reader, section), paths: names.paths(reader, section, "paths") }
        })
        .collect();
    if let Some(section) = reader.section(top, "allow") {
        reader.only(&section, &ALLOW);
        document.allow = reader
            .sections(&section, "write")
            .iter()
            .map(|entry| allow_write(reader, entry, names))
            .collect();
    }
    if let Some(section) = reader.section(top, "exec") {
        document.exec = exec(reader, &section, names);
    }
    document
}

fn schema(reader: &mut Reader<'_>, top: &Section<'_>) {
    match reader.number(top, "schema") {
        Some(number) if number.value != SCHEMA => {
            let message = format!("this release reads schema {SCHEMA} only, found {}", number.value);
            reader.problem(number.at, "schema".to_owned(), message);
        }
        None if !top.has("schema") => {
            reader.problem(0, "schema".to_owned(), format!("missing: begin the file with schema = {SCHEMA}"));
        }
        _ => {}
    }
}

fn head(reader: &mut Reader<'_>, top: &Section<'_>) -> Document {
    let mut document = Document {
        name: String::new(),
        version: String::new(),
        commit: String::new(),
        owner: String::new(),
        mode: Mode::Alert,
        image: ImageSources::default(),
        protect: Vec::new(),
        mutable: Vec::new(),
        allow: Vec::new(),
        exec: Exec {
            otherwise: Severity::High,
            deny_memfd: false,
            deny_deleted: false,
            deny_from: Vec::new(),
            allow: Vec::new(),
        },
    };
    let Some(section) = reader.section(top, "policy") else {
        if !top.has("policy") {
            reader.problem(0, "policy".to_owned(), "missing: a [policy] table with name and version");
        }
        return document;
    };
    reader.only(&section, &POLICY);
    document.name = bounded(reader, &section, "name", "the policy's name");
    document.version = bounded(reader, &section, "version", "the policy's version");
    document.commit = reader.text(&section, "commit").map(|text| text.value).unwrap_or_default();
    document.owner = reader.text(&section, "owner").map(|text| text.value).unwrap_or_default();
    if let Some(mode) = reader.text(&section, "mode") {
        match mode.value.as_str() {
            "alert" => document.mode = Mode::Alert,
            "learn" => document.mode = Mode::Learn,
            other => {
                reader.problem(mode.at, section.key("mode"), unknown("mode", other, &["learn", "alert"]))
            }
        }
    }
    document
}

fn image(reader: &mut Reader<'_>, section: &Section<'_>) -> ImageSources {
    reader.only(section, &IMAGE);
    let mut source = |key| {
        let text = reader.text(section, key)?;
        Source::parse(&text.value).map_err(|error| reader.problem(text.at, section.key(key), error)).ok()
    };
    let mut sources = ImageSources {
        id: source("id"),
        version: source("version"),
        commit: source("commit"),
        expected: Vec::new(),
    };
    if let Some(wanted) = reader.section(section, "match") {
        reader.only(&wanted, &MATCH);
        for key in MATCH.known {
            let Some(value) = reader.text(&wanted, key) else { continue };
            if !section.has(key) {
                let message = format!("nothing to match: [image] does not say where {key} is read");
                reader.problem(value.at, wanted.key(key), message);
            }
            sources.expected.push((key, value.value));
        }
    }
    sources
}

fn allow_write(reader: &mut Reader<'_>, section: &Section<'_>, names: &mut Names) -> AllowWrite {
    reader.only(section, &ALLOW_WRITE);
    let name = names.of_entry(reader, section);
    let paths = names.paths(reader, section, "paths");
    let writer = match reader.section(section, "writer") {
        Some(table) => writer(reader, &table, names),
        None => {
            if !section.has("writer") {
                let message = "missing: who may write, e.g. writer = { exe = \"/usr/bin/certbot\" }";
                reader.problem(section.at(), section.key("writer"), message);
            }
            Writer::default()
        }
    };
    AllowWrite { name, paths, writer }
}

fn writer(reader: &mut Reader<'_>, section: &Section<'_>, names: &mut Names) -> Writer {
    reader.only(section, &WRITER);
    if !WRITER.known.iter().any(|key| section.has(key)) {
        let message = format!("empty: every writer needs at least one of {}", WRITER.known.join(", "));
        reader.problem(section.at(), section.key("").trim_end_matches('.').to_owned(), message);
    }
    Writer {
        exe: section.has("exe").then(|| names.optional_paths(reader, section, "exe")),
        parent: section.has("parent").then(|| names.optional_paths(reader, section, "parent")),
        unit: words(reader, section, "unit"),
        user: words(reader, section, "user"),
        login_user: words(reader, section, "login_user"),
    }
}

fn exec(reader: &mut Reader<'_>, section: &Section<'_>, names: &mut Names) -> Exec {
    reader.only(section, &EXEC);
    let mut exec = Exec {
        otherwise: severity(reader, section, "otherwise").unwrap_or(Severity::High),
        deny_memfd: false,
        deny_deleted: false,
        deny_from: Vec::new(),
        allow: Vec::new(),
    };
    if let Some(image) = reader.section(section, "image") {
        reader.only(&image, &EXEC_IMAGE);
        for place in reader.texts(&image, "deny_from").unwrap_or_default() {
            match place.value.as_str() {
                "memfd" => exec.deny_memfd = true,
                "deleted" => exec.deny_deleted = true,
                path if path.starts_with('/') => {
                    exec.deny_from.extend(names.path(reader, &image.key("deny_from"), &place));
                }
                other => {
                    let message =
                        format!("{}; or an absolute path", unknown("place", other, &["memfd", "deleted"]));
                    reader.problem(place.at, image.key("deny_from"), message);
                }
            }
        }
    }
    for entry in &reader.sections(section, "allow") {
        reader.only(entry, &EXEC_ALLOW);
        exec.allow.push(ExecAllow {
            name: names.of_entry(reader, entry),
            exe: names.paths(reader, entry, "exe"),
            parent: entry.has("parent").then(|| names.optional_paths(reader, entry, "parent")),
            severity: severity(reader, entry, "severity").unwrap_or(Severity::Info),
        });
    }
    exec
}

/// What must be unique or bounded over the whole file.
#[derive(Default)]
struct Names {
    lines: HashMap<String, String>,
    paths: usize,
}

impl Names {
    /// `name` of an entry: shown with every verdict, so it must lead back to one entry.
    fn of_entry(&mut self, reader: &mut Reader<'_>, section: &Section<'_>) -> String {
        let name = bounded(reader, section, "name", "the name that verdicts will show");
        if name.is_empty() {
            return name;
        }
        if let Some(other) = self.lines.insert(name.clone(), section.key("name")) {
            let message = format!("\"{name}\" is already the name of an entry ({other}): names must differ");
            reader.problem(section.at(), section.key("name"), message);
        }
        name
    }

    fn paths(&mut self, reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Vec<Pattern> {
        let texts = reader.needed_texts(section, key, "a list of absolute paths");
        texts.iter().filter_map(|text| self.path(reader, &section.key(key), text)).collect()
    }

    fn optional_paths(&mut self, reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Vec<Pattern> {
        let texts = reader.texts(section, key).unwrap_or_default();
        texts.iter().filter_map(|text| self.path(reader, &section.key(key), text)).collect()
    }

    fn path(&mut self, reader: &mut Reader<'_>, key: &str, text: &At<String>) -> Option<Pattern> {
        self.paths += 1;
        if self.paths == PATHS + 1 {
            reader.problem(text.at, key.to_owned(), format!("more than {PATHS} paths in one policy"));
        }
        match Pattern::parse(&text.value) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                reader.problem(text.at, key.to_owned(), error);
                None
            }
        }
    }
}

fn bounded(reader: &mut Reader<'_>, section: &Section<'_>, key: &str, what: &str) -> String {
    let Some(text) = reader.needed(section, key, what) else { return String::new() };
    if text.value.chars().count() > NAME || text.value.chars().any(char::is_control) {
        let message = format!("at most {NAME} characters, none of them a control character");
        reader.problem(text.at, section.key(key), message);
    }
    text.value
}

fn words(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Option<Vec<String>> {
    let texts = reader.texts(section, key)?;
    Some(texts.into_iter().map(|text| text.value).collect())
}

fn needed_severity(reader: &mut Reader<'_>, section: &Section<'_>) -> Severity {
    if !section.has("severity") {
        let message = format!("missing: one of {}", severities().join(", "));
        reader.problem(section.at(), section.key("severity"), message);
    }
    severity(reader, section, "severity").unwrap_or(Severity::High)
}

fn severity(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Option<Severity> {
    let text = reader.text(section, key)?;
    let found = SEVERITIES.iter().find(|(word, _)| *word == text.value).map(|(_, severity)| *severity);
    if found.is_none() {
        reader.problem(text.at, section.key(key), unknown("severity", &text.value, &severities()));
    }
    found
}

fn severities() -> [&'static str; 5] {
    SEVERITIES.map(|(word, _)| word)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "schema = 1\n[policy]\nname = \"t\"\nversion = \"1\"\n";

    fn problems(body: &str) -> Vec<String> {
        let error = parse(&format!("{HEAD}{body}")).err().unwrap_or_default();
        error.0.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn a_minimal_policy_is_read() {
        let document = parse(HEAD).unwrap();
        assert_eq!((document.name.as_str(), document.version.as_str()), ("t", "1"));
        assert_eq!(document.mode, Mode::Alert);
    }

    #[test]
    fn every_problem_names_its_line_its_key_and_what_is_allowed() {
        let table = [
            (
                "[[protect]]\nname = \"a\"\npathes = [\"/etc\"]\npaths = [\"/etc\"]\nseverity = \"high\"\n",
                "7:1: protect.pathes: unknown key \"pathes\"; did you mean \"paths\"?",
            ),
            (
                "[[protect]]\nname = \"a\"\npaths = [\"etc\"]\nseverity = \"high\"\n",
                "7:10: protect.paths: \"etc\" is not an absolute path: it must begin with /",
            ),
            (
                "[[protect]]\nname = \"a\"\npaths = [\n  \"/etc\",\n  7 ]\nseverity = \"high\"\n",
                "9:3: protect.paths: expected a string, found an integer",
            ),
            (
                "[[protect]]\nname = \"a\"\npaths = []\nseverity = \"high\"\n",
                "7:9: protect.paths: empty: name at least one, or remove the key",
            ),
            (
                "[[protect]]\nname = \"a\"\npaths = [\"/etc\"]\nseverity = \"hgih\"\n",
                "8:12: protect.severity: unknown severity \"hgih\"; did you mean \"high\"?",
            ),
            (
                "[[protect]]\nname = \"a\"\npaths = [\"/etc\"]\nseverity = 3\n",
                "8:12: protect.severity: expected a string, found an integer",
            ),
            (
                "[[protect]]\nname = \"a\"\nblock = [\"x\"]\npaths = [\"/etc\"]\nseverity = \"high\"\n",
                "7:1: protect.block: not supported by this release; remove it",
            ),
            (
                "[exec.image]\ndeny_from = [\"memdf\"]\n",
                "6:14: exec.image.deny_from: unknown place \"memdf\"; did you mean \"memfd\"?; or an absolute path",
            ),
            (
                "[exec.image]\nmanifest = \"/x\"\n",
                "6:1: exec.image.manifest: not supported by this release; remove it",
            ),
            ("[[window]]\nname = \"w\"\n", "5:3: window: not supported by this release; remove it"),
            (
                "[protect]\nname = \"a\"\n",
                "5:1: protect: expected a list of tables, each begun by [[protect]], found a table",
            ),
            (
                "[image]\nid = \"osrelease:ID\"\n",
                "6:6: image.id: unknown source \"osrelease\"; did you mean \"os-release\"?",
            ),
            (
                "[image]\nmatch = { id = \"x\" }\n",
                "6:16: image.match.id: nothing to match: [image] does not say where id is read",
            ),
        ];
        for (body, expected) in table {
            assert_eq!(problems(body), [expected], "{body}");
        }
    }

    #[test]
    fn a_missing_key_is_reported_at_its_table() {
        assert_eq!(
            problems("[[mutable]]\npaths = [\"/tmp\"]\n[[protect]]\nname = \"x\"\npaths = [\"/x\"]\n"),
            [
                "5:1: mutable.name: missing: the name that verdicts will show",
                "7:1: protect.severity: missing: one of info, low, medium, high, critical"
            ]
        );
    }

    #[test]
    fn two_entries_of_one_name_are_refused() {
        let body =
            "[[mutable]]\nname = \"x\"\npaths = [\"/tmp\"]\n[[mutable]]\nname = \"x\"\npaths = [\"/run\"]\n";
        let found = problems(body);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("names must differ"), "{found:?}");
    }

    #[test]
    fn a_writer_needs_a_key_that_can_be_checked() {
        let body =
            |writer| format!("[[allow.write]]\nname = \"x\"\npaths = [\"/etc/**\"]\nwriter = {writer}\n");
        assert!(problems(&body("{}"))[0].contains("at least one of exe"));
        assert!(problems(&body("{ exe = \"/x\", image_member = true }"))[0].contains("not supported"));
        assert!(problems(&body("{ exe = \"/x\", user = [\"root\"] }")).is_empty());
        assert!(
            problems("[[allow.write]]\nname = \"x\"\npaths = [\"/etc/**\"]\n")[0].contains("who may write")
        );
    }

    #[test]
    fn all_problems_of_a_file_are_listed_at_once() {
        let found = problems("[[protect]]\nnam = \"x\"\n[[mutable]]\npaths = \"tmp\"\nname = \"y\"\n");
        assert_eq!(found.len(), 5, "{found:?}");
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let found = problems("[[protect]\nname = \n");
        assert!(found[0].starts_with("5:"), "{found:?}");
    }

    #[test]
    fn a_schema_of_the_future_and_a_missing_one_are_refused() {
        let error = parse("schema = 2\n[policy]\nname = \"t\"\nversion = \"1\"\n").unwrap_err();
        assert!(error.0[0].to_string().starts_with("1:10: schema: this release reads schema 1"));
        assert!(
            parse("[policy]\nname = \"t\"\nversion = \"1\"\n").unwrap_err().0[0]
                .message
                .contains("schema = 1")
        );
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics(text in "\\PC{0,300}") {
            let _ = parse(&text);
        }

        #[test]
        fn hostile_tables_never_panic(body in "(\\[\\[?(protect|mutable|exec|image|allow\\.write)\\]\\]?\n|(name|paths|writer|severity|match|id) = (\"[/a*]{0,4}\"|\\[\\]|\\{\\}|1|\\[\"/\"\\])\n){0,12}") {
            let _ = parse(&format!("{HEAD}{body}"));
        }
    }
}
