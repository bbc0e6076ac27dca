//! What an image made of changes says about itself: what its parent says, changed.

use serde_json::{Map, Value, json};

use super::write::Form;
use super::{Error, Kind, Result};
use crate::schema::patch::{self, Edit, List};
use crate::schema::{self, AcIdentifier, ImageId};

/// How the manifest of an image comes from its parent's: what stands later changes what stands before.
#[derive(Clone, Debug)]
pub struct Describe {
    /// The parent's ID.
    pub parent: ImageId,
    /// The parent's manifest.
    pub manifest: Vec<u8>,
    /// Keys that take the place of the parent's, all with what is in them; one that is `null` takes it away.
    pub instead: Option<Map<String, Value>>,
    /// The image's name, and its version where it says one. Without one, the parent's version is not the image's.
    pub name: Option<(AcIdentifier, Option<String>)>,
    /// Changes as `actool patch-manifest` makes them.
    pub edits: Vec<Edit>,
}

impl Describe {
    /// The manifest, valid.
    ///
    /// # Errors
    /// [`Kind::Refused`] naming the place and the clause.
    pub fn manifest(&self, form: &Form) -> Result<Vec<u8>> {
        let refused = || Error::new(Kind::Refused, "make the image's manifest");
        let no_object = || refused().because("the parent's is no object");
        let parent: Value = serde_json::from_slice(&self.manifest).map_err(|error| refused().because(error))?;
        let mut manifest = parent.clone();
        let object = manifest.as_object_mut().ok_or_else(no_object)?;
        for (key, value) in self.instead.iter().flatten() {
            if let "dependencies" | "pathWhitelist" = key.as_str() {
                return Err(refused().because(ours(key)));
            }
            match value {
                Value::Null => drop(object.shift_remove(key)),
                value => drop(object.insert(key.clone(), value.clone())),
            }
        }
        if let Some((name, version)) = &self.name {
            object.insert("name".to_owned(), json!(name));
            if let Some(Value::Array(labels)) = object.get_mut("labels") {
                labels.retain(|label| label.get("name") != Some(&json!("version")));
            }
            if let Some(version) = version {
                let label = Edit::Put(List::Labels, json!({ "name": "version", "value": version }));
                patch::apply(&mut manifest, &[label]).map_err(|error| refused().because(error))?;
            }
        }
        for edit in &self.edits {
            if let Edit::Put(list @ (List::Dependencies | List::PathWhitelist), _)
            | Edit::Remove(list @ (List::Dependencies | List::PathWhitelist), _) = edit
            {
                return Err(refused().because(ours(match list {
                    List::Dependencies => "dependencies",
                    _ => "pathWhitelist",
                })));
            }
        }
        patch::apply(&mut manifest, &self.edits).map_err(|error| refused().because(error))?;
        let object = manifest.as_object_mut().ok_or_else(no_object)?;
        for key in ["dependencies", "pathWhitelist"] {
            object.shift_remove(key);
        }
        if object.get("labels").and_then(Value::as_array).is_some_and(Vec::is_empty) {
            object.shift_remove("labels");
        }
        if let Form::Derived { whitelist } = form {
            let mut dependency = json!({ "imageName": parent.get("name"), "imageID": self.parent });
            if let Some(labels) = parent.get("labels") {
                dependency["labels"] = labels.clone();
            }
            object.insert("dependencies".to_owned(), json!([dependency]));
            if !whitelist.is_empty() {
                object.insert("pathWhitelist".to_owned(), json!(whitelist));
            }
        }
        let mut text = serde_json::to_vec(&manifest).map_err(|error| refused().because(error))?;
        text.push(b'\n');
        match schema::image_manifest_and_findings(&text, &schema::Options::default()) {
            Ok(_) => Ok(text),
            Err(found) => Err(refused().manifest(&found)),
        }
    }

    /// Whether nothing but changes of files would tell the image from its parent.
    pub fn is_the_parents(&self) -> bool {
        let named = self.instead.as_ref().is_some_and(|keys| keys.contains_key("name"));
        self.name.is_none() && !named && !self.edits.iter().any(|edit| matches!(edit, Edit::Set("name", _)))
    }
}

fn ours(key: &str) -> String {
    format!("what stands in `{key}` follows from what was changed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn describe(over: Value) -> Describe {
        let manifest = json!({
            "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/parent", "novel": 1,
            "labels": [{ "name": "os", "value": "linux" }, { "name": "version", "value": "1" }],
            "dependencies": [{ "imageName": "example.com/below" }], "pathWhitelist": ["/a"],
        });
        Describe {
            parent: ImageId::from_digest(&[1; 64]),
            manifest: manifest.to_string().into_bytes(),
            instead: over.as_object().cloned(),
            name: None,
            edits: Vec::new(),
        }
    }

    fn made(describe: &Describe, form: &Form) -> Value {
        serde_json::from_slice(&describe.manifest(form).unwrap()).unwrap()
    }

    #[test]
    fn an_image_depends_on_its_parent_by_all_that_tells_it_and_on_nothing_else() {
        let made = made(&describe(json!(null)), &Form::Derived { whitelist: vec!["/b".to_owned()] });
        let dependency = json!({
            "imageName": "example.com/parent", "imageID": ImageId::from_digest(&[1; 64]),
            "labels": [{ "name": "os", "value": "linux" }, { "name": "version", "value": "1" }],
        });
        assert_eq!((&made["dependencies"], &made["pathWhitelist"]), (&json!([dependency]), &json!(["/b"])));
        assert_eq!(made["novel"], 1);
    }

    #[test]
    fn a_flat_image_depends_on_nothing() {
        let made = made(&describe(json!(null)), &Form::Flat { because: None });
        assert_eq!((made.get("dependencies"), made.get("pathWhitelist")), (None, None));
    }

    #[test]
    fn a_new_name_is_no_version_of_the_old_one_and_edits_come_last() {
        let mut describe = describe(json!({ "name": "example.com/first", "novel": null }));
        describe.name = Some(("example.com/second".parse().unwrap(), None));
        describe.edits = vec![Edit::Put(List::Labels, json!({ "name": "version", "value": "9" }))];
        let made = made(&describe, &Form::Flat { because: None });
        assert_eq!((made["name"].as_str(), made.get("novel")), (Some("example.com/second"), None));
        assert_eq!(made["labels"][1], json!({ "name": "version", "value": "9" }));
    }

    #[test]
    fn what_the_build_decides_and_what_is_not_valid_is_refused_by_name() {
        let form = Form::Flat { because: None };
        for (over, what) in [
            (json!({ "dependencies": [] }), "dependencies"),
            (json!({ "pathWhitelist": ["/x"] }), "pathWhitelist"),
            (json!({ "name": "Not A Name" }), "manifest:1:"),
            (json!({ "app": { "exec": ["x"], "user": "0" } }), "group"),
        ] {
            let error = describe(over).manifest(&form).unwrap_err();
            assert!(crate::error::chain(&error).contains(what), "{error:?}");
        }
    }
}
