//! Signatures by signify and minisign, made by the real programs, as the library and both programs judge them.

use std::io::Cursor;
use std::process::{Command, Output};

use appc::trust::{Certificate, Fingerprint, KeyStore, Keyring, Kind, Scope, SecretKey, verify};

use crate::support::https::{Reply, Server};
use crate::support::image::image;

const DATA: &[u8] = b"what is signed";
pub const SIGNIFY_PUBLIC: &str = "untrusted comment: signify public key\n\
    RWRuOBvQaG7tmUAEp6LMgHOieP+1ihqoNI/7aG9DUJrYvGFmff39+v22\n";
pub const SIGNIFY_SECRET: &str = "untrusted comment: signify secret key\n\
    RWRCSwAAAAAyZ1/Wk1EakYJSQlMUGu+2HooygMQj2txuOBvQaG7tmVAtNvx3knno2bnoXa0zEnkLlTOKYG9iVRG7NOTqEnpiQASnosyAc6J4/7WKGqg0j/tob0NQmti8YWZ9/f36/bY=\n";
pub const SIGNIFY_SIGNATURE: &str = "untrusted comment: verify with k.pub\n\
    RWRuOBvQaG7tmf0PlB9tyiCajON9k7PPOjykHMZ15bgRTBPgAvyQzI+PkClY4eyp3ZTF95oDHLZHB2QceyEbakcrtCddo6FAHgY=\n";
pub const LOCKED_PUBLIC: &str = "untrusted comment: locked public key\n\
    RWRTbrVSTFTHkgj5lY4f6s3Y2Qlk3EKTvcR4yOMyx5Jdy7OKbbEE542u\n";
pub const LOCKED_SECRET: &str = "untrusted comment: locked secret key\n\
    RWRCSwAAACqcI4fztmkq9LpTa44q5eGfOKJdG0CI/7tTbrVSTFTHkqiCW60Q0HHFcR+RnahqP7KR1gMLP9wK6iQNKGvwpJmgSCil8WLbMEbnA73zMfwAGmm/guB+uAxuOqXmd303wjo=\n";
pub const MINISIGN_PUBLIC: &str = "untrusted comment: minisign public key 4F1A88A257664BFD\n\
    RWT9S2ZXoogaTwQyfQs3mip2XR5jeb4gG+SAzxNnx81dtbW5osrQ2VOt\n";
pub const MINISIGN_SECRET: &str = "untrusted comment: minisign encrypted secret key\n\
    RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/UtmV6KIGk+vN9oBxkBghHrUGmsv6yrUz9SJckTNCmtA0490OpmPTgQyfQs3mip2XR5jeb4gG+SAzxNnx81dtbW5osrQ2VOtAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
pub const MINISIGN_HASHED: &str = "untrusted comment: signature from minisign secret key\n\
    RUT9S2ZXoogaT+yxxxYQzckeQP+mBKcXlzGFePg9mk3YLqzHVUb2aHnjpXmhBlYo8YpO5hpCgJdausfZOvtPT0W+ye4plrx7eAw=\n\
    trusted comment: made for a test\n\
    yhX2Vtaw5M8zn2TQvhHgWE/zceyzcrV3YnlHPIj6Qkwij8STqLA17GgWa0v9hT9HLzyd2xziJwAY+Y4Uzu8BBg==\n";
pub const MINISIGN_PLAIN: &str = "untrusted comment: signature from minisign secret key\n\
    RWT9S2ZXoogaTydgYhRSnH7eCsLx13Uk59dvooXATQUohc0PWwLUUsTIemhmWDEPdslAFiVIf/OBhSEzM2XEeOxN9JR3QGS53Qg=\n\
    trusted comment: legacy\n\
    KsQuqFqDloMeU2pYROdPd4uhiiF2dbGB5wbbMEKaQ6GgvwS/XuITlraOzEknKJBNLPdCYSDliB5loVh0610bDQ==\n";

fn judge(keys: &str, data: &[u8], signature: &[u8]) -> Result<String, (Kind, String)> {
    verify(&Keyring::parse(keys.as_bytes()).unwrap(), Cursor::new(data), signature)
        .map(|signer| signer.fingerprint.to_string())
        .map_err(|error| (*error.kind(), appc::error::chain(&error)))
}

fn fingerprint(key: &str) -> String {
    Certificate::parse_many(key.as_bytes()).unwrap()[0].fingerprint().to_string()
}

#[test]
fn what_the_real_programs_sign_holds_and_any_other_data_does_not() {
    for (key, signature) in
        [(SIGNIFY_PUBLIC, SIGNIFY_SIGNATURE), (MINISIGN_PUBLIC, MINISIGN_HASHED), (MINISIGN_PUBLIC, MINISIGN_PLAIN)]
    {
        assert_eq!(judge(key, DATA, signature.as_bytes()), Ok(fingerprint(key)));
        assert_eq!(judge(key, b"what is signee", signature.as_bytes()).unwrap_err().0, Kind::Mismatch);
    }
    let other = MINISIGN_HASHED.replace("made for a test", "made for a toast");
    assert_eq!(judge(MINISIGN_PUBLIC, DATA, other.as_bytes()).unwrap_err().0, Kind::Mismatch);
}

#[test]
fn any_changed_character_of_a_signature_breaks_it() {
    for (key, signature) in [(SIGNIFY_PUBLIC, SIGNIFY_SIGNATURE), (MINISIGN_PUBLIC, MINISIGN_HASHED)] {
        for at in signature.find('\n').unwrap() + 1..signature.len() {
            for bit in [0, 1, 5] {
                let mut broken = signature.as_bytes().to_vec();
                broken[at] ^= 1 << bit;
                let blank = broken[at].is_ascii_whitespace() || signature.as_bytes()[at].is_ascii_whitespace();
                assert!(blank || judge(key, DATA, &broken).is_err(), "byte {at}, bit {bit}");
            }
        }
        let second = signature.match_indices('\n').nth(1).unwrap().0;
        for length in (0..second).chain(second + 2..signature.len() - 1) {
            assert!(judge(key, DATA, &signature.as_bytes()[..length]).is_err(), "{length} bytes");
        }
    }
}

#[test]
fn keys_that_are_none_are_refused_without_a_panic() {
    for text in [
        "untrusted comment: x",
        "untrusted comment: x\n",
        "untrusted comment: x\nRWQ=\n",
        "untrusted comment: x\n\u{fc}\n",
        "untrusted comment: x\nnot base 64\nuntrusted comment",
        // A point of small order: whatever is signed would hold.
        "untrusted comment: x\nRWQAAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
        SIGNIFY_SECRET,
        SIGNIFY_SIGNATURE,
    ] {
        let refused = Certificate::parse_many(text.as_bytes()).map_err(|error| *error.kind());
        assert!(matches!(refused, Err(Kind::Malformed)), "{text}");
    }
    let (kind, why) = judge(SIGNIFY_PUBLIC, DATA, format!("{SIGNIFY_SIGNATURE}what is signed").as_bytes()).unwrap_err();
    assert_eq!(kind, Kind::Malformed);
    assert!(why.contains("in a file of its own"), "{why}");
}

#[test]
fn one_good_signature_of_several_is_enough_and_an_unknown_key_is_named() {
    let both = format!("{MINISIGN_HASHED}{SIGNIFY_SIGNATURE}");
    assert_eq!(judge(SIGNIFY_PUBLIC, DATA, both.as_bytes()), Ok(fingerprint(SIGNIFY_PUBLIC)));
    let (kind, why) = judge(SIGNIFY_PUBLIC, DATA, MINISIGN_HASHED.as_bytes()).unwrap_err();
    assert_eq!(kind, Kind::Untrusted);
    let number = MINISIGN_PUBLIC.lines().next().unwrap().rsplit(' ').next().unwrap();
    assert!(why.contains(&format!("made by key number {number}, which is not in the keyring")), "{why}");
}

#[test]
fn secret_keys_sign_as_their_own_programs_do() {
    for (secret, public, passphrase) in [
        (SIGNIFY_SECRET, SIGNIFY_PUBLIC, None),
        (LOCKED_SECRET, LOCKED_PUBLIC, Some("secret")),
        (MINISIGN_SECRET, MINISIGN_PUBLIC, None),
    ] {
        let key = SecretKey::parse(secret.as_bytes(), passphrase).unwrap();
        let signature = key.sign(|| Ok(Cursor::new(DATA))).unwrap();
        assert_eq!(judge(public, DATA, &signature), Ok(fingerprint(public)));
        assert_eq!(key.public_key().lines().nth(1), public.lines().nth(1));
    }
    let made = SecretKey::parse(SIGNIFY_SECRET.as_bytes(), None).unwrap().sign(|| Ok(Cursor::new(DATA))).unwrap();
    assert_eq!(String::from_utf8(made).unwrap().lines().nth(1), SIGNIFY_SIGNATURE.lines().nth(1));
    for (secret, passphrase) in [(LOCKED_SECRET, None), (LOCKED_SECRET, Some("wrong")), (SIGNIFY_PUBLIC, None)] {
        assert!(SecretKey::parse(secret.as_bytes(), passphrase).is_err());
    }
}

#[test]
fn keys_are_trusted_by_prefix_under_their_own_fingerprint() {
    let directory = tempfile::tempdir().unwrap();
    let store = KeyStore::new(directory.path().join("local"), [directory.path().join("system")]);
    let scope = Scope::Prefix("example.com/a".parse().unwrap());
    let key = Certificate::parse_many(SIGNIFY_PUBLIC.as_bytes()).unwrap().remove(0);
    let line = SIGNIFY_PUBLIC.lines().nth(1).unwrap();
    assert_eq!(line.parse::<Fingerprint>().unwrap(), key.fingerprint());
    assert!(store.add(&scope, &key).unwrap().1);
    assert!(!store.add(&scope, &key).unwrap().1);
    let ring = |name: &str| store.keyring_for(&name.parse().unwrap()).unwrap();
    assert!(verify(&ring("example.com/a/b"), DATA, SIGNIFY_SIGNATURE.as_bytes()).is_ok());
    let error = verify(&ring("example.com/ab"), DATA, SIGNIFY_SIGNATURE.as_bytes()).unwrap_err();
    let why = appc::error::chain(&error);
    assert!(why.contains(&format!("{} is trusted for example.com/a only", key.fingerprint())), "{why}");
    assert_eq!(store.remove(None, &key.fingerprint()).unwrap(), [scope]);
    assert!(ring("example.com/a").certificates().is_empty());
}

fn actool(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_actool")).args(arguments).output().unwrap()
}

#[test]
fn an_image_signed_by_minisign_alone_is_fetched_by_name_and_by_url() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let aci = image("localhost/app", &[("version", "1")], 100_000);
    std::fs::write(at("app.aci"), &aci).unwrap();
    std::fs::write(at("key.sec"), MINISIGN_SECRET).unwrap();
    std::fs::write(at("key.pub"), MINISIGN_PUBLIC).unwrap();
    assert!(actool(&["sign", "--signify-key", &at("key.sec"), &at("app.aci")]).status.success());
    let again = actool(&["sign", "--signify-key", &at("key.sec"), &at("app.aci")]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("app.aci.minisig: it is there already"));
    let verified = actool(&["verify", "--keyring", &at("key.pub"), &at("app.aci")]);
    assert_eq!(String::from_utf8_lossy(&verified.stdout).trim(), fingerprint(MINISIGN_PUBLIC));
    let signature = std::fs::read(at("app.aci.minisig")).unwrap();

    let server = Server::https(move |request| match request.path.as_str() {
        "/?ac-discovery=1" => Reply::ok(format!(
            "<meta name=ac-discovery content='localhost https://{}/{{name}}.{{ext}}'>",
            request.headers["host"]
        )),
        "/localhost/app.aci" => Reply::ok(aci.clone()),
        "/localhost/app.aci.minisig" => Reply::ok(signature.clone()),
        _ => Reply::status(404),
    });
    let jetpack = |root: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jetpack"));
        command.args(["--root", &at(root)]).args(arguments).env("SSL_CERT_FILE", server.bundle());
        command.env("XDG_CONFIG_HOME", at("config")).env("HOME", place.path()).output().unwrap()
    };
    let port = format!("--port={}", server.port);
    let url = server.url("/localhost/app.aci");
    let unknown = jetpack("root", &["fetch", &port, "localhost/app:1"]);
    assert_eq!(unknown.status.code(), Some(1));
    let added = jetpack("root", &["trust", "add", "--prefix", "localhost", &at("key.pub")]);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    for (root, arguments) in [("root", vec!["fetch", &port, "localhost/app:1"]), ("other", vec!["fetch", &url])] {
        let fetched = jetpack(root, &arguments);
        assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
        let shown = jetpack(root, &["image", "show", "--json", "localhost/app"]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains(&fingerprint(MINISIGN_PUBLIC)), "{shown}");
    }
    let listed = jetpack("root", &["trust", "list"]);
    assert!(String::from_utf8_lossy(&listed.stdout).contains(MINISIGN_PUBLIC.lines().nth(1).unwrap()));
}

/// A FIFO has no end and nobody who writes to it; a device has no end.
#[test]
fn what_is_no_file_is_neither_an_image_nor_a_signature_and_nobody_waits_for_it() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let text = |name: &str| path(name).to_str().unwrap().to_owned();
    let archive = image("localhost/app", &[("version", "1")], 1000);
    let key = SecretKey::parse(SIGNIFY_SECRET.as_bytes(), None).unwrap();
    let signature = key.sign(|| Ok(archive.as_slice())).unwrap();
    std::fs::write(path("key.pub"), SIGNIFY_PUBLIC).unwrap();
    std::fs::write(path("all.toml"), format!("signatures = \"all\"\ntrust-directory = {:?}\n", path("trust"))).unwrap();
    let endings = ["asc", "sig", "minisig"];
    let fifos = endings.map(|ending| path(&format!("bare.aci.{ending}")));
    assert!(Command::new("mkfifo").arg(path("image.aci")).args(fifos).status().unwrap().success());
    std::fs::write(path("image.aci.sig"), &signature).unwrap();
    std::fs::write(path("bare.aci"), &archive).unwrap();
    std::fs::write(path("long.aci"), &archive).unwrap();
    std::fs::write(path("much.aci"), &archive).unwrap();
    for ending in endings {
        std::os::unix::fs::symlink("/dev/zero", path(&format!("long.aci.{ending}"))).unwrap();
        std::fs::write(path(&format!("much.aci.{ending}")), vec![b'x'; 1 << 20]).unwrap();
    }
    let run = |config: &[&str], arguments: &[&str]| {
        let mut command = Command::new("timeout");
        command.args(["60", env!("CARGO_BIN_EXE_jetpack"), "--root"]).arg(path("root")).args(config).args(arguments);
        let output = command.env("XDG_CONFIG_HOME", place.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (all, key) = (["--config", &text("all.toml")], text("key.pub"));
    assert_eq!(run(&all, &["trust", "add", "--prefix", "localhost", &key]).0, Some(0));
    for (config, name, expected) in [
        (&[][..], "image.aci", "image.aci: it is not a file"),
        (&all, "image.aci", "image.aci: it is not a file"),
        (&all, "bare.aci", ": it is not a file"),
        (&all, "long.aci", ": it is not a file"),
        (&all, "much.aci", "more than 65536 bytes"),
    ] {
        let (code, told) = run(config, &["fetch", &text(name)]);
        assert!(code == Some(1) && told.contains(expected), "{name}: {code:?}: {told}");
    }
}
