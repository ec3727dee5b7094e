//! Is a JSON value an event of OCSF 1.8.0? Checked against the table that was derived from the schema.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use regex::Regex;
use serde_json::{Map, Value};

pub(crate) fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/ocsf-1.8.0/table.json")
}

fn table() -> &'static Value {
    static TABLE: OnceLock<Value> = OnceLock::new();
    TABLE.get_or_init(|| {
        let text =
            std::fs::read_to_string(path()).expect("the table is at tests/fixtures/ocsf-1.8.0/table.json");
        serde_json::from_str(&text).unwrap()
    })
}

/// Everything that is wrong with an event; empty = it is one.
pub(crate) fn faults(event: &Value) -> Vec<String> {
    let mut check = Check { profiles: profiles(event), faults: Vec::new() };
    let class = event["class_uid"].to_string();
    match table()["classes"].get(&class) {
        None => check.faults.push(format!("class_uid: {class} is not in the table")),
        Some(class) => {
            check.numbers(event, class);
            check.object("", event, class);
        }
    }
    check.faults
}

fn profiles(event: &Value) -> Vec<String> {
    let named = event["metadata"]["profiles"].as_array();
    named.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}

struct Check {
    profiles: Vec<String>,
    faults: Vec<String>,
}

impl Check {
    fn fault(&mut self, at: &str, what: impl Into<String>) {
        self.faults.push(format!("{at}: {}", what.into()));
    }

    fn numbers(&mut self, event: &Value, class: &Value) {
        let number = |name: &str| event[name].as_u64();
        let type_uid =
            number("class_uid").zip(number("activity_id")).map(|(class, activity)| class * 100 + activity);
        if number("type_uid") != type_uid {
            self.fault("type_uid", format!("{} is not class * 100 + activity", event["type_uid"]));
        }
        if event["category_uid"] != class["category_uid"] {
            self.fault("category_uid", format!("{} is not the class's", event["category_uid"]));
        }
        if event["metadata"]["version"] != table()["version"] {
            self.fault("metadata.version", "is not the table's");
        }
    }

    /// Attributes of a class or object: known, there when required, of the right type; constraints hold.
    fn object(&mut self, at: &str, value: &Value, definition: &Value) {
        let Some(object) = value.as_object() else {
            return self.fault(at, "is not an object");
        };
        let attributes = definition["attributes"].as_object().unwrap();
        for (name, value) in object {
            let at = format!("{at}.{name}");
            match attributes.get(name).filter(|attribute| self.in_force(attribute)) {
                None => self.fault(&at, "is not an attribute here"),
                Some(attribute) => self.attribute(&at, value, attribute, object),
            }
        }
        for (name, attribute) in attributes {
            if attribute["required"] == true && self.in_force(attribute) && !object.contains_key(name) {
                self.fault(&format!("{at}.{name}"), "is required and missing");
            }
        }
        self.constraints(at, object, &definition["constraints"]);
    }

    /// An attribute of a profile counts only when the event names the profile.
    fn in_force(&self, attribute: &Value) -> bool {
        attribute["profile"].as_str().is_none_or(|profile| self.profiles.iter().any(|name| name == profile))
    }

    fn constraints(&mut self, at: &str, object: &Map<String, Value>, constraints: &Value) {
        for (kind, names) in constraints.as_object().into_iter().flatten() {
            let names = names.as_array().unwrap();
            let there = names.iter().filter(|name| object.contains_key(name.as_str().unwrap())).count();
            match kind.as_str() {
                "at_least_one" if there == 0 => self.fault(at, format!("needs one of {names:?}")),
                "just_one" if there != 1 => self.fault(at, format!("needs exactly one of {names:?}")),
                "at_least_one" | "just_one" => {}
                other => self.fault(at, format!("constraint {other} is not known")),
            }
        }
    }

    fn attribute(&mut self, at: &str, value: &Value, attribute: &Value, around: &Map<String, Value>) {
        if attribute["is_array"] == true {
            let Some(items) = value.as_array() else {
                return self.fault(at, "is not an array");
            };
            items.iter().enumerate().for_each(|(n, item)| self.value(&format!("{at}[{n}]"), item, attribute));
        } else {
            self.value(at, value, attribute);
            self.caption(at, value, attribute, around);
        }
    }

    /// The word beside a number must be the number's, unless the number says "other".
    fn caption(&mut self, at: &str, value: &Value, attribute: &Value, around: &Map<String, Value>) {
        let Some(word) = attribute["sibling"].as_str().and_then(|sibling| around.get(sibling)) else {
            return;
        };
        let caption = attribute["enum"].get(value.to_string());
        if value != 99 && caption.is_some_and(|caption| caption != word) {
            self.fault(at, format!("{value} is {}, not {word}", attribute["enum"][value.to_string()]));
        }
    }

    fn value(&mut self, at: &str, value: &Value, attribute: &Value) {
        let kind = attribute["type"].as_str().unwrap();
        match table()["types"].get(kind) {
            Some(kind) => self.simple(at, value, kind),
            // The bare object holds anything.
            None if kind == "object" && value.is_object() => {}
            None => match table()["objects"].get(kind) {
                Some(definition) => self.object(at, value, definition),
                None => self.fault(at, format!("object {kind} is not in the table")),
            },
        }
        if attribute["enum"].is_object() && attribute["enum"].get(value.to_string()).is_none() {
            // Classes and categories name their own number elsewhere.
            if !matches!(at, ".class_uid" | ".category_uid") {
                self.fault(at, format!("{value} is not in the enum"));
            }
        }
    }

    fn simple(&mut self, at: &str, value: &Value, kind: &Value) {
        let fits = match kind["base"].as_str().unwrap() {
            "string_t" => value.is_string(),
            "integer_t" | "long_t" => value.is_i64(),
            "boolean_t" => value.is_boolean(),
            "float_t" => value.is_f64(),
            "json_t" => true,
            other => panic!("type {other} is not known"),
        };
        let matches = kind["regex"]
            .as_str()
            .is_none_or(|regex| value.as_str().is_some_and(|text| matches(regex, text)));
        if !fits || !matches {
            self.fault(at, format!("{value} is not of type {kind}"));
        }
    }
}

/// Compiled once: a schema has a handful.
fn matches(regex: &str, text: &str) -> bool {
    static COMPILED: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());
    let mut compiled = COMPILED.lock().unwrap();
    compiled.entry(regex.to_owned()).or_insert_with(|| Regex::new(regex).unwrap()).is_match(text)
}

mod tests {
    use serde_json::json;

    use super::faults;
    use crate::fixed;

    /// An event that the table takes, changed so that it must not.
    fn spoiled(spoil: impl FnOnce(&mut serde_json::Value)) -> Vec<String> {
        let mut event = fixed::rendered("open");
        assert_eq!(faults(&event), Vec::<String>::new());
        spoil(&mut event);
        faults(&event)
    }

    #[test]
    fn a_missing_required_attribute_is_found() {
        let found = spoiled(|event| drop(event.as_object_mut().unwrap().shift_remove("device")));
        assert_eq!(found, [".device: is required and missing"]);
        let found = spoiled(|event| drop(event["file"].as_object_mut().unwrap().shift_remove("type_id")));
        assert_eq!(found, [".file.type_id: is required and missing"]);
    }

    #[test]
    fn an_unknown_attribute_is_found() {
        assert_eq!(
            spoiled(|event| event["file"]["inode"] = json!(1)),
            [".file.inode: is not an attribute here"]
        );
    }

    #[test]
    fn an_attribute_of_a_profile_that_is_not_named_is_found() {
        let found = spoiled(|event| event["metadata"]["profiles"] = json!(["host", "security_control"]));
        assert!(found.contains(&".actor.process.auid: is not an attribute here".to_owned()), "{found:?}");
    }

    #[test]
    fn a_wrong_type_is_found() {
        assert_eq!(spoiled(|event| event["time"] = json!("now")).len(), 1);
        assert_eq!(spoiled(|event| event["time"] = json!(1.5)).len(), 1);
        assert_eq!(spoiled(|event| event["file"]["name"] = json!(1)).len(), 1);
        assert_eq!(spoiled(|event| event["is_alert"] = json!("yes")).len(), 1);
        assert_eq!(spoiled(|event| event["device"]["os_machine_uuid"] = json!("x")).len(), 1);
        assert_eq!(spoiled(|event| event["actor"]["process"]["ancestry"] = json!({})).len(), 1);
        assert_eq!(spoiled(|event| event["actor"]["process"] = json!(7)).len(), 1);
    }

    #[test]
    fn a_number_outside_its_enum_or_with_the_wrong_word_is_found() {
        assert_eq!(spoiled(|event| event["severity_id"] = json!(7)).len(), 1);
        assert_eq!(spoiled(|event| event["severity"] = json!("Low")).len(), 1);
    }

    #[test]
    fn a_broken_constraint_is_found() {
        let found = spoiled(|event| event["actor"] = json!({}));
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn a_type_uid_of_another_activity_is_found() {
        assert_eq!(spoiled(|event| event["type_uid"] = json!(100_199)).len(), 1);
        assert_eq!(spoiled(|event| event["category_uid"] = json!(2)).len(), 1);
        assert_eq!(spoiled(|event| event["class_uid"] = json!(4001)).len(), 1);
    }
}
