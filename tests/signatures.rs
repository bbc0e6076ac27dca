//! Signatures made by gpg, good and bad, as the library judges them.

use std::io::Cursor;

use crate::support::gpg::Gpg;
use appc::trust::{Certificate, KeyStore, Keyring, Kind, Scope, verify};

const DATA: &[u8] = b"what is signed";

fn judge(keys: &[u8], data: &[u8], signature: &[u8]) -> Result<String, (Kind, String)> {
    verify(&Keyring::parse(keys).unwrap(), Cursor::new(data), signature)
        .map(|signer| signer.fingerprint.to_string())
        .map_err(|error| (*error.kind(), appc::error::chain(&error)))
}

#[test]
fn keys_of_every_kind_that_gpg_makes_are_understood() {
    let Some(gpg) = Gpg::new() else { return };
    for algorithm in ["ed25519", "rsa2048", "nistp256", "nistp384", "nistp521"] {
        let user = format!("{algorithm}@example.com");
        let fingerprint = gpg.key(&user, algorithm, "never");
        let keys = gpg.public(&user);
        for options in [&["--armor"][..], &[], &["--digest-algo", "SHA512"]] {
            let signature = gpg.sign(&user, DATA, options);
            assert_eq!(judge(&keys, DATA, &signature), Ok(fingerprint.clone()), "{algorithm} {options:?}");
            let (kind, _) = judge(&keys, b"what is signee", &signature).unwrap_err();
            assert_eq!(kind, Kind::Mismatch, "{algorithm}");
        }
    }
}

#[test]
fn a_subkey_signs_for_its_primary_key_until_it_is_revoked() {
    let Some(gpg) = Gpg::new() else { return };
    gpg.run(&["--quick-gen-key", "sub@example.com", "ed25519", "cert", "never"]);
    let fingerprint = gpg.fingerprint("sub@example.com");
    gpg.run(&["--quick-add-key", &fingerprint, "rsa2048", "sign", "never"]);
    let signature = gpg.sign("sub@example.com", DATA, &["--armor"]);
    assert_eq!(judge(&gpg.public("sub@example.com"), DATA, &signature), Ok(fingerprint.clone()));
    let script = gpg.path("script");
    std::fs::write(&script, "key 1\nrevkey\ny\n0\n\ny\nsave\n").unwrap();
    gpg.run(&["--no-tty", "--no-batch", "--command-file", script.to_str().unwrap(), "--edit-key", &fingerprint]);
    assert_eq!(judge(&gpg.public("sub@example.com"), DATA, &signature).unwrap_err().0, Kind::Revoked);
}

#[test]
fn expired_signatures_and_keys_are_refused() {
    let Some(gpg) = Gpg::new() else { return };
    gpg.run(&["--faked-system-time", "20200101T000000", "--quick-gen-key", "old@example.com", "ed25519", "sign", "2d"]);
    let at = ["--faked-system-time", "20200101T120000", "--armor"];
    let by_old_key = gpg.sign("old@example.com", DATA, &at);
    let (kind, why) = judge(&gpg.public("old@example.com"), DATA, &by_old_key).unwrap_err();
    assert_eq!(kind, Kind::Expired);
    assert!(why.contains("2020-01-03"), "{why}");
    gpg.run(&[
        "--faked-system-time",
        "20200101T000000",
        "--quick-gen-key",
        "new@example.com",
        "ed25519",
        "sign",
        "never",
    ]);
    let short =
        gpg.sign("new@example.com", DATA, &["--faked-system-time", "20200101T120000", "--default-sig-expire", "1d"]);
    assert_eq!(judge(&gpg.public("new@example.com"), DATA, &short).unwrap_err().0, Kind::Expired);
    let future = gpg.sign("new@example.com", DATA, &["--faked-system-time", "20990101T120000"]);
    assert_eq!(judge(&gpg.public("new@example.com"), DATA, &future).unwrap_err().0, Kind::Unfit);
}

#[test]
fn a_revoked_key_signs_nothing_any_more() {
    let Some(gpg) = Gpg::new() else { return };
    let fingerprint = gpg.key("gone@example.com", "ed25519", "never");
    let signature = gpg.sign("gone@example.com", DATA, &["--armor"]);
    let before = gpg.public("gone@example.com");
    let certificate = gpg.home().join("openpgp-revocs.d").join(format!("{fingerprint}.rev"));
    let text = std::fs::read_to_string(&certificate).unwrap().replace(":-----BEGIN", "-----BEGIN");
    std::fs::write(&certificate, text).unwrap();
    gpg.run(&["--import", certificate.to_str().unwrap()]);
    let after = gpg.public("gone@example.com");
    assert_eq!(judge(&after, DATA, &signature).unwrap_err().0, Kind::Revoked);
    // An older copy in the same keyring does not bring it back, wherever it stands.
    let both = [[&before[..], &after].concat(), [&after[..], &before].concat()];
    for keys in &both {
        assert_eq!(judge(keys, DATA, &signature).unwrap_err().0, Kind::Revoked);
        let found = Certificate::parse_many(keys).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(*found[0].usable(std::time::SystemTime::now()).unwrap_err().kind(), Kind::Revoked);
    }
    // Nor does one among those that are trusted: in the same file, in that of another scope, or taken once more.
    let name = "example.com/app".parse().unwrap();
    let judged =
        |store: &KeyStore| verify(&store.keyring_for(&name).unwrap(), DATA, &signature).map_err(|error| *error.kind());
    let [old, new] = [&before, &after].map(|keys| Certificate::parse_many(keys).unwrap().remove(0));
    let directory = tempfile::tempdir().unwrap();
    let store = KeyStore::new(directory.path(), []);
    let (path, _) = store.add(&Scope::Root, &old).unwrap();
    assert!(judged(&store).is_ok());
    for keys in &both {
        std::fs::write(&path, keys).unwrap();
        assert_eq!(judged(&store), Err(Kind::Revoked));
    }
    store.add(&Scope::Root, &old).unwrap();
    assert_eq!(judged(&store), Err(Kind::Revoked));
    std::fs::write(&path, &before).unwrap();
    store.add(&Scope::Prefix("elsewhere.example".parse().unwrap()), &new).unwrap();
    assert_eq!(judged(&store), Err(Kind::Revoked));
}

#[test]
fn what_is_critical_and_unknown_makes_a_signature_none() {
    let Some(gpg) = Gpg::new() else { return };
    let fingerprint = gpg.key("a@example.com", "ed25519", "never");
    let keys = gpg.public("a@example.com");
    let told = gpg.sign("a@example.com", DATA, &["--sig-notation", "build@example.com=7"]);
    assert_eq!(judge(&keys, DATA, &told), Ok(fingerprint));
    let demanded = gpg.sign("a@example.com", DATA, &["--sig-notation", "!only-for@example.com=tests"]);
    let (kind, why) = judge(&keys, DATA, &demanded).unwrap_err();
    assert_eq!(kind, Kind::Unfit);
    assert!(why.contains("critical notation `only-for@example.com`"), "{why}");
    // A key that says so of itself has said nothing of itself that counts.
    gpg.run(&[
        "--cert-notation",
        "!only-for@example.com=tests",
        "--quick-gen-key",
        "b@example.com",
        "ed25519",
        "sign",
        "never",
    ]);
    let key = Certificate::parse_many(&gpg.public("b@example.com")).unwrap().remove(0);
    assert_eq!(*key.usable(std::time::SystemTime::now()).unwrap_err().kind(), Kind::Unfit);
}

#[test]
fn a_curve_that_is_not_supported_is_told_by_its_name() {
    let Some(gpg) = Gpg::new() else { return };
    for (curve, name) in [("brainpoolP256r1", "brainpoolP256r1"), ("secp256k1", "secp256k1")] {
        let user = format!("{curve}@example.com");
        gpg.key(&user, curve, "never");
        let signature = gpg.sign(&user, DATA, &[]);
        let (kind, why) = judge(&gpg.public(&user), DATA, &signature).unwrap_err();
        assert_eq!(kind, Kind::Unfit);
        assert!(why.contains(&format!("keys on the curve {name} are not supported")), "{why}");
    }
}

#[test]
fn signatures_of_the_wrong_form_are_refused() {
    let Some(gpg) = Gpg::new() else { return };
    gpg.key("a@example.com", "ed25519", "never");
    let keys = gpg.public("a@example.com");
    let weak = gpg.sign("a@example.com", DATA, &["--digest-algo", "SHA1"]);
    assert_eq!(judge(&keys, DATA, &weak).unwrap_err().0, Kind::Unfit);
    let text = gpg.sign("a@example.com", DATA, &["--textmode"]);
    assert_eq!(judge(&keys, DATA, &text).unwrap_err().0, Kind::Unfit);
    let file = gpg.path("data");
    let out = gpg.path("clear");
    gpg.run(&["--output", out.to_str().unwrap(), "--clear-sign", file.to_str().unwrap()]);
    let (kind, why) = judge(&keys, DATA, &std::fs::read(&out).unwrap()).unwrap_err();
    assert_eq!(kind, Kind::Malformed);
    assert!(why.contains("clear-signed"), "{why}");
    gpg.run(&["--output", out.to_str().unwrap(), "--sign", file.to_str().unwrap()]);
    assert_eq!(judge(&keys, DATA, &std::fs::read(&out).unwrap()).unwrap_err().0, Kind::Malformed);
    for rubbish in [&b""[..], b"<html>not found</html>", b"-----BEGIN PGP SIGNATURE-----\n", &[0x88; 40], &keys] {
        assert_eq!(judge(&keys, DATA, rubbish).unwrap_err().0, Kind::Malformed);
    }
}

#[test]
fn any_flipped_byte_of_a_signature_breaks_it() {
    let Some(gpg) = Gpg::new() else { return };
    gpg.key("a@example.com", "ed25519", "never");
    let keys = gpg.public("a@example.com");
    let signature = gpg.sign("a@example.com", DATA, &[]);
    assert!(judge(&keys, DATA, &signature).is_ok());
    // The unhashed part, which only says where to look for the key, is not covered by the signature.
    let mut survivors = 0;
    for at in 0..signature.len() {
        let mut changed = signature.clone();
        changed[at] ^= 0x40;
        survivors += usize::from(judge(&keys, DATA, &changed).is_ok());
    }
    assert!(survivors <= 12, "{survivors} of {} changes went unseen", signature.len());
}

#[test]
fn one_good_signature_of_several_is_enough_and_an_unknown_key_is_named() {
    let Some(gpg) = Gpg::new() else { return };
    let first = gpg.key("a@example.com", "ed25519", "never");
    let second = gpg.key("b@example.com", "rsa2048", "never");
    let both = gpg.sign("a@example.com", DATA, &["--armor", "--local-user", "b@example.com"]);
    assert_eq!(judge(&gpg.public("a@example.com"), DATA, &both), Ok(first));
    assert_eq!(judge(&gpg.public("b@example.com"), DATA, &both), Ok(second.clone()));
    let other = gpg.sign("b@example.com", DATA, &["--armor"]);
    let (kind, why) = judge(&gpg.public("a@example.com"), DATA, &other).unwrap_err();
    assert_eq!(kind, Kind::Untrusted);
    assert!(why.contains(&second), "{why}");
}

#[test]
fn keys_are_trusted_for_their_prefix_on_slashes_only() {
    let Some(gpg) = Gpg::new() else { return };
    gpg.key("a@example.com", "ed25519", "never");
    let certificate = Certificate::parse_many(&gpg.public("a@example.com")).unwrap().remove(0);
    let signature = gpg.sign("a@example.com", DATA, &["--armor"]);
    let directory = tempfile::tempdir().unwrap();
    let store = KeyStore::new(directory.path().join("local"), []);
    let scope = Scope::Prefix("example.com/foo".parse().unwrap());
    assert!(store.add(&scope, &certificate).unwrap().1);
    assert!(!store.add(&scope, &certificate).unwrap().1);
    let check = |name: &str| verify(&store.keyring_for(&name.parse().unwrap()).unwrap(), DATA, &signature);
    assert!(check("example.com/foo").is_ok());
    assert!(check("example.com/foo/bar").is_ok());
    for other in ["example.com/foobar", "example.com", "example.com/fo", "example.org/foo"] {
        let error = check(other).unwrap_err();
        assert_eq!(*error.kind(), Kind::Untrusted, "{other}");
        let told = appc::error::chain(&error);
        assert!(told.contains("is trusted for example.com/foo only"), "{told}");
    }
    store.add(&Scope::Root, &certificate).unwrap();
    assert!(check("example.org/foo").is_ok());
}

#[test]
fn a_key_that_came_with_the_system_can_be_masked() {
    let Some(gpg) = Gpg::new() else { return };
    gpg.key("a@example.com", "ed25519", "never");
    let certificate = Certificate::parse_many(&gpg.public("a@example.com")).unwrap().remove(0);
    let directory = tempfile::tempdir().unwrap();
    let (local, system) = (directory.path().join("local"), directory.path().join("system"));
    KeyStore::new(&system, []).add(&Scope::Root, &certificate).unwrap();
    let store = KeyStore::new(&local, [system.clone()]);
    assert_eq!(store.list().unwrap().len(), 1);
    assert_eq!(store.remove(None, &certificate.fingerprint()).unwrap(), [Scope::Root]);
    assert_eq!(store.list().unwrap().len(), 0);
    assert_eq!(KeyStore::new(&system, []).list().unwrap().len(), 1);
    assert_eq!(*store.remove(None, &certificate.fingerprint()).unwrap_err().kind(), Kind::Missing);
    store.add(&Scope::Root, &certificate).unwrap();
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn a_key_file_that_is_not_what_its_name_says_is_an_error() {
    let Some(gpg) = Gpg::new() else { return };
    gpg.key("a@example.com", "ed25519", "never");
    let other = gpg.key("b@example.com", "ed25519", "never");
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root.d");
    std::fs::create_dir_all(&root).unwrap();
    std::fs::write(root.join(&other), gpg.public("a@example.com")).unwrap();
    let store = KeyStore::new(directory.path(), []);
    assert_eq!(*store.list().unwrap_err().kind(), Kind::Malformed);
    std::fs::write(root.join(other.to_lowercase()), gpg.public("b@example.com")).unwrap();
    std::fs::remove_file(root.join(&other)).unwrap();
    assert_eq!(store.list().unwrap().len(), 1);
}
