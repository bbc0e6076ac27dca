//! What holds for every pod and every request.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::Method;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;

/// Annotations as a manifest has them; names repeat between image and app often, and never within one list.
type Annotations = Option<Vec<(String, String)>>;

#[derive(Debug, Clone)]
struct Planned {
    annotations: Annotations,
    apps: Vec<(String, Annotations, Annotations, String)>,
}

fn annotations() -> impl Strategy<Value = Annotations> {
    let one = ("[a-c]{1,2}", any::<String>());
    proptest::option::of(vec(one, 0..5).prop_map(|list| {
        let mut seen = std::collections::HashSet::new();
        list.into_iter().filter(|(name, _)| seen.insert(name.clone())).collect()
    }))
}

fn planned() -> impl Strategy<Value = Planned> {
    let app = (annotations(), annotations(), "[0-9a-f]{128}");
    (annotations(), proptest::collection::btree_map("[a-z0-9]{1,4}(-[a-z0-9]{1,3})?", app, 0..4)).prop_map(
        |(annotations, apps)| {
            let apps = apps.into_iter().map(|(name, (image, app, id))| (name, image, app, format!("sha512-{id}")));
            Planned { annotations, apps: apps.collect() }
        },
    )
}

fn listed(annotations: &Annotations) -> Value {
    let one = |(name, value): &(String, String)| json!({ "name": name, "value": value });
    annotations.as_ref().map_or(Value::Null, |list| list.iter().map(one).collect())
}

fn with_annotations(mut manifest: Value, annotations: &Annotations) -> Value {
    if annotations.is_some() {
        manifest["annotations"] = listed(annotations);
    }
    manifest
}

/// The slow way: each name in the order in which it is first met, with the last value given to it.
fn merged(image: &Annotations, app: &Annotations) -> Annotations {
    if image.is_none() && app.is_none() {
        return None;
    }
    let all: Vec<_> = image.iter().chain(app).flatten().cloned().collect();
    let mut merged: Vec<(String, String)> = Vec::new();
    for (name, _) in &all {
        let last = all.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.clone());
        if !merged.iter().any(|(known, _)| known == name) {
            merged.push((name.clone(), last.unwrap()));
        }
    }
    Some(merged)
}

fn a_key() -> HmacKey {
    HmacKey::read(format!("{}==", "A".repeat(86)).as_bytes()).unwrap()
}

/// A pod's UUID, token and manifest.
type Made = (Uuid, Token, Vec<u8>);

fn pods(planned: &[&Planned]) -> (Arc<Pods>, Vec<Made>) {
    let pods = Pods::new(a_key());
    let made = planned.iter().map(|planned| {
        let apps = planned
            .apps
            .iter()
            .map(|(name, _, app, id)| with_annotations(json!({ "name": name, "image": { "id": id } }), app));
        let manifest = json!({ "acKind": "PodManifest", "apps": apps.collect::<Vec<_>>() });
        let manifest = with_annotations(manifest, &planned.annotations).to_string().into_bytes();
        let facts = Facts {
            uuid: Uuid::new_v4(),
            token: Token::generate().unwrap(),
            pod_manifest: manifest.clone(),
            image_manifests: planned
                .apps
                .iter()
                .map(|(name, image, ..)| (name.clone(), image_manifest(image)))
                .collect(),
        };
        let (uuid, token) = (facts.uuid, facts.token.clone());
        assert!(pods.insert(Pod::new(facts).unwrap()));
        (uuid, token, manifest)
    });
    let made = made.collect();
    (Arc::new(pods), made)
}

fn image_manifest(annotations: &Annotations) -> Vec<u8> {
    let manifest = with_annotations(json!({ "acKind": "ImageManifest", "name": "x" }), annotations);
    format!("{manifest:#}\n").into_bytes()
}

fn get(pods: &Pods, token: &Token, path: &str) -> Answer {
    let path = format!("/{}/acMetadata/v1/{path}", token.as_str());
    pods.answer(&Asked { method: &Method::GET, path: &path, content_type: None, body: b"" })
}

proptest! {
    #[test]
    fn what_is_told_parses_to_what_was_planned(planned in planned()) {
        let (pods, made) = pods(&[&planned]);
        let (uuid, token, manifest) = &made[0];
        let told = |path: &str| {
            let answer = get(&pods, token, path);
            assert_eq!(answer.status, 200, "{path}");
            answer.body
        };
        let parsed = |path: &str| serde_json::from_slice::<Value>(&told(path)).unwrap();
        prop_assert_eq!(told("pod/uuid"), uuid.hyphenated().to_string());
        prop_assert_eq!(&told("pod/manifest"), manifest);
        prop_assert_eq!(parsed("pod/annotations"), listed(&planned.annotations));
        for (name, image, app, id) in &planned.apps {
            prop_assert_eq!(told(&format!("apps/{name}/image/manifest")), image_manifest(image));
            prop_assert_eq!(told(&format!("apps/{name}/image/id")), id);
            prop_assert_eq!(parsed(&format!("apps/{name}/annotations")), listed(&merged(image, app)));
        }
    }

    #[test]
    fn whatever_is_asked_no_other_pod_is_told_about(
        one in planned(),
        other in planned(),
        method in prop_oneof![Just(Method::GET), Just(Method::POST), Just(Method::PUT)],
        rest in vec(prop_oneof![
            Just("acMetadata".to_owned()), Just("v1".to_owned()), Just("pod".to_owned()), Just("apps".to_owned()),
            Just("manifest".to_owned()), Just("..".to_owned()), Just("%2e%2e".to_owned()), Just(String::new()), "\\PC{0,6}",
        ], 0..6),
        body in any::<Vec<u8>>(),
    ) {
        let (pods, made) = pods(&[&one, &other]);
        let [(_, token, _), (foreign, foreign_token, foreign_manifest)] = made.as_slice() else { unreachable!() };
        for path in [
            format!("/{}/{}", token.as_str(), rest.join("/")),
            format!("/{}/../{}/{}", token.as_str(), foreign_token.as_str(), rest.join("/")),
            format!("/{}{}/{}", token.as_str(), foreign_token.as_str(), rest.join("/")),
        ] {
            let answer = pods.answer(&Asked { method: &method, path: &path, content_type: None, body: &body });
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            prop_assert!(!text.contains(&foreign.to_string()) && !text.contains(foreign_token.as_str()));
            prop_assert!(answer.body != foreign_manifest.as_slice() || foreign_manifest == &made[0].2);
        }
    }

    #[test]
    fn a_form_is_what_was_encoded(fields in proptest::collection::btree_map(any::<Vec<u8>>(), any::<Vec<u8>>(), 0..6)) {
        let fields: BTreeMap<Vec<u8>, Vec<u8>> = fields;
        let encoded = |bytes: &[u8]| url::form_urlencoded::byte_serialize(bytes).collect::<String>();
        let body: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        let form = Form::parse(body.join("&").as_bytes()).unwrap();
        prop_assert_eq!(form.fields().collect::<BTreeMap<_, _>>(), fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect());
    }

    #[test]
    fn any_bytes_are_a_form_or_a_mistake_that_is_named(body in any::<Vec<u8>>()) {
        if let Err(error) = Form::parse(&body) {
            prop_assert!(error.to_string().is_ascii());
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn what_a_pod_signs_every_service_of_its_domain_verifies(content in any::<Vec<u8>>(), flip in any::<prop::sample::Index>()) {
        let key = a_key();
        let uuid = Uuid::new_v4();
        use base64::Engine;
        let mut signature = base64::engine::general_purpose::STANDARD.decode(key.sign(uuid, &content).unwrap()).unwrap();
        prop_assert_eq!(key.verify(uuid, &content, &signature), Some(true));
        let bit = flip.index(signature.len() * 8);
        signature[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(key.verify(uuid, &content, &signature), Some(false));
    }

    #[test]
    fn a_connection_survives_any_bytes(request in vec(any::<u8>(), 0..400), valid in any::<bool>()) {
        let planned = Planned { annotations: None, apps: Vec::new() };
        let (pods, made) = pods(&[&planned]);
        let head = if valid { format!("GET /{}/acMetadata/v1/pod/uuid HTTP/1.1\r\nHost: x\r\n\r\n", made[0].1.as_str()) } else { String::new() };
        let response = exchange(&pods, Limits::of_one_pod(), &[head.as_bytes(), &request].concat()).unwrap();
        prop_assert_eq!(valid, response.starts_with(b"HTTP/1.1 200 OK"), "{}", response.escape_ascii());
        prop_assert!(response.is_empty() || response.starts_with(b"HTTP/1."));
    }
}
