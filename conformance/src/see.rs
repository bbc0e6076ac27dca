//! Findings, the paths that lead to them, and what may be demanded of one.
//!
//! A finding is JSON. A path is written with dots, `main.env.PATH`; a step that holds dots or slashes stands in quotes,
//! `main.stat."/dev/null".kind`; a number is a place in a list.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The steps of a written path.
pub fn steps(path: &str) -> Vec<String> {
    let mut steps = Vec::new();
    let mut step = String::new();
    let mut quoted = false;
    for character in path.chars() {
        match character {
            '"' => quoted = !quoted,
            '.' if !quoted => steps.push(std::mem::take(&mut step)),
            other => step.push(other),
        }
    }
    steps.push(step);
    steps
}

/// What stands at a path, if anything does.
pub fn at<'a>(seen: &'a Value, path: &str) -> Option<&'a Value> {
    steps(path).iter().try_fold(seen, |value, step| match value {
        Value::Object(map) => map.get(step),
        Value::Array(list) => list.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Keeps a finding under a path; what stood there before is replaced, objects grow.
pub fn keep(seen: &mut Value, path: &[&str], value: Value) {
    let Some((first, rest)) = path.split_first() else {
        *seen = value;
        return;
    };
    if !seen.is_object() {
        *seen = Value::Object(Map::new());
    }
    if let Value::Object(map) = seen {
        keep(map.entry(*first).or_insert(Value::Null), rest, value);
    }
}

/// What is demanded of a finding. Several together must all hold.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Demand {
    /// Equal to this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is: Option<Value>,
    /// Anything but this, and there at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not: Option<Value>,
    /// Text in which this regular expression is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// A list, text or object that holds this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub has: Option<Value>,
    /// A list, text or object that does not hold this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lacks: Option<Value>,
    /// A list with just these members in any order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<Vec<Value>>,
    /// There (`true`) or not there (`false`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub there: Option<bool>,
    /// A number not below this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// A number not above this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// Equal to the finding at this path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same: Option<String>,
    /// Not equal to the finding at this path, both being there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
}

impl Demand {
    /// The demand in words, for people who read a report.
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        let mut say = |verb: &str, value: Option<String>| words.extend(value.map(|value| format!("{verb} {value}")));
        say("is", self.is.as_ref().map(Value::to_string));
        say("is not", self.not.as_ref().map(Value::to_string));
        say("matches", self.matches.clone());
        say("has", self.has.as_ref().map(Value::to_string));
        say("lacks", self.lacks.as_ref().map(Value::to_string));
        say("holds only", self.only.as_ref().map(|list| Value::from(list.clone()).to_string()));
        say("is at least", self.at_least.map(|number| number.to_string()));
        say("is at most", self.at_most.map(|number| number.to_string()));
        say("is the same as", self.same.clone());
        say("differs from", self.differs.clone());
        match self.there {
            Some(true) => words.push("is there".into()),
            Some(false) => words.push("is not there".into()),
            None => {}
        }
        words.join(", ")
    }

    /// Whether it demands anything.
    pub fn is_empty(&self) -> bool {
        self.words().is_empty()
    }

    /// Whether a finding meets the demand, else why not.
    pub fn met(&self, found: Option<&Value>, seen: &Value) -> Result<(), String> {
        if let Some(there) = self.there {
            if there != found.is_some() {
                return Err(if there { "not there".into() } else { "it is there".into() });
            }
            if !there {
                return Ok(());
            }
        }
        let found = found.ok_or("not there")?;
        let held = |holds: bool, why: &str| if holds { Ok(()) } else { Err(why.to_owned()) };
        if let Some(wanted) = &self.is {
            held(equal(found, wanted), "it is something else")?;
        }
        if let Some(other) = &self.not {
            held(!equal(found, other), "it is just that")?;
        }
        if let Some(pattern) = &self.matches {
            let pattern = regex::Regex::new(pattern).map_err(|e| format!("the case's pattern is broken: {e}"))?;
            held(pattern.is_match(&text(found)), "the text does not match")?;
        }
        if let Some(member) = &self.has {
            held(holds(found, member), "it does not hold that")?;
        }
        if let Some(member) = &self.lacks {
            held(!holds(found, member), "it holds that")?;
        }
        if let Some(members) = &self.only {
            let list = found.as_array().ok_or("it is no list")?;
            let missing = members.iter().find(|member| !list.iter().any(|one| equal(one, member)));
            let spare = list.iter().find(|one| !members.iter().any(|member| equal(one, member)));
            missing.map_or(Ok(()), |one| Err(format!("{one} is missing")))?;
            spare.map_or(Ok(()), |one| Err(format!("{one} is too much")))?;
        }
        if let Some(least) = self.at_least {
            held(found.as_f64().is_some_and(|number| number >= least), "too small, or no number")?;
        }
        if let Some(most) = self.at_most {
            held(found.as_f64().is_some_and(|number| number <= most), "too large, or no number")?;
        }
        if let Some(other) = &self.same {
            held(at(seen, other).is_some_and(|other| equal(found, other)), "they differ")?;
        }
        if let Some(other) = &self.differs {
            held(
                at(seen, other).is_some_and(|other| !equal(found, other)),
                "they are the same, or the other is not there",
            )?;
        }
        Ok(())
    }
}

/// Equality in which `1` and `1.0` are one number.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| equal(l, r))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len() && left.iter().all(|(name, l)| right.get(name).is_some_and(|r| equal(l, r)))
        }
        _ => left == right,
    }
}

fn holds(found: &Value, member: &Value) -> bool {
    match found {
        Value::Array(list) => list.iter().any(|one| equal(one, member)),
        Value::Object(map) => member.as_str().is_some_and(|name| map.contains_key(name)),
        Value::String(text) => member.as_str().is_some_and(|part| text.contains(part)),
        _ => false,
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quoted_steps_keep_their_dots_and_slashes() {
        assert_eq!(steps(r#"main.stat."/etc/a.conf".kind"#), ["main", "stat", "/etc/a.conf", "kind"]);
        let seen = json!({ "main": { "list": [1, { "x": true }] } });
        assert_eq!(at(&seen, "main.list.1.x"), Some(&json!(true)));
        assert_eq!(at(&seen, "main.list.7"), None);
    }

    #[test]
    fn a_missing_finding_meets_no_demand_but_its_absence() {
        let seen = json!({});
        for demand in [
            Demand { is: Some(json!(null)), ..Demand::default() },
            Demand { not: Some(json!(1)), ..Demand::default() },
            Demand { lacks: Some(json!(1)), ..Demand::default() },
            Demand { at_most: Some(1.0), ..Demand::default() },
            Demand { differs: Some("x".into()), ..Demand::default() },
            Demand { there: Some(true), ..Demand::default() },
        ] {
            assert!(demand.met(None, &seen).is_err(), "{}", demand.words());
        }
        assert!(Demand { there: Some(false), ..Demand::default() }.met(None, &seen).is_ok());
    }

    #[test]
    fn only_names_what_is_missing_and_what_is_too_much() {
        let demand = Demand { only: Some(vec![json!("a"), json!("b")]), ..Demand::default() };
        assert_eq!(demand.met(Some(&json!(["b", "a"])), &json!({})), Ok(()));
        assert_eq!(demand.met(Some(&json!(["a"])), &json!({})), Err("\"b\" is missing".into()));
        assert_eq!(demand.met(Some(&json!(["a", "b", "c"])), &json!({})), Err("\"c\" is too much".into()));
    }
}
