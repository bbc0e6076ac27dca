//! Changes to an image manifest that leave the rest of it alone: unknown keys and the order of keys stay.

use serde_json::{Map, Value, json};

use crate::error::Failure;

/// Errors of this module.
pub type Error = Failure<Kind>;

/// What kind of error it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The manifest has no `app` that could be changed.
    NoApp,
    /// What shall be taken away is not there.
    Missing,
    /// A value stands where a list or an object is due.
    Shape,
}

/// A list in an image manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// `labels`.
    Labels,
    /// `annotations`.
    Annotations,
    /// `dependencies`, by their image names.
    Dependencies,
    /// `pathWhitelist`.
    PathWhitelist,
    /// `app.environment`.
    Environment,
    /// `app.mountPoints`.
    MountPoints,
    /// `app.ports`.
    Ports,
    /// `app.isolators`.
    Isolators,
}

impl List {
    fn key(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
            Self::Dependencies => "dependencies",
            Self::PathWhitelist => "pathWhitelist",
            Self::Environment => "environment",
            Self::MountPoints => "mountPoints",
            Self::Ports => "ports",
            Self::Isolators => "isolators",
        }
    }

    fn in_app(self) -> bool {
        matches!(self, Self::Environment | Self::MountPoints | Self::Ports | Self::Isolators)
    }

    /// The name of an item: what tells it from the others.
    fn name(self, item: &Value) -> Option<&str> {
        match self {
            Self::PathWhitelist => item.as_str(),
            Self::Dependencies => item.get("imageName")?.as_str(),
            _ => item.get("name")?.as_str(),
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Gives a key of the manifest a value.
    Set(&'static str, Value),
    /// Gives a key of `app` a value. `exec` makes an `app` where there is none.
    SetApp(&'static str, Value),
    /// Gives the item of that name these members, or adds it. Members that it does not name stay.
    Put(List, Value),
    /// Takes the item of a name away; it must be there.
    Remove(List, String),
    /// Takes isolators of these names away, where they are.
    Clear(&'static [&'static str]),
}

/// Makes changes, in their order. The result is not checked; validation is another call.
///
/// # Errors
/// [`Kind::NoApp`], [`Kind::Missing`], [`Kind::Shape`]. The manifest is of no use then.
pub fn apply(manifest: &mut Value, edits: &[Edit]) -> Result<(), Error> {
    edits.iter().try_for_each(|edit| one(manifest, edit))
}

fn one(manifest: &mut Value, edit: &Edit) -> Result<(), Error> {
    match edit {
        Edit::Set(key, value) => {
            object(manifest, "manifest")?.insert((*key).to_owned(), value.clone());
        }
        Edit::SetApp(key, value) => {
            if *key == "exec" {
                object(manifest, "manifest")?.entry("app").or_insert_with(|| json!({}));
            }
            app(manifest, key)?.insert((*key).to_owned(), value.clone());
        }
        Edit::Put(list, item) => put(items(manifest, *list)?, *list, item),
        Edit::Remove(list, name) => remove(manifest, *list, name)?,
        Edit::Clear(names) => {
            let app = app(manifest, "isolators")?;
            if let Some(Value::Array(isolators)) = app.get_mut("isolators") {
                isolators.retain(|item| !List::Isolators.name(item).is_some_and(|name| names.contains(&name)));
            }
        }
    }
    Ok(())
}

fn put(items: &mut Vec<Value>, list: List, item: &Value) {
    let name = list.name(item);
    match items.iter_mut().find(|other| name.is_some() && list.name(other) == name) {
        Some(Value::Object(there)) => {
            if let Value::Object(members) = item {
                there.extend(members.clone());
            }
        }
        Some(_) => {}
        None => items.push(item.clone()),
    }
}

fn remove(manifest: &mut Value, list: List, name: &str) -> Result<(), Error> {
    let items = items(manifest, list)?;
    let before = items.len();
    items.retain(|item| list.name(item) != Some(name));
    if items.len() == before {
        let what = format!("remove `{name}` from `{}`", list.key());
        return Err(Error::new(Kind::Missing, what).because("it is not there"));
    }
    if items.is_empty() {
        let parent = if list.in_app() { app(manifest, list.key())? } else { object(manifest, "manifest")? };
        parent.shift_remove(list.key());
    }
    Ok(())
}

fn items(manifest: &mut Value, list: List) -> Result<&mut Vec<Value>, Error> {
    let key = list.key();
    let parent = if list.in_app() { app(manifest, key)? } else { object(manifest, "manifest")? };
    parent
        .entry(key)
        .or_insert_with(|| json!([]))
        .as_array_mut()
        .ok_or_else(|| Error::new(Kind::Shape, format!("change `{key}`")).because("it is not a list"))
}

fn app<'m>(manifest: &'m mut Value, key: &str) -> Result<&'m mut Map<String, Value>, Error> {
    let app = object(manifest, "manifest")?.get_mut("app").ok_or_else(|| {
        Error::new(Kind::NoApp, format!("change `{key}` of the app")).because("the manifest has no `app`")
    })?;
    object(app, "app")
}

fn object<'m>(value: &'m mut Value, what: &str) -> Result<&'m mut Map<String, Value>, Error> {
    value
        .as_object_mut()
        .ok_or_else(|| Error::new(Kind::Shape, format!("change the {what}")).because("it is not an object"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_changed_stays_in_its_order() {
        let mut manifest =
            json!({"novel": 1, "labels": [{"x": 1, "name": "os", "value": "linux"}], "name": "a", "app": {"z": 1}});
        let edits = [
            Edit::Set("name", json!("b")),
            Edit::Put(List::Labels, json!({"name": "os", "value": "freebsd"})),
            Edit::Put(List::Labels, json!({"name": "arch", "value": "amd64"})),
            Edit::Put(List::Environment, json!({"name": "A", "value": "1"})),
            Edit::Put(List::PathWhitelist, json!("/a")),
            Edit::Put(List::PathWhitelist, json!("/a")),
        ];
        apply(&mut manifest, &edits).unwrap();
        assert_eq!(
            manifest.to_string(),
            r#"{"novel":1,"labels":[{"x":1,"name":"os","value":"freebsd"},{"name":"arch","value":"amd64"}],"name":"b","app":{"z":1,"environment":[{"name":"A","value":"1"}]},"pathWhitelist":["/a"]}"#
        );
    }

    #[test]
    fn removing_takes_the_empty_list_along_and_misses_what_is_not_there() {
        let mut manifest = json!({"labels": [{"name": "os", "value": "linux"}]});
        apply(&mut manifest, &[Edit::Remove(List::Labels, "os".into())]).unwrap();
        assert_eq!(manifest, json!({}));
        let error = apply(&mut manifest, &[Edit::Remove(List::Labels, "os".into())]).unwrap_err();
        assert_eq!(*error.kind(), Kind::Missing);
    }

    #[test]
    fn only_exec_makes_an_app() {
        let mut manifest = json!({});
        let error = apply(&mut manifest, &[Edit::SetApp("user", json!("0"))]).unwrap_err();
        assert_eq!(*error.kind(), Kind::NoApp);
        apply(&mut manifest, &[Edit::SetApp("exec", json!(["/a"])), Edit::SetApp("user", json!("0"))]).unwrap();
        assert_eq!(manifest, json!({"app": {"exec": ["/a"], "user": "0"}}));
    }
}
