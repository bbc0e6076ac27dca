//! The service as its clients see it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use uuid::Uuid;

use super::*;

const IMAGE: &str = r#"{ "acKind": "ImageManifest",  "acVersion": "0.8.11", "name": "example.com/worker",
  "annotations": [{"name": "authors", "value": "A"}, {"name": "created", "value": "2026-01-01T00:00:00Z"}] }
"#;

struct Up {
    address: SocketAddr,
    url: String,
    uuid: Uuid,
    _serving: Serving,
}

fn pod_manifest(annotations: &str) -> String {
    format!(
        r#"{{"acKind":"PodManifest","acVersion":"0.8.11",{annotations}"apps":[
             {{"name":"main","image":{{"id":"sha512-{id}"}},"annotations":[{{"name":"zone","value":"é"}},{{"name":"authors","value":"B"}}]}},
             {{"name":"plain","image":{{"id":"sha512-{id}"}}}}]}}"#,
        id = "0".repeat(128)
    )
}

fn up(key: &HmacKey, manifest: &str) -> Up {
    up_within(key, manifest, Limits::of_one_pod())
}

fn up_within(key: &HmacKey, manifest: &str, limits: Limits) -> Up {
    let uuid = Uuid::new_v4();
    let bare = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/bare"}"#;
    let images = [("main", IMAGE), ("plain", bare)].map(|(name, image)| (name.to_owned(), image.into()));
    let facts = Facts {
        uuid,
        token: Token::generate().unwrap(),
        pod_manifest: manifest.into(),
        image_manifests: BTreeMap::from(images),
    };
    let service = Service::new(facts, key.clone()).unwrap();
    let listener = crate::sys::loopback::listen().unwrap();
    let address = listener.local_addr().unwrap();
    let url = service.url(address);
    Up { address, url, uuid, _serving: serve(listener, service.pods, limits).unwrap() }
}

fn a_key() -> HmacKey {
    HmacKey::load_or_create(tempfile::tempdir().unwrap().path()).unwrap()
}

impl Up {
    fn path(&self) -> &str {
        self.url.strip_prefix(&format!("http://{}", self.address)).unwrap()
    }

    /// Sends a request as it stands; gives back status, head and body.
    fn raw(&self, request: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        let end = response.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(response[..end].to_vec()).unwrap().to_lowercase();
        (head[9..12].parse().unwrap(), head, response[end + 4..].to_vec())
    }

    fn ask(&self, method: &str, path: &str, more: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n");
        self.raw(&[head.as_bytes(), body].concat())
    }

    fn get(&self, path: &str) -> (u16, String, Vec<u8>) {
        self.ask("GET", &format!("{}/acMetadata/v1/{path}", self.path()), "", b"")
    }

    fn post(&self, path: &str, form: &str) -> (u16, String, Vec<u8>) {
        let more = format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", form.len());
        self.ask("POST", &format!("{}/acMetadata/v1/{path}", self.path()), &more, form.as_bytes())
    }
}

#[test]
fn every_endpoint_answers_with_its_type_and_bytes() {
    let manifest = pod_manifest(r#""annotations": [{"name":"ip-address","value":"10.1.2.3"}],"#);
    let up = up(&a_key(), &manifest);
    let (json, text) = ("content-type: application/json\r\n", "content-type: text/plain; charset=us-ascii\r\n");
    let id = format!("sha512-{}", "0".repeat(128));
    let merged = r#"[{"name":"authors","value":"B"},{"name":"created","value":"2026-01-01T00:00:00Z"},{"name":"zone","value":"é"}]"#;
    let uuid = up.uuid.hyphenated().to_string();
    for (path, kind, body) in [
        ("pod/annotations", json, r#"[{"name":"ip-address","value":"10.1.2.3"}]"#),
        ("pod/manifest", json, &manifest),
        ("pod/uuid", text, &uuid),
        ("apps/main/annotations", json, merged),
        ("apps/plain/annotations", json, "null"),
        ("apps/main/image/manifest", json, IMAGE),
        ("apps/main/image/id", text, &id),
        ("apps/%6dain/image/id", text, &id),
    ] {
        let (status, head, got) = up.get(path);
        assert_eq!((status, String::from_utf8(got).unwrap().as_str()), (200, body), "{path}");
        assert!(format!("{head}\r\n").contains(kind), "{path}: {head}");
    }
}

#[test]
fn addresses_are_told_as_an_annotation_unless_the_manifest_says_them_itself() {
    let told = |annotations: &str, addresses: &[&str]| {
        let mut facts = Facts {
            uuid: Uuid::new_v4(),
            token: Token::generate().unwrap(),
            pod_manifest: pod_manifest(annotations).into_bytes(),
            image_manifests: BTreeMap::new(),
        };
        let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        facts.tell_addresses(&addresses).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&facts.pod_manifest).unwrap();
        manifest["annotations"].to_string()
    };
    assert_eq!(told("", &[]), "null");
    assert_eq!(told("", &["10.1.2.3", "fd00::1"]), r#"[{"name":"ip-address","value":"10.1.2.3,fd00::1"}]"#);
    let other = r#""annotations": [{"name":"a","value":"b"}],"#;
    assert_eq!(told(other, &["10.1.2.3"]), r#"[{"name":"a","value":"b"},{"name":"ip-address","value":"10.1.2.3"}]"#);
    let own = r#""annotations": [{"name":"ip-address","value":"1.1.1.1"}],"#;
    assert_eq!(told(own, &["10.1.2.3"]), r#"[{"name":"ip-address","value":"1.1.1.1"}]"#);
}

#[test]
fn absent_annotations_are_null_and_empty_ones_are_empty() {
    for (given, told) in [("", "null"), (r#""annotations": [],"#, "[]")] {
        let up = up(&a_key(), &pod_manifest(given));
        assert_eq!(String::from_utf8(up.get("pod/annotations").2).unwrap(), told);
    }
}

#[test]
fn a_signature_holds_in_its_domain_and_nowhere_else() {
    let key = a_key();
    let (one, other, stranger) =
        (up(&key, &pod_manifest("")), up(&key, &pod_manifest("")), up(&a_key(), &pod_manifest("")));
    let (status, head, signature) = one.post("pod/hmac/sign", "content=Old+MacDonald%21");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: text/plain; charset=us-ascii"), "{head}");
    let plain = String::from_utf8(signature).unwrap();
    assert_eq!(plain.len(), 88, "64 bytes in base64: {plain}");
    let signature = plain.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let form = |content: &str, uuid: Uuid| format!("content={content}&uuid={uuid}&signature={signature}");
    for verifier in [&one, &other] {
        let (status, head, _) = verifier.post("pod/hmac/verify", &form("Old%20MacDonald!", one.uuid));
        assert_eq!(status, 200);
        assert!(head.contains("content-type: text/plain; charset=us-ascii"), "{head}");
        assert_eq!(verifier.post("pod/hmac/verify", &form("Old+MacDonald", one.uuid)).0, 403);
        assert_eq!(verifier.post("pod/hmac/verify", &form("Old+MacDonald!", other.uuid)).0, 403);
    }
    assert_eq!(stranger.post("pod/hmac/verify", &form("Old+MacDonald!", one.uuid)).0, 403);
    let careless = format!("content=Old+MacDonald!&uuid={}&signature={plain}", one.uuid);
    assert_eq!(other.post("pod/hmac/verify", &careless).0, 200, "a + that was not encoded");
}

#[test]
fn mistakes_get_the_right_code_and_one_line_of_reason() {
    let up = up(&a_key(), &pod_manifest(""));
    let base = format!("{}/acMetadata/v1", up.path());
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let sized = |body: &str| format!("{form}Content-Length: {}\r\n", body.len());
    let uuid = up.uuid;
    let get = |path: &str| ("GET", path.to_owned(), String::new(), String::new());
    let post = |path: &str, body: &str| ("POST", format!("{base}/pod/hmac/{path}"), sized(body), body.to_owned());
    let token = &up.path()[1..];
    let cases = [
        (401, get("/")),
        (401, get("/acMetadata/v1/pod/uuid")),
        (401, get(&format!("/{}/acMetadata/v1/pod/uuid", &token[..63]))),
        (401, get(&format!("/{token}0/acMetadata/v1/pod/uuid"))),
        (401, get(&format!("/{}/acMetadata/v1/pod/uuid", token.to_uppercase()))),
        (401, get(&format!("/%zz/{token}"))),
        (401, get(&format!("/{uuid}/acMetadata/v1/pod/uuid"))),
        (404, get(&format!("/{token}"))),
        (404, get(&format!("{base}/apps/other/image/id"))),
        (404, get(&format!("{base}/apps/main/image/id/"))),
        (404, get(&format!("{base}/apps/main%2fimage/id"))),
        (404, get(&format!("{base}/apps/..%2fmain/image/id"))),
        (404, get(&format!("{base}//pod/uuid"))),
        (404, get(&format!("{base}/{}", "a/".repeat(900)))),
        (400, get(&format!("{base}/apps/%6/image/id"))),
        (400, get(&format!("{base}/apps/%ff/image/id"))),
        (405, ("POST", format!("{base}/pod/uuid"), sized(""), String::new())),
        (405, ("DELETE", format!("{base}/pod/manifest"), String::new(), String::new())),
        (405, get(&format!("{base}/pod/hmac/sign"))),
        (411, ("POST", format!("{base}/pod/hmac/sign"), form.to_owned(), String::new())),
        (413, post("sign", &format!("content={}", "x".repeat(70_000)))),
        (
            415,
            (
                "POST",
                format!("{base}/pod/hmac/sign"),
                "Content-Type: multipart/form-data\r\nContent-Length: 1\r\n".into(),
                "x".into(),
            ),
        ),
        (400, post("sign", "")),
        (400, post("sign", "contents=x")),
        (400, post("sign", "content=%4")),
        (400, post("sign", "content=%+1")),
        (400, post("sign", "content=a&content=a")),
        (400, post("verify", &format!("content=x&uuid={uuid}"))),
        (400, post("verify", &format!("content=x&uuid={}&signature=AAAA", uuid.simple()))),
        (400, post("verify", &format!("content=x&uuid=urn:uuid:{uuid}&signature=AAAA"))),
        (400, post("verify", &format!("content=x&uuid={uuid}&signature=%24%24"))),
        (403, post("verify", &format!("content=x&uuid={uuid}&signature=AAAA"))),
        (403, post("verify", &format!("content=x&uuid={uuid}&signature="))),
    ];
    for (code, (method, path, more, body)) in cases {
        let (status, head, answer) = up.ask(method, &path, &more, body.as_bytes());
        let short: String = body.chars().take(80).collect();
        assert_eq!(status, code, "{method} {path} {short}");
        assert_eq!(head.contains("\r\nallow: "), code == 405, "{head}");
        assert!(answer.ends_with(b"\n") && answer.iter().filter(|byte| **byte == b'\n').count() == 1, "{path}");
        assert!(!String::from_utf8(answer).unwrap().contains(token), "the token is told");
    }
}

#[test]
fn requests_that_are_not_http_do_no_harm() {
    let up = up(&a_key(), &pod_manifest(""));
    for (code, request) in [
        (400, b"\0\0\0\0\r\n\r\n".to_vec()),
        (400, b"GET / HTTP/9.9\r\n\r\n".to_vec()),
        (400, b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_vec()),
        (431, [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'x'; 20_000]].concat()),
    ] {
        assert_eq!(up.raw(&request).0, code, "{}", request[..20].escape_ascii());
    }
    assert_eq!(up.get("pod/uuid").0, 200);
}

#[test]
fn a_request_in_pieces_and_a_chunked_form_are_understood() {
    let up = up(&a_key(), &pod_manifest(""));
    let whole = up.post("pod/hmac/sign", "content=abc").2;
    let head = "Transfer-Encoding: chunked\r\n";
    let path = format!("{}/acMetadata/v1/pod/hmac/sign", up.path());
    let (status, _, pieces) = up.ask("POST", &path, head, b"5\r\nconte\r\n6\r\nnt=abc\r\n0\r\n\r\n");
    assert_eq!((status, pieces), (200, whole));
}

#[test]
fn a_client_that_has_said_all_still_gets_its_answer() {
    let up = up(&a_key(), &pod_manifest(""));
    let mut stream = TcpStream::connect(up.address).unwrap();
    write!(stream, "GET {}/acMetadata/v1/pod/uuid HTTP/1.1\r\nHost: x\r\n\r\n", up.path()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.ends_with(&up.uuid.hyphenated().to_string()), "{response}");
}

#[test]
fn a_connection_serves_request_after_request() {
    let up = up(&a_key(), &pod_manifest(""));
    let mut stream = TcpStream::connect(up.address).unwrap();
    for _ in 0..3 {
        write!(stream, "GET {}/acMetadata/v1/pod/uuid HTTP/1.1\r\nHost: x\r\n\r\n", up.path()).unwrap();
        let mut response = Vec::new();
        while !response.ends_with(up.uuid.hyphenated().to_string().as_bytes()) {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            response.push(byte[0]);
        }
        assert!(response.starts_with(b"HTTP/1.1 200 "));
    }
}

#[test]
fn a_client_that_is_too_slow_with_a_request_is_told_and_one_that_never_began_is_not() {
    let brief = std::time::Duration::from_millis(50);
    let up = up_within(&a_key(), &pod_manifest(""), Limits { request: brief, ..Limits::of_one_pod() });
    let path = format!("{}/acMetadata/v1/pod", up.path());
    let form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 80\r\n\r\ncontent=";
    let begun = [
        (String::new(), ""),
        ("GET /".to_owned(), "HTTP/1.1 408 "),
        (format!("GET {path}/uuid HTTP/1.1\r\nHost: "), "HTTP/1.1 408 "),
        (format!("POST {path}/hmac/sign HTTP/1.1\r\nHost: x\r\n{form}"), "HTTP/1.1 408 "),
    ];
    let mut open = begun.map(|(request, told)| {
        let mut stream = TcpStream::connect(up.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        (stream, told)
    });
    // One that has been answered once.
    let again = &mut open[1].0;
    again.write_all(format!("{} HTTP/1.1\r\nHost: x\r\n\r\n", path.trim_start_matches('/')).as_bytes()).unwrap();
    assert!(again.read(&mut [0; 4096]).unwrap() > 0);
    again.write_all(b"GET /").unwrap();
    for (mut stream, told) in open {
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        assert!(response.starts_with(told) && response.is_empty() == told.is_empty(), "{response}");
    }
}

#[test]
fn dropping_the_handle_ends_the_service() {
    let up = up(&a_key(), &pod_manifest(""));
    let (address, _open) = (up.address, TcpStream::connect(up.address).unwrap());
    drop(up);
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn an_app_without_image_manifest_is_refused_before_anything_is_served() {
    let facts = Facts {
        uuid: Uuid::new_v4(),
        token: Token::generate().unwrap(),
        pod_manifest: pod_manifest("").into(),
        image_manifests: BTreeMap::new(),
    };
    let error = Pod::new(facts).unwrap_err();
    assert_eq!(*error.kind(), Kind::Manifest);
    assert!(error.to_string().contains("main"), "{error}");
}

#[test]
fn what_is_rehearsed_is_a_request_that_is_answered() {
    let pods = Arc::new(Pods::new(a_key()));
    let answer = exchange(&pods, Limits::of_one_pod(), super::serve::REHEARSAL).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 401 "), "{}", answer.escape_ascii());
}
