//! Changes of documents by pointers with wildcards, and validators that forget a rule.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::driver::Answer;

/// Takes out what stands at each pointer, where it stands.
pub fn unset(document: &mut Value, pointers: &[String]) {
    for pointer in pointers {
        each(document, pointer, &mut |holder, name| match holder {
            Value::Object(map) => drop(map.shift_remove(name)),
            Value::Array(list) => {
                if let Some(at) = name.parse::<usize>().ok().filter(|at| *at < list.len()) {
                    list.remove(at);
                }
            }
            _ => {}
        });
    }
}

/// Replaces what stands at each pointer, where it stands.
pub fn set(document: &mut Value, values: &BTreeMap<String, Value>) {
    for (pointer, value) in values {
        each(document, pointer, &mut |holder, name| {
            let place = match holder {
                Value::Object(map) => map.get_mut(name),
                Value::Array(list) => name.parse::<usize>().ok().and_then(|at| list.get_mut(at)),
                _ => None,
            };
            if let Some(place) = place {
                place.clone_from(value);
            }
        });
    }
}

/// Calls with every holder and last step that a pointer leads to.
fn each(document: &mut Value, pointer: &str, change: &mut dyn FnMut(&mut Value, &str)) {
    let steps: Vec<&str> = pointer.split('/').skip(1).collect();
    walk(document, &steps, change);
}

fn walk(place: &mut Value, steps: &[&str], change: &mut dyn FnMut(&mut Value, &str)) {
    match steps {
        [] => {}
        [last] => change(place, last),
        ["*", rest @ ..] => match place {
            Value::Array(list) => list.iter_mut().for_each(|one| walk(one, rest, change)),
            Value::Object(map) => map.values_mut().for_each(|one| walk(one, rest, change)),
            _ => {}
        },
        [step, rest @ ..] => {
            let next = match place {
                Value::Array(list) => step.parse::<usize>().ok().and_then(|at| list.get_mut(at)),
                other => other.get_mut(*step),
            };
            if let Some(next) = next {
                walk(next, rest, change);
            }
        }
    }
}

/// Takes diagnostics of some clauses out of a validator's JSON; one that had no other error accepts.
pub fn forget(answer: &mut Answer, fronts: &[String]) {
    let Ok(mut said) = serde_json::from_str::<Value>(&answer.stdout) else { return };
    if fronts.is_empty() {
        return;
    }
    prune(&mut said, fronts);
    if errors(&said) == 0 && answer.code == Some(1) {
        answer.code = Some(0);
    }
    answer.stdout = said.to_string();
}

fn prune(value: &mut Value, fronts: &[String]) {
    match value {
        Value::Array(list) => {
            list.retain(|one| {
                !one["clause"]
                    .as_str()
                    .is_some_and(|clause| fronts.iter().any(|front| clause.starts_with(front.as_str())))
            });
            list.iter_mut().for_each(|one| prune(one, fronts));
        }
        Value::Object(map) => map.values_mut().for_each(|one| prune(one, fronts)),
        _ => {}
    }
}

fn errors(value: &Value) -> usize {
    match value {
        Value::Array(list) => list.iter().map(errors).sum(),
        Value::Object(map) => {
            usize::from(map.get("severity").is_some_and(|word| word == "error"))
                + map.values().map(errors).sum::<usize>()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn wildcards_reach_every_member() {
        let mut document = json!({ "apps": [{ "x": 1 }, { "x": 2, "y": 3 }] });
        unset(&mut document, &["/apps/*/x".into()]);
        set(&mut document, &BTreeMap::from([("/apps/*/y".into(), json!(4)), ("/apps/*/z".into(), json!(5))]));
        assert_eq!(document, json!({ "apps": [{}, { "y": 4 }] }));
    }

    #[test]
    fn a_forgotten_rule_leaves_the_others_standing() {
        let said = json!([{ "clause": "a.b", "severity": "error" }, { "clause": "c.d", "severity": "error" }]);
        let mut answer = Answer { code: Some(1), stdout: said.to_string(), ..Answer::default() };
        forget(&mut answer, &["a.".into()]);
        assert_eq!(answer.code, Some(1));
        forget(&mut answer, &["c.".into()]);
        assert_eq!(answer.code, Some(0));
    }
}
