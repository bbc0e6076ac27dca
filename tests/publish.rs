//! `actool publish` and `jetpack push` to a directory: what a server serves then, at any moment.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sha2::Digest as _;

use crate::signify::{MINISIGN_PUBLIC, MINISIGN_SECRET, SIGNIFY_PUBLIC, SIGNIFY_SECRET};
use crate::support::https::{Reply, Server};
use crate::support::image::image;

/// A document root, and beside it images and keys.
struct Site(tempfile::TempDir);

const HERE: [(&str, &str); 2] = [("os", "linux"), ("arch", "amd64")];

impl Site {
    fn new() -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        for (name, key) in [("k.sec", SIGNIFY_SECRET), ("m.sec", MINISIGN_SECRET), ("m.pub", MINISIGN_PUBLIC)] {
            fs::write(site.at(name), key).unwrap();
        }
        site
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// An image as a file, for Linux on amd64.
    fn image(&self, file: &str, name: &str, version: &str, size: usize) -> String {
        let labels = [&HERE[..], &[("version", version)]].concat();
        fs::write(self.at(file), image(name, &labels, size)).unwrap();
        self.at(file)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_actool"));
        command.args(["publish", &self.at("www")]).args(arguments).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Publishes below `localhost/apps`, signed.
    #[track_caller]
    fn publish(&self, arguments: &[&str]) -> String {
        let output = self.run(&[&self.signed()[..], arguments].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    #[track_caller]
    fn refuses(&self, arguments: &[&str], why: &str) {
        let before = self.files();
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(why), "{}", text(&output.stderr));
        assert_eq!(self.files(), before);
    }

    fn signed(&self) -> [&'static str; 5] {
        let key: &'static str = Box::leak(format!("--signify-key={}", self.at("k.sec")).into_boxed_str());
        ["--prefix=localhost/apps", "--url", "https://localhost:1/aci", key, "--unsigned"]
    }

    fn files(&self) -> BTreeSet<String> {
        let root = self.0.path().join("www");
        let (mut found, mut left) = (BTreeSet::new(), vec![root.clone()]);
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => left.push(path),
                    false => drop(found.insert(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned())),
                }
            }
        }
        found
    }

    fn index(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.at("www/index.json")).unwrap()).unwrap()
    }

    /// That what index and pages name is there, signed as it is said. Gives the files that the index names.
    #[track_caller]
    fn check(&self) -> BTreeSet<String> {
        check(&self.0.path().join("www"))
    }
}

#[track_caller]
fn check(www: &Path) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    let Ok(index) = fs::read(www.join("index.json")) else { return named };
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    for section in index["sections"].as_array().unwrap() {
        for key in section["keys"].as_array().unwrap() {
            let path = key.as_str().unwrap().strip_prefix("https://localhost:1/").unwrap();
            assert!(www.join(path).is_file(), "{path}");
            named.insert(path.to_owned());
        }
        for image in section["images"].as_array().unwrap() {
            for file in image["files"].as_array().unwrap() {
                let path = www.join(file.as_str().unwrap());
                let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let digest: String = sha2::Sha512::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(image["sha512"], digest, "{}", path.display());
                named.insert(file.as_str().unwrap().to_owned());
                if image["chunks"].as_array().is_some_and(|maps| maps.contains(file)) {
                    let map = format!("{}.chunks", file.as_str().unwrap());
                    let id = image["id"].as_str().unwrap().parse().unwrap();
                    let made = appc::chunks::Map::of(&*bytes, id, digest).unwrap().write();
                    assert!(fs::read(www.join(&map)).unwrap() == made, "{map}");
                    named.insert(map);
                }
                for ending in image["signatures"].as_array().unwrap() {
                    let signature = format!("{}{}", file.as_str().unwrap(), ending.as_str().unwrap());
                    let keys = appc::trust::Keyring::parse(format!("{SIGNIFY_PUBLIC}{MINISIGN_PUBLIC}").as_bytes());
                    let made = fs::read(www.join(&signature)).unwrap();
                    appc::trust::verify(&keys.unwrap(), &*bytes, &made)
                        .unwrap_or_else(|error| panic!("{signature}: {error:?}"));
                    named.insert(signature);
                }
            }
        }
    }
    for page in ["index.html", "apps/index.html"] {
        let Ok(html) = fs::read_to_string(www.join(page)) else { continue };
        for tag in html.split("pubkeys\" content=\"localhost/apps https://localhost:1/").skip(1) {
            let path = tag.split('"').next().unwrap();
            assert!(www.join(path).is_file(), "{page}: {path}");
        }
        named.insert(page.to_owned());
    }
    named.insert("index.json".to_owned());
    named
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Serves a directory as common servers do: decodes paths, sends directories to their index.
fn serve(root: PathBuf) -> impl Fn(&crate::support::https::Seen) -> Reply + Send + Sync + 'static {
    move |request| {
        let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
        let mut bytes = Vec::new();
        let mut rest = path.as_bytes();
        while let Some((first, behind)) = rest.split_first() {
            (rest, _) = match first {
                b'%' => (
                    &behind[2..],
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&behind[..2]).unwrap(), 16).unwrap()),
                ),
                _ => (behind, bytes.push(*first)),
            };
        }
        let file = root.join(String::from_utf8(bytes).unwrap().trim_start_matches('/'));
        match (file.is_dir(), path.ends_with('/')) {
            (true, false) => Reply::redirect(format!("{path}/?{query}")),
            (true, true) => fs::read(file.join("index.html")).map_or(Reply::status(404), Reply::ok),
            _ => fs::read(file).map_or(Reply::status(404), Reply::ok),
        }
    }
}

#[test]
fn a_site_is_fetched_by_name_with_the_keys_that_it_offers() {
    let site = Site::new();
    let server = Server::https(serve(site.0.path().join("www")));
    let base = server.url("/aci");
    let versions = ["1.2.0", "1.10.0", "2.0.0-rc.1", "weird/ %2f+?#\u{e4}{os}"];
    let mut images = Vec::new();
    for (number, version) in versions.iter().enumerate() {
        images.push(site.image(&format!("{number}.aci"), "localhost/apps/app", version, 1000 + number));
    }
    fs::write(site.at("any.aci"), image("localhost/apps/any", &[], 10)).unwrap();
    images.push(site.at("any.aci"));
    let keys = [format!("--signify-key={}", site.at("m.sec"))];
    let arguments = ["--prefix=localhost/apps", "--url", &base, &keys[0]];
    let arguments: Vec<&str> = arguments.into_iter().chain(images.iter().map(String::as_str)).collect();
    let first = site.run(&arguments);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let again = site.run(&arguments);
    assert_eq!(text(&again.stdout).matches("(unchanged)").count(), images.len(), "{}", text(&again.stdout));

    let jetpack = |arguments: &[&str], input: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jetpack"));
        command.args(["--root", &site.at("root")]).args(arguments).env("SSL_CERT_FILE", server.bundle());
        command.env("XDG_CONFIG_HOME", site.at("config")).env("HOME", site.0.path()).stdin(input).output().unwrap()
    };
    let port = format!("--port={}", server.port);
    let fingerprint = MINISIGN_PUBLIC.lines().nth(1).unwrap();
    let trusted = jetpack(&["trust", "add", &port, "--fingerprint", fingerprint, "localhost/apps"], Stdio::null());
    assert!(trusted.status.success(), "{}", text(&trusted.stderr));
    for (asked, file) in
        [("app", "1"), ("app:1.2.0", "0"), ("app:2.0.0-rc.1", "2"), ("app:weird/ %2f+?#\u{e4}{os}", "3")]
    {
        let asked = format!("localhost/apps/{asked},os=linux,arch=amd64");
        let fetched = jetpack(&["fetch", &port, &asked], Stdio::null());
        let id =
            Command::new(env!("CARGO_BIN_EXE_actool")).args(["id", &site.at(&format!("{file}.aci"))]).output().unwrap();
        assert_eq!((text(&fetched.stdout), ""), (text(&id.stdout), ""), "{asked}: {}", text(&fetched.stderr));
    }
    for host in ["linux", "freebsd"] {
        let fetched = jetpack(&["fetch", &port, &format!("localhost/apps/any,os={host},arch=amd64")], Stdio::null());
        // It has no such label; that it is there to be judged is what is looked at.
        assert!(text(&fetched.stderr).contains("disc.match.rule"), "{}", text(&fetched.stderr));
    }
}

#[test]
fn images_are_added_replaced_and_pruned() {
    let site = Site::new();
    let one = site.image("1.aci", "localhost/apps/app", "1.0.0", 1000);
    let two = site.image("2.aci", "localhost/apps/app", "2.0.0", 2000);
    site.publish(&[&one]);
    assert!(site.publish(&[&two]).starts_with("sha512-"));
    let latest = || fs::read(site.at("www/aci/localhost/apps/app-latest-linux-amd64.aci")).unwrap();
    assert_eq!(latest(), fs::read(&two).unwrap());
    let before = latest();
    site.image("2.aci", "localhost/apps/app", "2.0.0", 3000);
    assert!(site.publish(&[&two]).contains(" removed"));
    assert!(latest() != before && latest() == fs::read(&two).unwrap());
    // A signature more, and none is made anew.
    let signature = fs::read(site.at("www/aci/localhost/apps/app-1.0.0-linux-amd64.aci.sig")).unwrap();
    site.publish(&[&one]);
    assert_eq!(fs::read(site.at("www/aci/localhost/apps/app-1.0.0-linux-amd64.aci.sig")).unwrap(), signature);
    assert_eq!(site.check(), site.files());
    // A signature of another kind comes beside it, and is known when it is given again.
    let made =
        Command::new(env!("CARGO_BIN_EXE_actool")).args(["sign", "--signify-key", &site.at("m.sec"), &one]).status();
    assert!(made.unwrap().success());
    let offered = format!("--public-key={}", site.at("m.pub"));
    assert!(!site.publish(&[&offered, &one]).contains("(unchanged)"));
    assert!(site.files().contains("aci/localhost/apps/app-1.0.0-linux-amd64.aci.minisig"));
    assert!(site.publish(&[&offered, &one]).contains("(unchanged)"));
    // The latest goes back to what is left.
    site.publish(&["--prune", &one]);
    assert_eq!(latest(), fs::read(&one).unwrap());
    assert_eq!(site.check(), site.files());
    assert_eq!(site.files().iter().filter(|path| path.ends_with(".aci")).count(), 2);
    site.publish(&["--prune"]);
    assert_eq!(site.files().iter().filter(|path| path.contains(".aci")).count(), 0);
    assert_eq!(site.check(), site.files());
}

#[test]
fn what_cannot_be_published_is_refused_before_anything_is_written() {
    let site = Site::new();
    let good = site.image("good.aci", "localhost/apps/app", "1", 1000);
    let elsewhere = site.image("elsewhere.aci", "localhost/appsy", "1", 1000);
    let escaping = site.image("escaping.aci", "localhost/apps/app", "x/../../../../y", 1000);
    fs::write(site.at("broken.aci"), &fs::read(&good).unwrap()[..500]).unwrap();
    let signed = site.signed();
    let with = |arguments: &[&'static str], image: &str| -> Vec<String> {
        arguments.iter().map(|argument| (*argument).to_owned()).chain([image.to_owned()]).collect()
    };
    for (arguments, why) in [
        (with(&signed, &elsewhere), "localhost/appsy is not below localhost/apps"),
        (with(&signed, &escaping), "cannot be the path of a file"),
        (with(&signed, &site.at("broken.aci")), "aci.compress"),
        (with(&signed, &site.at("none.aci")), "none.aci: No such file"),
        (with(&signed[..3], &good), "nobody has signed it"),
        (with(&signed[..1], &good), "it is not said at which URL"),
        (with(&["--prefix=localhost/apps", "--unsigned", "--url=ftp://localhost/"], &good), "a URL of https is wanted"),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        site.refuses(&arguments, why);
        assert!(site.files().is_empty());
    }
    // A signature over something else, and by a key that is not offered.
    fs::write(format!("{good}.minisig"), crate::signify::MINISIGN_HASHED).unwrap();
    let unsigned = &signed[..3];
    site.refuses(&[unsigned, &[&good]].concat(), "which is not in the keyring");
    let offered = format!("--public-key={}", site.at("m.pub"));
    site.refuses(&[unsigned, &[&offered, &good]].concat(), "it is not over these bytes");
}

#[test]
fn a_page_of_somebody_else_is_left_as_it_is() {
    let site = Site::new();
    let one = site.image("1.aci", "localhost/apps/app", "1", 1000);
    fs::create_dir_all(site.at("www/apps")).unwrap();
    fs::write(site.at("www/index.html"), "<h1>Welcome</h1>").unwrap();
    let output = site.run(&[&site.signed()[..], &[&one]].concat());
    assert!(
        output.status.success() && text(&output.stderr).contains("index.html is left as it is"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(fs::read_to_string(site.at("www/index.html")).unwrap(), "<h1>Welcome</h1>");
    let page = fs::read_to_string(site.at("www/apps/index.html")).unwrap();
    fs::write(site.at("www/apps/index.html"), "<h1>Our apps</h1>").unwrap();
    site.refuses(
        &[&site.signed()[..], &[&one]].concat(),
        "it is not a page of ours; put these into it: <meta name=\"ac-discovery\"",
    );
    let ours = page.replace("<meta name=\"generator\" content=\"appc site\">", "");
    fs::write(site.at("www/apps/index.html"), &ours).unwrap();
    site.publish(&[&one]);
    assert_eq!(fs::read_to_string(site.at("www/apps/index.html")).unwrap(), ours);
}

#[test]
fn an_index_that_leads_elsewhere_is_not_followed() {
    let site = Site::new();
    let one = site.image("1.aci", "localhost/apps/app", "1", 1000);
    site.publish(&[&one]);
    let index = fs::read_to_string(site.at("www/index.json")).unwrap();
    fs::write(site.at("precious"), "kept").unwrap();
    for (from, to) in [
        ("\"aci/localhost/apps/app-1-linux-amd64.aci\"", "\"../precious\""),
        ("\"directory\": \"aci\"", "\"directory\": \"../aci\""),
        ("https://localhost:1/aci/{name}", "https://localhost:1/{name}"),
        ("\"format\": 1", "\"format\": 2"),
        ("\"prefix\"", "\"prefixes\""),
    ] {
        fs::write(site.at("www/index.json"), index.replace(from, to)).unwrap();
        site.refuses(&[&site.signed()[..], &["--prune"]].concat(), "index.json of the site");
    }
    assert!(Path::new(&site.at("precious")).exists());
}

#[test]
fn maps_of_chunks_stand_beside_their_images_and_go_with_them() {
    let site = Site::new();
    let one = site.image("1.aci", "localhost/apps/app", "1.0.0", 1000);
    let two = site.image("2.aci", "localhost/apps/app", "2.0.0", 2000);
    let maps = || site.files().into_iter().filter(|path| path.ends_with(".chunks")).collect::<Vec<_>>();
    site.publish(&[&one]);
    assert!(maps().is_empty() && !site.index().to_string().contains("chunks"));
    // They come later, are kept, and follow their image to its other names.
    assert!(!site.publish(&["--chunks", &one]).contains("(unchanged)"));
    assert_eq!(maps().len(), 2);
    assert!(site.publish(&["--chunks", &one]).contains("(unchanged)"));
    assert!(site.publish(&[&one]).contains("(unchanged)"));
    assert_eq!(site.check(), site.files());
    site.publish(&[&two]);
    assert_eq!(maps(), ["aci/localhost/apps/app-1.0.0-linux-amd64.aci.chunks"]);
    assert_eq!(site.check(), site.files());
    site.publish(&["--prune", &one]);
    assert_eq!(maps().len(), 2);
    // What somebody broke is mended, and goes when its image is replaced by one without.
    fs::write(site.at("www/aci/localhost/apps/app-1.0.0-linux-amd64.aci.chunks"), "broken").unwrap();
    site.publish(&["--chunks", &one]);
    assert_eq!(site.check(), site.files());
    let again = site.image("1.aci", "localhost/apps/app", "1.0.0", 3000);
    site.publish(&[&again]);
    assert!(maps().is_empty());
    assert_eq!(site.check(), site.files());
    site.publish(&["--chunks", &again]);
    site.publish(&["--prune"]);
    assert!(maps().is_empty());
    assert_eq!(site.check(), site.files());
}

#[test]
fn an_image_in_one_piece_has_a_map_and_it_is_told_what_that_is_worth() {
    let site = Site::new();
    let long = site.image("long.aci", "localhost/apps/long", "1", 3 << 20);
    let output = site.run(&[&site.signed()[..], &["--chunks", &long]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("long.aci is one piece (gzip)"), "{}", text(&output.stderr));
    // The same image in pieces has the same ID, and needs no word.
    let cut = site.at("cut.aci");
    let made = Command::new(env!("CARGO_BIN_EXE_actool")).args(["patch-manifest", &long, &cut]).output().unwrap();
    let output = site.run(&[&site.signed()[..], &["--chunks", &cut]].concat());
    assert!(text(&output.stdout).starts_with(text(&made.stdout).trim()), "{}", text(&output.stdout));
    assert_eq!(text(&output.stderr), "");
    assert_eq!(site.check(), site.files());
}

#[test]
fn two_publishers_at_once_both_have_their_way() {
    let site = Site::new();
    let images: Vec<String> = (0..6)
        .map(|number| site.image(&format!("{number}.aci"), &format!("localhost/apps/a{number}"), "1", 1000))
        .collect();
    let running: Vec<_> = images
        .iter()
        .map(|image| site.command(&[&site.signed()[..], &[image]].concat()).stdout(Stdio::null()).spawn().unwrap())
        .collect();
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(site.index()["sections"][0]["images"].as_array().unwrap().len(), 6);
    assert_eq!(site.check(), site.files());
}

#[test]
fn a_publisher_that_is_killed_at_any_moment_leaves_a_whole_site() {
    let site = Site::new();
    let names = ["a", "b", "c"];
    let files: Vec<String> = names.iter().map(|name| format!("{name}.aci")).collect();
    let make = |round: usize| {
        // Each round replaces two, and one comes and goes.
        for (number, name) in names.iter().enumerate() {
            site.image(&files[number], &format!("localhost/apps/{name}"), "1.0.0", 40_000 + 10 * round + number);
        }
    };
    make(0);
    let paths: Vec<String> = files.iter().map(|file| site.at(file)).collect();
    let all: Vec<&str> = paths.iter().map(String::as_str).collect();
    let begun = Instant::now();
    site.publish(&all);
    let lasts = begun.elapsed();
    let mut state = 12345u64;
    for round in 1..=50 {
        make(round);
        let some = if round % 3 == 0 { [&["--prune"], &all[..2]].concat() } else { all.clone() };
        let some = if round % 4 == 0 { some } else { [&["--chunks"], &some[..]].concat() };
        let mut child = site
            .command(&[&site.signed()[..], &some].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let part = u32::try_from(state >> 33).unwrap() % 1000;
        thread::sleep(lasts * part / 1000 + Duration::from_micros(u64::from(part)));
        child.kill().unwrap();
        child.wait().unwrap();
        site.check();
    }
    make(99);
    site.publish(&[&["--prune"], &all[..]].concat());
    // Nothing is left of what was cut off.
    assert_eq!(site.check(), site.files());
    assert_eq!(site.index()["sections"][0]["images"].as_array().unwrap().len(), 3);
}

#[test]
fn jetpack_pushes_to_a_directory_in_either_order() {
    let site = Site::new();
    let one = site.image("1.aci", "localhost/apps/app", "1", 1000);
    let (key, www) = (format!("--signify-key={}", site.at("k.sec")), site.at("www/"));
    let jetpack = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jetpack"));
        command.args(["--root", &site.at("root"), "push"]).args(arguments).env("XDG_CONFIG_HOME", site.at("config"));
        command.env("HOME", site.0.path()).stdin(Stdio::null()).output().unwrap()
    };
    let first = jetpack(&[&key, "--prefix=localhost/apps", "--url=https://localhost:1/aci", &one, &www]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let import = Command::new(env!("CARGO_BIN_EXE_jetpack"))
        .args(["--root", &site.at("root"), "fetch", &site.image("2.aci", "localhost/apps/app", "2", 1000)])
        .env("XDG_CONFIG_HOME", site.at("config"))
        .env("HOME", site.0.path())
        .output()
        .unwrap();
    let second = jetpack(&[&key, &www, text(&import.stdout).trim()]);
    assert!(second.status.success(), "{}", text(&second.stderr));
    assert_eq!(site.index()["sections"][0]["images"].as_array().unwrap().len(), 2);
    assert_eq!(site.check(), site.files());
    let unknown = jetpack(&[&one, "nowhere"]);
    assert!(text(&unknown.stderr).contains("`nowhere` is no place for an image"), "{}", text(&unknown.stderr));
}
