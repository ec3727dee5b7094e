//! Names that are made to deceive.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Result, ensure};
use graven_tests::record::{Expected, FILE, activity};

use crate::scene;

#[test]
fn hostile_names_are_exact_in_json_and_harmless_in_text() -> Result<()> {
    scene("hostile", |scene| {
        let nested = vec!["d"; 40].join("/");
        let mut parents = scene.folder().to_owned();
        for _ in 1..40 {
            parents.push("d");
            std::fs::create_dir(&parents)?;
        }
        let names: [&[u8]; 10] = [
            b"new\nline",
            b"\x1b[31mred\x1b]0;title\x07",
            b"not \xff\xfe UTF-8\x80",
            b"back\\slash \\x41 \\n",
            b"quote\" 'and' space",
            "bidi\u{202e}txt.exe\u{9b}31m".as_bytes(),
            &[b'n'; 255],
            nested.as_bytes(),
            b"*[a-z]{x,y}?",
            b"-rf",
        ];
        for name in names {
            let path = scene.folder().join(OsStr::from_bytes(name));
            let acted = scene.actor().act(&[OsStr::new("mkdir"), path.as_os_str(), OsStr::new("0755")])?;
            scene.expect(acted, vec![Expected::new("create", activity::CREATE, path)]);
        }
        scene.stage().fence()?;
        let folder = scene.folder().as_os_str();
        let shown =
            scene.stage().central.graven("violations", &[OsStr::new("--path"), folder])?.succeeded()?;
        let text = shown.text()?;
        let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}' || c == '\u{9b}';
        ensure!(!text.contains(harmful), "{text:?}");
        let records = scene.stage().records(scene.folder())?;
        ensure!(
            text.lines().count() == records.len(),
            "{} lines of {} records",
            text.lines().count(),
            records.len()
        );
        ensure!(text.contains(r"\x1b[31mred") && text.contains(r"not \xff\xfe UTF-8\x80"), "{text}");
        let json = scene
            .stage()
            .central
            .graven("violations", &[OsStr::new("--json"), OsStr::new("--path"), folder])?;
        ensure!(!json.succeeded()?.text()?.contains(harmful), "JSON that acts on a terminal");
        Ok(())
    })
}

#[test]
fn a_path_deeper_than_the_sensors_bound_is_marked_as_cut_and_alerted() -> Result<()> {
    scene("deep", |scene| {
        let mut deep = scene.folder().to_owned();
        deep.extend(vec!["d"; 80]);
        std::fs::create_dir_all(&deep)?;
        let acted =
            scene.actor().act(&[OsStr::new("mkdir"), deep.join("end").as_os_str(), OsStr::new("0755")])?;
        scene.stage().fence()?;
        let mut records = scene.stage().central.violations::<&str>(&[])?;
        records.retain(|record| record.pid() == Some(acted.pid.into()) && record.class() == FILE);
        ensure!(records.len() == 1, "{records:#?}");
        ensure!(records[0].path().ends_with("d/d/d/end"), "{:#}", records[0].0);
        ensure!(records[0].0["unmapped"]["file"]["path_cut"] == true, "{:#}", records[0].0);
        ensure!(records[0].0["is_alert"] == true, "{:#}", records[0].0);
        Ok(())
    })
}
