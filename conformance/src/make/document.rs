//! Documents from a base and changes by JSON pointer.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Puts a value at a pointer; objects on the way are made, `-` adds to a list.
pub fn set(document: &mut Value, pointer: &str, value: Value) -> Result<(), String> {
    let steps: Vec<String> =
        pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
    let mut place = document;
    for step in &steps {
        place = match place {
            Value::Array(list) => {
                let at = if step == "-" {
                    list.len()
                } else {
                    step.parse().map_err(|_| format!("no place {step} in {pointer}"))?
                };
                if at == list.len() {
                    list.push(Value::Null);
                }
                list.get_mut(at).ok_or_else(|| format!("no place {step} in {pointer}"))?
            }
            other => {
                if !other.is_object() {
                    *other = Value::Object(Map::new());
                }
                match other {
                    Value::Object(map) => map.entry(step.as_str()).or_insert(Value::Null),
                    _ => return Err(format!("no object at {step} in {pointer}")),
                }
            }
        };
    }
    *place = value;
    Ok(())
}

/// Takes out what stands at a pointer.
pub fn unset(document: &mut Value, pointer: &str) -> Result<(), String> {
    let (parent, last) = pointer.rsplit_once('/').ok_or_else(|| format!("no pointer: {pointer}"))?;
    match document.pointer_mut(parent) {
        Some(Value::Object(map)) => map.shift_remove(last).map(drop).ok_or_else(|| format!("nothing at {pointer}")),
        Some(Value::Array(list)) => match last.parse::<usize>() {
            Ok(at) if at < list.len() => {
                list.remove(at);
                Ok(())
            }
            _ => Err(format!("nothing at {pointer}")),
        },
        _ => Err(format!("nothing at {parent}")),
    }
}

/// A base with all changes.
pub fn changed(
    base: &Value,
    values: &BTreeMap<String, Value>,
    unsets: &[String],
    nulls: &[String],
) -> Result<Value, String> {
    let mut document = base.clone();
    for pointer in unsets {
        unset(&mut document, pointer)?;
    }
    for pointer in nulls {
        set(&mut document, pointer, Value::Null)?;
    }
    for (pointer, value) in values {
        set(&mut document, pointer, value.clone())?;
    }
    Ok(document)
}

/// Lays `over` onto `under`: objects grow, everything else is replaced.
pub fn overlay(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                overlay(under.entry(name.as_str()).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}

/// Replaces `{name}` in every text of a document.
pub fn filled(document: &mut Value, values: &BTreeMap<String, String>) {
    match document {
        Value::String(text) => *text = fill(text, values),
        Value::Array(list) => list.iter_mut().for_each(|one| filled(one, values)),
        Value::Object(map) => map.values_mut().for_each(|one| filled(one, values)),
        _ => {}
    }
}

/// Replaces `{name}` for the names known; anything else in braces stays.
pub fn fill(text: &str, values: &BTreeMap<String, String>) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn changes_reach_into_lists_and_make_what_is_missing() {
        let base = json!({ "a": [{ "b": 1 }] });
        let values =
            BTreeMap::from([("/a/0/b".into(), json!(2)), ("/a/-".into(), json!(3)), ("/c/d".into(), json!(4))]);
        assert_eq!(
            changed(&base, &values, &[], &["/n".into()]),
            Ok(json!({ "a": [{ "b": 2 }, 3], "n": null, "c": { "d": 4 } }))
        );
        assert!(changed(&base, &BTreeMap::new(), &["/x".into()], &[]).is_err(), "a slip in a case must not go unseen");
    }
}
