//! `jetpack metadata-service` and `jetpack key` as administrators, supervisors and apps meet them.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};

use appc::metadata::{Facts, Kind, Registration, Token};
#[cfg(target_os = "linux")]
use appc_needs::{Need, skip};
use uuid::Uuid;

use crate::support::service::{Service, facts, jetpack};

fn told(root: &Path, arguments: &[&str]) -> (Output, String) {
    let output = jetpack(root, arguments).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    (output, text)
}

/// The status of a GET and its body.
fn get(url: &str) -> (u16, String) {
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[test]
fn a_pod_is_known_while_its_supervisor_is_there() {
    let service = Service::start(&[]);
    let (one, other) = (facts(), facts());
    let (uuid, other_uuid) = (one.uuid.to_string(), other.uuid.to_string());
    let (one, other) = (service.register(one).unwrap(), service.register(other).unwrap());
    let path = |pod: &Registration| format!("{}/acMetadata/v1/pod/uuid", pod.url());
    assert!(one.url().starts_with(&service.base));
    assert_eq!(get(&path(&one)), (200, uuid));
    assert_eq!(get(&path(&other)), (200, other_uuid.clone()));
    let gone = path(&one);
    drop(one);
    // The service notices in its own time.
    while get(&gone).0 != 401 {
        std::thread::yield_now();
    }
    assert_eq!(get(&path(&other)), (200, other_uuid));
}

#[test]
#[cfg(target_os = "linux")]
fn a_pod_is_told_about_by_the_domain_when_that_is_wanted() {
    if !rustix::process::geteuid().is_root() || !Path::new("/bin/busybox").exists() {
        return skip(Need::Root, "it takes root to run a pod in the host's network, and a busybox to run");
    }
    let mut service = Service::start(&[]);
    let root = service.root.path().to_owned();
    let root = root.as_path();
    let print = "echo $AC_METADATA_URL; /bin/busybox wget -qO- $AC_METADATA_URL/acMetadata/v1/pod/uuid";
    let image = crate::support::service::busybox(root, print);
    let saved = root.join("uuid");
    let run = ["run", "--net=host", "--uuid-file-save", saved.to_str().unwrap(), image.to_str().unwrap()];
    let (output, text) = told(root, &[&run[..], &["--mds=domain"]].concat());
    let printed = String::from_utf8(output.stdout).unwrap();
    let uuid = std::fs::read_to_string(&saved).unwrap();
    let (url, told_uuid) = printed.split_once('\n').unwrap();
    assert!(url.starts_with(&service.base) && told_uuid == uuid.trim(), "{printed}{text}");
    assert!(text.contains("the domain service at") && text.contains("mds.provided"), "{text}");
    // The pod has ended: nobody is told about it any more, once the service has noticed.
    while get(&format!("{url}/acMetadata/v1/pod/uuid")).0 != 401 {
        std::thread::yield_now();
    }
    let (output, text) = told(root, &["run", "--net=none", "--mds=domain", image.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(125), "{text}");
    let (output, text) = told(root, &["run", "--mds=off", image.to_str().unwrap()]);
    assert!(output.stdout.starts_with(b"\n") && text.contains("out of conformance"), "{text}");
    service.process.kill().unwrap();
    service.process.wait().unwrap();
    let (output, text) = told(root, &["run", "--net=host", "--mds=domain", image.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(125), "{text}");
    assert!(text.contains("Connection refused") && text.contains("hint: `jetpack metadata-service --listen"), "{text}");
}

#[test]
fn a_service_started_anew_is_told_its_pods_again() {
    let mut service = Service::start(&[]);
    let facts = facts();
    let uuid = facts.uuid.to_string();
    let pod = service.register(facts).unwrap();
    service.restart();
    let url = format!("{}/acMetadata/v1/pod/uuid", pod.url());
    while get(&url).0 == 401 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(get(&url), (200, uuid));
}

#[test]
fn a_pod_that_cannot_be_told_about_is_refused_with_the_reason() {
    let service = Service::start(&[]);
    let first = facts();
    let again = |uuid, token: &Token| Facts { uuid, token: token.clone(), ..facts() };
    let (same_uuid, same_token) = (again(first.uuid, &Token::generate().unwrap()), again(Uuid::new_v4(), &first.token));
    let _first = service.register(first).unwrap();
    for (facts, reason) in [
        (same_uuid, "known already"),
        (same_token, "known already"),
        (Facts { image_manifests: BTreeMap::new(), ..facts() }, "image manifest of the app main"),
        (Facts { pod_manifest: b"{".to_vec(), ..facts() }, "pod manifest"),
    ] {
        let error = service.register(facts).err().unwrap();
        assert_eq!(*error.kind(), Kind::Refused);
        assert!(appc::error::chain(&error).contains(reason), "{}", appc::error::chain(&error));
    }
}

#[test]
fn two_services_do_not_share_a_socket_and_a_socket_left_over_is_replaced() {
    let mut service = Service::start(&[]);
    let (output, text) = told(service.root.path(), &["metadata-service", "--listen", "127.0.0.1:0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("another metadata service does"), "{text}");
    service.restart();
    service.register(facts()).unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn the_service_keeps_no_rights_and_gives_nothing_to_debuggers() {
    let service = Service::start(&[]);
    if !rustix::process::geteuid().is_root() {
        return skip(Need::Root, "only root has rights to drop");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.process.id())).unwrap();
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert!(line("Uid:").split_whitespace().all(|uid| uid != "0"), "{status}");
    assert!(line("Gid:").split_whitespace().all(|gid| gid != "0"), "{status}");
    assert_eq!((line("Groups:").as_str(), line("NoNewPrivs:").as_str()), ("", "1"));
    assert_eq!(line("CapEff:").trim_matches('0'), "");
    // A process that may be dumped owns its files under /proc.
    let owner = std::fs::metadata(format!("/proc/{}/status", service.process.id())).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&owner), 0);
    let socket = std::fs::metadata(service.root.path().join("metadata.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_command_line_that_cannot_be_served_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let rubbish = root.path().join("rubbish.pem");
    std::fs::write(&rubbish, "no PEM\n").unwrap();
    let rubbish = rubbish.to_str().unwrap();
    for (code, arguments, reason) in [
        (2, vec!["--listen", "localhost"], "invalid"),
        (2, vec!["--listen", "127.0.0.1:0", "--tls-cert", rubbish], "--tls-key"),
        (2, vec!["--listen", "127.0.0.1:0", "--max-connections", "0"], "from 1"),
        (1, vec!["--listen", "127.0.0.1:0", "--tls-cert", rubbish, "--tls-key", rubbish], "no certificate in PEM"),
        (1, vec!["--listen", "0.0.0.0:0"], "unspecified address"),
        (1, vec!["--listen", "192.0.2.1:0"], "listen on 192.0.2.1:0"),
    ] {
        let (output, text) = told(root.path(), &[&["metadata-service"], arguments.as_slice()].concat());
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(reason), "{arguments:?}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn a_key_taken_to_another_host_verifies_there() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = here.path().join("exported");
    let (output, text) = told(here.path(), &["key", "export", file.to_str().unwrap()]);
    assert!(output.status.success(), "{text}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (output, text) = told(there.path(), &["key", "import", file.to_str().unwrap()]);
    assert!(output.status.success(), "{text}");
    let (output, _) = told(there.path(), &["key", "export"]);
    assert_eq!(output.stdout, std::fs::read(&file).unwrap());
    assert_eq!(std::fs::metadata(there.path().join("metadata.key")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_key_is_neither_overwritten_by_accident_nor_taken_from_rubbish() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mine, _) = told(here.path(), &["key", "export"]);
    let file = there.path().join("exported");
    told(there.path(), &["key", "export", file.to_str().unwrap()]);
    let file = file.to_str().unwrap();
    let (output, text) = told(here.path(), &["key", "import", file]);
    assert_eq!((output.status.code(), text.contains("another key is there already")), (Some(1), true), "{text}");
    let (output, text) = told(there.path(), &["key", "export", file]);
    assert_eq!((output.status.code(), text.contains("failed to write the key to")), (Some(1), true), "{text}");
    let (output, text) = told(here.path(), &["key", "import", "--replace"]);
    assert_eq!((output.status.code(), text.contains("64 bytes in base64")), (Some(1), true), "{text}");
    assert_eq!(told(here.path(), &["key", "export"]).0.stdout, mine.stdout);
    let (output, text) = told(here.path(), &["key", "import", "--replace", file]);
    assert!(output.status.success(), "{text}");
    assert_eq!(told(here.path(), &["key", "export"]).0.stdout, std::fs::read(file).unwrap());
}

#[test]
fn over_tls_the_certificate_given_is_shown() {
    let files = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (chain, key) = (files.path().join("chain.pem"), files.path().join("key.pem"));
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = ["--tls-cert", chain.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let service = Service::start(&tls);
    let facts = facts();
    let uuid = facts.uuid.to_string();
    let pod = service.register(facts).unwrap();
    let (host, path) = pod.url().strip_prefix("https://").unwrap().split_once('/').unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "localhost".try_into().unwrap();
    let client = rustls::ClientConnection::new(config.into(), name).unwrap();
    let mut stream = rustls::StreamOwned::new(client, TcpStream::connect(host).unwrap());
    write!(stream, "GET /{path}/acMetadata/v1/pod/uuid HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 ") && response.ends_with(&uuid), "{response}");
    let mut plain = TcpStream::connect(host).unwrap();
    // The service hangs up at the first byte that is no TLS, which may be before the last one is sent or read.
    let _ = plain.write_all(format!("GET /{path}/acMetadata/v1/pod/uuid HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    let mut response = Vec::new();
    let _ = plain.read_to_end(&mut response);
    assert!(!response.starts_with(b"HTTP/"), "answered without TLS");
}
