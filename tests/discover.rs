//! `actool discover` against a real server, and beside the Go tool.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output};

use crate::support::https::{Manner, Reply, Seen, Server};
use appc_needs::{Need, skip};

fn actool(server: &Server, arguments: &[&str]) -> Output {
    run(env!("CARGO_BIN_EXE_actool"), server, arguments)
}

fn run(program: &str, server: &Server, arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(program)
        .arg("discover")
        .arg(format!("--port={}", server.port))
        .args(arguments)
        .env("SSL_CERT_FILE", server.bundle())
        .env("HOME", home.path())
        .env_remove("XDG_CONFIG_HOME")
        .env_remove("https_proxy")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const TEMPLATE: &str = "<html><head><meta name=\"ac-discovery\" content=\"localhost https://s.example/{os}/{arch}/{name}-{version}.{ext}\">";
const KEYS: &str = "<meta name=\"ac-discovery-pubkeys\" content=\"localhost https://s.example/keys.gpg\">";

/// Pages at `/` and `/project/app`.
fn pages(request: &Seen) -> Reply {
    match request.path.as_str() {
        "/?ac-discovery=1" => Reply::ok(format!("{TEMPLATE}{KEYS}")),
        "/moved?ac-discovery=1" => Reply::redirect("/?there"),
        "/?there" => Reply::ok(format!("{TEMPLATE}{KEYS}")),
        "/several?ac-discovery=1" => Reply::ok(format!(
            "{KEYS}{TEMPLATE}<meta name=ac-discovery content='localhost hdfs://b/{{name}}.{{ext}}'>\
             <meta name=ac-discovery content='elsewhere.example https://c/{{name}}.{{ext}}'>"
        )),
        _ => Reply::status(404),
    }
}

#[test]
fn text_and_json_have_the_go_tools_form() {
    let server = Server::https(pages);
    let output = actool(&server, &["localhost/project/app:1.0,os=linux,arch=amd64"]);
    assert_eq!(
        stdout(&output),
        "ACI: https://s.example/linux/amd64/localhost/project/app-1.0.aci, \
         ASC: https://s.example/linux/amd64/localhost/project/app-1.0.aci.asc\n\
         PublicKeys: https://s.example/keys.gpg\n",
        "{}",
        stderr(&output)
    );
    assert_eq!(stderr(&output), "");
    let output = actool(&server, &["--json", "localhost/project/app:1.0,os=linux,arch=amd64"]);
    assert_eq!(
        stdout(&output),
        "{\n    \"ACIEndpoints\": [\n        {\n            \
         \"ACI\": \"https://s.example/linux/amd64/localhost/project/app-1.0.aci\",\n            \
         \"ASC\": \"https://s.example/linux/amd64/localhost/project/app-1.0.aci.asc\"\n        }\n    ],\n    \
         \"PublicKeys\": [\n        \"https://s.example/keys.gpg\"\n    ]\n}\n"
    );
}

#[test]
fn the_go_tool_prints_the_same() {
    let go = Path::new("/usr/bin/actool");
    if !go.exists() {
        skip(Need::GoActool, "the Go actool is not installed");
        return;
    }
    let server = Server::https(pages);
    for name in [
        "localhost:1.0",
        "localhost/moved:1.0,os=linux,arch=amd64",
        "localhost/several:2,channel=x",
        "localhost,version=3",
        "localhost/several",
    ] {
        for form in [&["--json", name][..], &[name]] {
            let (ours, theirs) = (actool(&server, form), run(go.to_str().unwrap(), &server, form));
            assert!(ours.status.success() && theirs.status.success(), "{name}: {}{}", stderr(&ours), stderr(&theirs));
            assert_eq!(stdout(&ours), stdout(&theirs), "{name}");
        }
    }
}

#[test]
fn each_step_is_told_on_stderr_when_asked() {
    let server = Server::https(pages);
    let told = stderr(&actool(&server, &["-v", "localhost/a/b"]));
    for (line, part) in told.lines().zip([
        "asking https://localhost",
        "answered 404",
        "asking",
        "answered 404",
        "asking",
        "answered 200",
        "read",
    ]) {
        assert!(line.contains(part), "{told}");
    }
    assert_eq!(server.paths(), ["/a/b?ac-discovery=1", "/a?ac-discovery=1", "/?ac-discovery=1"]);
}

#[test]
fn a_failure_names_the_pages_and_what_was_wrong_with_their_tags() {
    let server = Server::https(|request| match request.path.as_str() {
        "/a?ac-discovery=1" => Reply::ok("<meta name=ac-discovery content='localhost https://s/{+name}.{ext}'>"),
        _ => Reply::status(401),
    });
    let output = actool(&server, &["localhost/a"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(1), ""));
    let (page, root) = (server.url("/a?ac-discovery=1"), server.url("/?ac-discovery=1"));
    for told in [
        "warning[disc.meta.template]",
        "{+name}",
        &format!("{page} has no usable tag"),
        &format!("{root} answered 401: it wants credentials"),
    ] {
        assert!(stderr(&output).contains(told), "{told}: {}", stderr(&output));
    }
}

#[test]
fn no_key_tag_is_no_failure() {
    let server = Server::https(|_| Reply::ok(TEMPLATE));
    let output = actool(&server, &["localhost/a"]);
    assert!(output.status.success());
    assert!(!stdout(&output).contains("PublicKeys"));
    assert!(stdout(&actool(&server, &["--json", "localhost/a"])).contains("\"PublicKeys\": []"));
}

#[test]
fn a_server_error_ends_the_walk_and_go_compatibility_goes_on() {
    let server = Server::https(|request| match request.path.as_str() {
        "/a?ac-discovery=1" => Reply::status(500),
        _ => Reply::ok(format!("{TEMPLATE}{KEYS}")),
    });
    let output = actool(&server, &["localhost/a"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("answered 500"), "{}", stderr(&output));
    assert!(actool(&server, &["--compat=go", "localhost/a"]).status.success());
}

#[test]
fn an_unknown_authority_is_refused_unless_tls_is_switched_off() {
    let (server, other) = (Server::https(pages), Server::https(pages));
    let ask = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_actool"))
            .args(["discover", &format!("--port={}", server.port)])
            .args(arguments)
            .env("SSL_CERT_FILE", other.bundle())
            .output()
            .unwrap()
    };
    let refused = ask(&["localhost"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("certificate"), "{}", stderr(&refused));
    assert!(!ask(&["--insecure=http", "localhost"]).status.success());
    let taken = ask(&["--insecure=tls", "localhost"]);
    assert!(taken.status.success());
    assert!(stderr(&taken).contains("WARNING"));
}

#[test]
fn plain_http_is_used_only_when_switched_on() {
    let server = Server::http(pages);
    assert_eq!(actool(&server, &["localhost"]).status.code(), Some(1));
    assert_eq!(server.paths(), [""; 0]);
    assert!(actool(&server, &["--insecure=http", "localhost"]).status.success());
    assert!(actool(&server, &["--insecure", "localhost"]).status.success());
}

#[test]
fn redirects_are_followed_but_not_in_circles_nor_without_end_nor_out_of_tls() {
    let plain = Server::http(pages);
    let away = plain.url("/?ac-discovery=1");
    let server = Server::https(move |request| match request.path.as_str() {
        "/circle?ac-discovery=1" => Reply::redirect("/circle?2"),
        "/circle?2" => Reply::redirect("/circle?ac-discovery=1"),
        "/down?ac-discovery=1" => Reply::redirect(away.clone()),
        "/nowhere?ac-discovery=1" => Reply::status(302),
        "/beyond-ascii?ac-discovery=1" => Reply::redirect("/grün"),
        "/gr%C3%BCn" => Reply::ok(format!("{TEMPLATE}{KEYS}")),
        path if path.starts_with("/far?ac-discovery=1") => Reply::redirect(format!("{path}1")),
        path if path.starts_with("/near?") && path.len() < 25 => Reply::redirect(format!("{path}1")),
        _ => Reply::ok(format!("{TEMPLATE}{KEYS}")),
    });
    assert!(actool(&server, &["localhost/near"]).status.success());
    assert!(actool(&server, &["localhost/beyond-ascii"]).status.success());
    assert!(server.paths().contains(&"/gr%C3%BCn".to_owned()));
    for (name, why) in [
        ("localhost/circle", "leads back"),
        ("localhost/far", "more than 10 redirects"),
        ("localhost/down", "from https to http"),
        ("localhost/nowhere", "without a usable location"),
    ] {
        let output = actool(&server, &[name]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(stderr(&output).contains(why), "{name}: {}", stderr(&output));
    }
    assert_eq!(plain.paths(), [""; 0]);
    assert!(actool(&server, &["--insecure=http", "localhost/down"]).status.success());
}

#[test]
fn pages_without_end_and_broken_connections_are_errors() {
    let server = Server::https(|request| match request.path.as_str() {
        "/endless?ac-discovery=1" => Reply::ok("").manner(Manner::Endless),
        "/cut?ac-discovery=1" => Reply::ok("<html>").manner(Manner::Cut(3)),
        _ => Reply::status(404).manner(Manner::Hangup),
    });
    for (name, why) in
        [("localhost/endless", "are allowed"), ("localhost/cut", "transfer"), ("localhost/gone", "https://localhost")]
    {
        let output = actool(&server, &[name]);
        assert_eq!((output.status.code(), stdout(&output)), (Some(1), String::new()), "{name}");
        assert!(stderr(&output).contains(why), "{name}: {}", stderr(&output));
    }
}

#[test]
fn compressed_pages_are_read_and_never_beyond_the_limit() {
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let (page, bomb) = (gzip(format!("{TEMPLATE}{KEYS}").as_bytes()), gzip(&vec![b' '; 64 << 20]));
    let server = Server::https(move |request| match request.path.starts_with("/bomb") {
        true => Reply::ok(bomb.clone()).header("Content-Encoding", "gzip"),
        false => Reply::ok(page.clone()).header("content-encoding", "GZIP"),
    });
    let output = actool(&server, &["localhost/a"]);
    assert!(stdout(&output).contains("PublicKeys: https://s.example/keys.gpg"), "{}", stderr(&output));
    let output = actool(&server, &["localhost/bomb"]);
    assert!(!output.status.success() && stderr(&output).contains("more than"), "{}", stderr(&output));
    let server = Server::https(|_| Reply::ok(TEMPLATE).header("Content-Encoding", "br"));
    let output = actool(&server, &["localhost/a"]);
    assert!(!output.status.success() && stderr(&output).contains("`br`"), "{}", stderr(&output));
}

#[test]
fn errors_that_pass_are_waited_out() {
    let server = Server::https({
        let times = std::sync::atomic::AtomicUsize::new(0);
        move |_| match times.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Reply::status(503),
            1 => Reply::ok("").manner(Manner::Hangup),
            _ => Reply::ok(format!("{TEMPLATE}{KEYS}")),
        }
    });
    let output = actool(&server, &["localhost"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(server.paths().len(), 3);
}

#[test]
fn credentials_are_sent_to_their_host_and_not_along_with_redirects() {
    use std::os::unix::fs::PermissionsExt;
    let other = Server::https(|_| Reply::ok(format!("{TEMPLATE}{KEYS}")));
    let away = format!("https://127.0.0.1:{}/", other.port);
    let server = Server::https(move |request| match request.headers.get("authorization") {
        Some(sent) if sent == "Basic bWU6c2VjcmV0" => Reply::redirect(away.clone()),
        _ => Reply::status(401),
    });
    let both = tempfile::tempdir().unwrap();
    let bundle = both.path().join("both.pem");
    let read = |server: &Server| std::fs::read_to_string(server.bundle()).unwrap();
    std::fs::write(&bundle, format!("{}{}", read(&server), read(&other))).unwrap();
    let file = both.path().join("credentials");
    std::fs::write(&file, "[[credential]]\nhost = 'localhost'\nuser = 'me'\npassword = 'secret'\n").unwrap();
    let ask = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_actool"))
            .args(["discover", "-v", &format!("--port={}", server.port)])
            .args(arguments)
            .env("SSL_CERT_FILE", &bundle)
            .output()
            .unwrap()
    };
    let given = format!("--credentials={}", file.display());
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let loose = ask(&[&given, "localhost"]);
    assert!(!loose.status.success() && stderr(&loose).contains("0644"), "{}", stderr(&loose));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let with = ask(&[&given, "localhost"]);
    assert!(with.status.success(), "{}", stderr(&with));
    assert!(!stderr(&with).contains("secret") && !stderr(&with).contains("bWU6"));
    assert!(other.seen().iter().all(|seen| !seen.headers.contains_key("authorization")));
    let without = ask(&["localhost"]);
    assert!(!without.status.success() && stderr(&without).contains("401"), "{}", stderr(&without));
}

#[test]
fn a_proxy_from_the_environment_is_used_but_not_for_hosts_that_want_none() {
    let server = Server::https(pages);
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", proxy.local_addr().unwrap());
    let asked = std::thread::spawn(move || {
        let (mut client, _) = proxy.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        let request = String::from_utf8(request).unwrap();
        let mut target = std::net::TcpStream::connect(request.split(' ').nth(1).unwrap()).unwrap();
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let (mut back, mut forth) = (client.try_clone().unwrap(), target.try_clone().unwrap());
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut back, &mut forth);
            // The server waits for the end that the client has made.
            let _ = forth.shutdown(std::net::Shutdown::Both);
        });
        let _ = std::io::copy(&mut target, &mut client);
        request
    });
    let ask = |variables: &[(&str, &str)]| {
        Command::new(env!("CARGO_BIN_EXE_actool"))
            .args(["discover", &format!("--port={}", server.port), "localhost"])
            .env("SSL_CERT_FILE", server.bundle())
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    };
    assert!(ask(&[("https_proxy", "http://127.0.0.1:1"), ("no_proxy", "localhost")]).status.success());
    assert!(!ask(&[("https_proxy", "http://127.0.0.1:1")]).status.success());
    let through = ask(&[("https_proxy", &address)]);
    assert!(through.status.success(), "{}", stderr(&through));
    assert!(asked.join().unwrap().starts_with(&format!("CONNECT localhost:{} ", server.port)));
}

#[test]
fn a_proxy_for_plain_http_is_asked_for_the_whole_url_and_looks_the_host_up_itself() {
    let proxy = Server::http(|_| Reply::ok(TEMPLATE.replace("localhost", "nowhere.invalid")));
    let output = Command::new(env!("CARGO_BIN_EXE_actool"))
        .args(["discover", "-v", "--insecure=http", "nowhere.invalid/a"])
        .env("http_proxy", proxy.url("/").replace("http://", "http://me:pass@"))
        .env("https_proxy", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("through the proxy 127.0.0.1:1"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("pass"), "{}", stderr(&output));
    let asked = proxy.seen();
    assert_eq!(asked[0].path, "http://nowhere.invalid/a?ac-discovery=1");
    assert_eq!(asked[0].headers["host"], "nowhere.invalid");
    assert_eq!(asked[0].headers["proxy-authorization"], "Basic bWU6cGFzcw==");
}

#[test]
fn what_is_no_name_is_a_mistake_in_usage() {
    let server = Server::https(pages);
    for name in ["", "UPPER", "a:1:2", "a,b", "a b"] {
        let output = actool(&server, &[name]);
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert!(stderr(&output).contains("image name"), "{name}: {}", stderr(&output));
    }
    assert_eq!(run(env!("CARGO_BIN_EXE_actool"), &server, &[]).status.code(), Some(2));
    assert_eq!(server.paths(), [""; 0]);
}

#[test]
fn one_name_that_fails_does_not_hide_the_others() {
    let server = Server::https(|request| match request.path.as_str() {
        "/a?ac-discovery=1" => Reply::status(501),
        _ => Reply::ok(TEMPLATE),
    });
    let output = actool(&server, &["localhost/a", "localhost/b"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("localhost/b-latest"));
}

#[test]
fn a_certificate_listed_by_itself_is_believed_for_its_own_name() {
    let server = Server::self_signed(pages);
    let ask = |name: &str| {
        Command::new(env!("CARGO_BIN_EXE_actool"))
            .args(["discover", &format!("--port={}", server.port), name])
            .env("SSL_CERT_FILE", server.bundle())
            .output()
            .unwrap()
    };
    assert!(ask("localhost").status.success(), "{}", stderr(&ask("localhost")));
    assert!(!ask("127.0.0.1").status.success());
}
