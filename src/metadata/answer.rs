//! Requests to answers, without a socket.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Error, Form, FormError, HmacKey, Kind, Pods, Token};

/// Compared as they stand by clients (mds.json, mds.pod.uuid): no other parameter, this case.
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=us-ascii";
const FORM: &str = "application/x-www-form-urlencoded";

/// What a pod is told about itself. All of it is public to the pod's apps, the token included.
#[derive(Debug)]
pub struct Facts {
    /// The pod's UUID.
    pub uuid: Uuid,
    /// The secret in the pod's URL.
    pub token: Token,
    /// The reified pod manifest, JSON. Pod and app annotations and image ids are taken from it.
    pub pod_manifest: Vec<u8>,
    /// Each app's image manifest, byte for byte as it came, by the app's name in the pod.
    pub image_manifests: BTreeMap<String, Vec<u8>>,
}

impl Facts {
    /// Adds the annotation `ip-address` to the pod manifest, unless it says that itself. Several addresses stand in one
    /// value with commas between, as a name may stand only once.
    ///
    /// # Errors
    /// [`Kind::Manifest`] when the manifest does not parse.
    pub(super) fn tell_addresses(&mut self, addresses: &[IpAddr]) -> Result<(), Error> {
        const NAME: &str = "ip-address";
        if addresses.is_empty() {
            return Ok(());
        }
        let bad = |error: serde_json::Error| Error::new(Kind::Manifest, "add the pod's addresses").because(error);
        let mut manifest: serde_json::Map<_, _> = serde_json::from_slice(&self.pod_manifest).map_err(bad)?;
        let annotations = manifest.entry("annotations").or_insert_with(|| serde_json::json!([]));
        if let Some(annotations) = annotations.as_array_mut()
            && annotations.iter().all(|annotation| annotation["name"] != NAME)
        {
            let value = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            annotations.push(serde_json::json!({ "name": NAME, "value": value }));
            self.pod_manifest = serde_json::to_vec(&manifest).map_err(bad)?;
        }
        Ok(())
    }
}

/// A pod with all its answers rendered.
#[derive(Debug)]
pub struct Pod {
    uuid: Uuid,
    token: Token,
    uuid_text: Bytes,
    manifest: Bytes,
    annotations: Bytes,
    apps: BTreeMap<String, App>,
}

#[derive(Debug)]
struct App {
    annotations: Bytes,
    image_manifest: Bytes,
    image_id: Bytes,
}

/// The parts of manifests that answers are made of. Everything else is shown as it stands.
#[derive(Deserialize)]
struct PodParts {
    annotations: Option<Vec<Annotation>>,
    #[serde(default)]
    apps: Vec<AppParts>,
}

#[derive(Deserialize)]
struct AppParts {
    name: String,
    image: ImageParts,
    annotations: Option<Vec<Annotation>>,
}

#[derive(Deserialize)]
struct ImageParts {
    id: String,
}

#[derive(Deserialize)]
struct Annotated {
    annotations: Option<Vec<Annotation>>,
}

#[derive(Serialize, Deserialize)]
struct Annotation {
    name: String,
    value: String,
}

impl Pod {
    /// Renders all answers.
    ///
    /// # Errors
    /// [`Kind::Manifest`] when a manifest does not parse, or an app has no image manifest.
    pub fn new(facts: Facts) -> Result<Self, Error> {
        let bad = |what: &str| Error::new(Kind::Manifest, format!("read {what} for the metadata service"));
        let mut images = facts.image_manifests;
        let parts: PodParts =
            serde_json::from_slice(&facts.pod_manifest).map_err(|error| bad("the pod manifest").because(error))?;
        let mut apps = BTreeMap::new();
        for app in parts.apps {
            let what = format!("the image manifest of the app {}", app.name);
            let manifest = images.remove(&app.name).ok_or_else(|| bad(&what).because("it was not given"))?;
            let image: Annotated = serde_json::from_slice(&manifest).map_err(|error| bad(&what).because(error))?;
            let annotations = rendered(merged(image.annotations, app.annotations))?;
            let answers = App { annotations, image_manifest: manifest.into(), image_id: app.image.id.into() };
            apps.insert(app.name, answers);
        }
        Ok(Self {
            uuid: facts.uuid,
            token: facts.token,
            uuid_text: facts.uuid.hyphenated().to_string().into(),
            manifest: facts.pod_manifest.into(),
            annotations: rendered(parts.annotations)?,
            apps,
        })
    }

    /// Whose answers these are.
    pub(crate) fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// The secret in the pod's URL.
    pub(crate) fn token(&self) -> &Token {
        &self.token
    }

    /// What there is at `path`, the part behind `/acMetadata/v1/`.
    fn at(&self, path: &[&str]) -> Option<Entry> {
        let json = |body: &Bytes| Some(Entry::Get(Answer::ok(JSON, body.clone())));
        let text = |body: &Bytes| Some(Entry::Get(Answer::ok(TEXT, body.clone())));
        match path {
            ["pod", "annotations"] => json(&self.annotations),
            ["pod", "manifest"] => json(&self.manifest),
            ["pod", "uuid"] => text(&self.uuid_text),
            ["pod", "hmac", "sign"] => Some(Entry::Post(Action::Sign)),
            ["pod", "hmac", "verify"] => Some(Entry::Post(Action::Verify)),
            ["apps", name, "annotations"] => json(&self.apps.get(*name)?.annotations),
            ["apps", name, "image", "manifest"] => json(&self.apps.get(*name)?.image_manifest),
            ["apps", name, "image", "id"] => text(&self.apps.get(*name)?.image_id),
            _ => None,
        }
    }
}

enum Entry {
    Get(Answer),
    Post(Action),
}

/// What a form is posted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Sign the field `content`.
    Sign,
    /// Verify the field `signature` over `content` by the pod `uuid`.
    Verify,
}

/// A request, as far as answers depend on it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path, percent-encoded, without a query.
    pub path: &'a str,
    /// The value of `Content-Type`.
    pub content_type: Option<&'a [u8]>,
    /// The body.
    pub body: &'a [u8],
}

/// A response, but for what HTTP adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: StatusCode,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The value of `Allow`, when the method was wrong.
    pub allow: Option<&'static str>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    fn ok(content_type: &'static str, body: Bytes) -> Self {
        Self { status: StatusCode::OK, content_type, allow: None, body }
    }

    /// A refusal with one line of reason.
    pub(crate) fn refused(status: StatusCode, reason: &str) -> Self {
        Self { status, content_type: TEXT, allow: None, body: format!("{reason}\n").into() }
    }

    fn not_allowed(allow: &'static str) -> Self {
        let reason = format!("this answers to {allow} only");
        Self { allow: Some(allow), ..Self::refused(StatusCode::METHOD_NOT_ALLOWED, &reason) }
    }
}

/// What becomes of a request once its first lines are known.
#[derive(Debug)]
pub enum Route {
    /// It is answered, whatever its body is.
    Done(Answer),
    /// The answer needs the form in its body.
    Form(Arc<Pod>, Action),
}

/// Whom a request is for and what it asks, from method and path alone.
pub fn route(pods: &Pods, method: &Method, path: &str) -> Route {
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
    let Some(pod) = segments.next().and_then(|token| pods.find(token)) else {
        return Route::Done(Answer::refused(
            StatusCode::UNAUTHORIZED,
            "the path does not begin with the token of a pod",
        ));
    };
    let not_found = || Route::Done(Answer::refused(StatusCode::NOT_FOUND, "there is nothing of this name"));
    let mut names = Vec::with_capacity(8);
    for segment in segments {
        // No name that is served has more parts than this, or more than a few hundred bytes.
        if names.len() == 8 {
            return not_found();
        }
        let Some(name) = percent_decoded(segment.as_bytes()) else {
            let reason = "a % in the path is not followed by two hexadecimal digits";
            return Route::Done(Answer::refused(StatusCode::BAD_REQUEST, reason));
        };
        let Ok(name) = String::from_utf8(name) else {
            return Route::Done(Answer::refused(StatusCode::BAD_REQUEST, "the path is not UTF-8"));
        };
        names.push(name);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ["acMetadata", "v1", rest @ ..] = names.as_slice() else { return not_found() };
    match pod.at(rest) {
        Some(Entry::Get(answer)) if matches!(*method, Method::GET | Method::HEAD) => Route::Done(answer),
        Some(Entry::Get(_)) => Route::Done(Answer::not_allowed("GET, HEAD")),
        Some(Entry::Post(action)) if *method == Method::POST => Route::Form(pod, action),
        Some(Entry::Post(_)) => Route::Done(Answer::not_allowed("POST")),
        None => not_found(),
    }
}

/// Whether a body of this `Content-Type` is a form. Without one it is taken for a form.
pub fn is_form(content_type: Option<&[u8]>) -> bool {
    let essence =
        content_type.map_or(FORM.as_bytes(), |value| value.split(|byte| *byte == b';').next().unwrap_or(value));
    essence.trim_ascii().eq_ignore_ascii_case(FORM.as_bytes())
}

/// The answer to a body that is no form.
pub fn not_a_form() -> Answer {
    Answer::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body is not application/x-www-form-urlencoded")
}

/// Signs or verifies what the form says, for the pod that asks.
pub fn act(key: &HmacKey, pod: &Pod, action: Action, body: &[u8]) -> Answer {
    let done = Form::parse(body).and_then(|form| match action {
        Action::Sign => {
            Ok(key.sign(pod.uuid, form.field("content")?).map_or_else(keyless, |text| Answer::ok(TEXT, text.into())))
        }
        Action::Verify => verify(key, &form),
    });
    done.unwrap_or_else(|error| Answer::refused(StatusCode::BAD_REQUEST, &error.to_string()))
}

fn verify(key: &HmacKey, form: &Form) -> Result<Answer, FormError> {
    let (content, uuid, signature) = (form.field("content")?, form.field("uuid")?, form.field("signature")?);
    let refused = |status, reason| Ok(Answer::refused(status, reason));
    let Some(uuid) = canonical_uuid(uuid) else {
        return refused(StatusCode::BAD_REQUEST, "the field uuid is not a UUID in canonical form");
    };
    // No signature has a space, but one that was not percent-encoded has spaces where it had `+`.
    let signature: Vec<u8> = signature.iter().map(|byte| if *byte == b' ' { b'+' } else { *byte }).collect();
    let Ok(signature) = STANDARD.decode(signature) else {
        return refused(StatusCode::BAD_REQUEST, "the field signature is not base64");
    };
    match key.verify(uuid, content, &signature) {
        Some(true) => Ok(Answer::ok(TEXT, Bytes::new())),
        Some(false) => refused(StatusCode::FORBIDDEN, "this pod did not sign this content so"),
        None => Ok(keyless()),
    }
}

/// A process that forked after it loaded the key has none.
fn keyless() -> Answer {
    Answer::refused(StatusCode::INTERNAL_SERVER_ERROR, "the service has no key")
}

/// 8-4-4-4-12 hexadecimal digits, nothing else that a parser of UUIDs may know.
fn canonical_uuid(text: &[u8]) -> Option<Uuid> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 36)?;
    Uuid::try_parse(text).ok()
}

/// The image's annotations with those of the pod's app set in place or appended (mds.app.annotations).
fn merged(image: Option<Vec<Annotation>>, app: Option<Vec<Annotation>>) -> Option<Vec<Annotation>> {
    let (mut merged, app) = match (image, app) {
        (Some(image), Some(app)) => (image, app),
        (one, other) => (one.or(other)?, Vec::new()),
    };
    for annotation in app {
        match merged.iter_mut().find(|known| known.name == annotation.name) {
            Some(known) => known.value = annotation.value,
            None => merged.push(annotation),
        }
    }
    Some(merged)
}

/// No annotations at all are `null`.
fn rendered(annotations: Option<Vec<Annotation>>) -> Result<Bytes, Error> {
    let bytes = serde_json::to_vec(&annotations)
        .map_err(|error| Error::new(Kind::Manifest, "render annotations").because(error))?;
    Ok(bytes.into())
}

/// Percent-encoded text as bytes, `None` where a `%` lacks its digits.
pub(super) fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            decoded.push(*first);
            continue;
        }
        let digits = rest.get(..2)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
        decoded.push(digit(digits[0])? << 4 | digit(digits[1])?);
        rest = &rest[2..];
    }
    Some(decoded)
}
