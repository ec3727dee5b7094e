//! Derives `tests/fixtures/ocsf-1.8.0/table.json` from OCSF's schema files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::table;

/// What Graven's JSON uses; everything else is left out of the table.
const CLASSES: [&str; 4] =
    ["base_event", "system/file_activity", "system/process_activity", "system/event_log_activity"];
const OBJECTS: [&str; 19] = [
    "account",
    "actor",
    "container",
    "device",
    "feature",
    "file",
    "fingerprint",
    "group",
    "image",
    "metadata",
    "module",
    "object",
    "os",
    "policy",
    "process",
    "process_entity",
    "product",
    "session",
    "user",
];

#[test]
#[ignore = "needs OCSF's schema files: GRAVEN_OCSF_SCHEMA=DIR"]
fn derive_gives_the_table_that_is_here() {
    let folder =
        std::env::var_os("GRAVEN_OCSF_SCHEMA").expect("GRAVEN_OCSF_SCHEMA=DIR names OCSF's schema files");
    let derived = Schema::read(Path::new(&folder)).table();
    let text = serde_json::to_string(&derived).unwrap().replace("},\"", "},\n\"") + "\n";
    if std::env::var("GRAVEN_GOLDEN").is_ok_and(|value| value == "write") {
        fs::write(table::path(), text).unwrap();
    } else {
        assert_eq!(fs::read_to_string(table::path()).unwrap(), text);
    }
}

struct Schema {
    folder: PathBuf,
    dictionary: Value,
}

/// An attribute or a class, while levels are laid over each other.
type Layer = Map<String, Value>;

impl Schema {
    fn read(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), dictionary: file(&folder.join("dictionary.json")) }
    }

    fn table(&self) -> Value {
        let categories = file(&self.folder.join("categories.json"));
        let mut types = BTreeSet::new();
        let mut classes = BTreeMap::new();
        for name in CLASSES {
            let class = file(&self.folder.join(format!("events/{name}.json")));
            let category = if name == "base_event" {
                json!(0)
            } else {
                categories["attributes"]["system"]["uid"].clone()
            };
            let uid = category.as_u64().unwrap() * 1000 + class["uid"].as_u64().unwrap_or(0);
            let mut entry = self.entry(&self.class(name), &mut types);
            entry.insert("category_uid".into(), category);
            entry.insert("name".into(), class["caption"].clone());
            classes.insert(uid.to_string(), entry);
        }
        let objects: BTreeMap<_, _> =
            OBJECTS.iter().map(|name| (*name, self.entry(&self.object(name), &mut types))).collect();
        let all = &self.dictionary["types"]["attributes"];
        let types: BTreeMap<_, _> = types
            .iter()
            .filter(|name| all.get(name).is_some())
            .map(|name| {
                let definition = &all[name];
                let base = definition.get("type").map_or(name.as_str(), |base| base.as_str().unwrap());
                (name, json!({"base": base, "regex": definition.get("regex")}))
            })
            .collect();
        json!({"version": file(&self.folder.join("version.json"))["version"], "types": types, "classes": classes, "objects": objects})
    }

    /// A class with those it extends beneath it.
    fn class(&self, name: &str) -> Layer {
        let own = file(&self.folder.join(format!("events/{name}.json")));
        let base = match own["extends"].as_str() {
            None => Layer::new(),
            Some("base_event") => self.class("base_event"),
            Some(base) => self.class(&format!("system/{base}")),
        };
        self.lay(base, &own)
    }

    /// An object with those it extends beneath it, and with what the Linux extension adds.
    fn object(&self, name: &str) -> Layer {
        let own = file(&self.folder.join(format!("objects/{name}.json")));
        let base = own["extends"].as_str().map(|base| self.object(base)).unwrap_or_default();
        let plain = self.lay(base, &own);
        let extension = self.folder.join(format!("extensions/linux/objects/{name}.json"));
        if extension.exists() { self.lay(plain, &file(&extension)) } else { plain }
    }

    /// `own` over `base`, with its includes.
    fn lay(&self, mut base: Layer, own: &Value) -> Layer {
        let mut attributes =
            base.remove("attributes").and_then(|a| a.as_object().cloned()).unwrap_or_default();
        for (name, attribute) in own["attributes"].as_object().unwrap() {
            if name == "$include" {
                let paths = attribute.as_array().unwrap().iter().map(|path| path.as_str().unwrap());
                paths.for_each(|path| self.include(path, &mut attributes));
            } else {
                cover(&mut attributes, name, attribute);
            }
        }
        base.insert("attributes".into(), attributes.into());
        if let Some(constraints) = own.get("constraints") {
            base.insert("constraints".into(), constraints.clone());
        }
        base
    }

    /// A profile's attributes count only in events that name the profile.
    fn include(&self, path: &str, attributes: &mut Layer) {
        let linux = self.folder.join("extensions/linux").join(path);
        let (profile, prefix) = match linux.exists() {
            true => (file(&linux), "linux/"),
            false => (file(&self.folder.join(path)), ""),
        };
        let name = format!("{prefix}{}", profile["name"].as_str().unwrap());
        for (attribute, definition) in profile["attributes"].as_object().unwrap() {
            let mut definition = definition.clone();
            definition["profile"] = json!(name);
            cover(attributes, attribute, &definition);
        }
    }

    /// What the table says of a class or object.
    fn entry(&self, layer: &Layer, types: &mut BTreeSet<String>) -> Layer {
        let mut attributes = Layer::new();
        for (name, own) in layer["attributes"].as_object().unwrap() {
            let word = &self.dictionary["attributes"][name];
            let kind = own.get("type").unwrap_or(&word["type"]).as_str().unwrap().to_owned();
            types.insert(kind.clone());
            let mut entry = Layer::new();
            entry.insert("type".into(), kind.into());
            for (key, value) in
                [("is_array", &word["is_array"]), ("profile", &own["profile"]), ("sibling", &word["sibling"])]
            {
                if !value.is_null() {
                    entry.insert(key.into(), value.clone());
                }
            }
            if own["requirement"] == "required" {
                entry.insert("required".into(), true.into());
            }
            let captions: BTreeMap<u64, &Value> = [&word["enum"], &own["enum"]]
                .into_iter()
                .filter_map(Value::as_object)
                .flatten()
                .map(|(number, value)| (number.parse().unwrap(), &value["caption"]))
                .collect();
            if !captions.is_empty() {
                let captions =
                    captions.into_iter().map(|(number, caption)| (number.to_string(), caption.clone()));
                entry.insert("enum".into(), Value::Object(captions.collect()));
            }
            attributes.insert(name.clone(), entry.into());
        }
        let mut out = Layer::new();
        out.insert("attributes".into(), attributes.into());
        out.insert("constraints".into(), layer.get("constraints").cloned().unwrap_or(json!({})));
        out
    }
}

/// One level's words about an attribute over those beneath; enums grow.
fn cover(attributes: &mut Layer, name: &str, upper: &Value) {
    let lower = attributes.entry(name).or_insert_with(|| json!({}));
    for (key, value) in upper.as_object().unwrap() {
        match (key.as_str(), lower[key].as_object_mut(), value.as_object()) {
            ("enum", Some(lower), Some(upper)) => lower.extend(upper.clone()),
            _ => lower[key] = value.clone(),
        }
    }
}

fn file(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}
