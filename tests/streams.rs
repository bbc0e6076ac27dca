//! Images from one ZFS pool to another, each a root of the model of FreeBSD: the programs that are run are the real ones, and so are the
//! files; `zfs send` and `zfs receive` are the model's.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use appc::trust::SecretKey;
use serde_json::Value;
use tempfile::TempDir;

use crate::signify::{SIGNIFY_PUBLIC, SIGNIFY_SECRET};
use crate::support::image::with_dependencies;

const LABELS: [(&str, &str); 3] = [("os", "freebsd"), ("arch", "amd64"), ("version", "1")];

/// A host with a pool.
struct Pool {
    root: PathBuf,
}

/// What a program said, and whether it succeeded.
fn said(output: &Output) -> (bool, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

impl Pool {
    fn new(place: &TempDir, name: &str) -> Self {
        let pool = Self { root: place.path().join(name) };
        pool.ok(&["init"]);
        pool
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jetpack"));
        command.args(["--host", "model:freebsd", "--root"]).arg(&self.root);
        // Nothing of whoever runs the tests.
        command.args(["--config", "/dev/null"]).args(arguments).env("HOME", self.root.parent().unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output).1);
        String::from_utf8(output.stdout).unwrap()
    }

    fn fetch(&self, image: &[u8]) {
        let file = self.root.with_extension("aci");
        fs::write(&file, image).unwrap();
        self.ok(&["fetch", file.to_str().unwrap()]);
    }

    /// A stream of these images.
    fn export(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(&[&["image", "export", "--zfs"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", said(&output).1);
        output.stdout
    }

    fn import(&self, stream: &[u8]) -> Output {
        let mut child = self.command(&["image", "import", "--zfs"]).stdin(Stdio::piped()).spawn().unwrap();
        // One that refuses it reads no more.
        let _ = child.stdin.take().unwrap().write_all(stream);
        child.wait_with_output().unwrap()
    }

    fn taken(&self, stream: &[u8]) {
        let (ok, told) = said(&self.import(stream));
        assert!(ok, "{told}");
    }

    fn refuses(&self, stream: &[u8], why: &str) {
        let (ok, told) = said(&self.import(stream));
        assert!(!ok && told.contains(why), "{told}");
    }

    /// The names of its images, each of which is whole.
    fn images(&self) -> Vec<String> {
        let verified = self.run(&["image", "verify", "--all"]);
        assert!(verified.status.success(), "{}", said(&verified).1);
        let listed: Value = serde_json::from_str(&self.ok(&["images", "--json"])).unwrap();
        let mut names: Vec<_> =
            listed.as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    fn state(&self) -> Value {
        serde_json::from_slice(&fs::read(self.root.join("model-freebsd.json")).unwrap()).unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut Value)) {
        let mut state = self.state();
        change(&mut state);
        fs::write(self.root.join("model-freebsd.json"), state.to_string()).unwrap();
    }

    /// The last components of the datasets of images.
    fn datasets(&self) -> Vec<String> {
        let state = self.state();
        let all = state["datasets"].as_object().unwrap().keys();
        all.filter_map(|name| name.strip_prefix("zroot/jetpack/images/").map(str::to_owned)).collect()
    }

    fn dataset(&self, beginning: &str) -> Value {
        let state = self.state();
        let all = state["datasets"].as_object().unwrap().iter();
        let mut found = all.filter(|(name, _)| {
            name.strip_prefix("zroot/jetpack/images/").is_some_and(|name| name.starts_with(beginning))
        });
        found.next().unwrap_or_else(|| panic!("no dataset {beginning}")).1.clone()
    }

    /// That nothing is there but what belongs to images.
    fn is_tidy(&self) {
        for directory in ["incoming", "partial"] {
            let left = fs::read_dir(self.root.join(directory)).into_iter().flatten().count();
            assert_eq!(left, 0, "{directory}");
        }
        let trees = fs::read_dir(self.root.join("trees")).unwrap();
        let mut trees: Vec<_> = trees.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        trees.sort();
        assert_eq!(trees, self.datasets());
        let kept = fs::read_dir(self.root.join("model-freebsd.disk")).unwrap().count();
        assert_eq!(kept, self.datasets().len(), "one snapshot each");
    }
}

/// Two pools, the first with an application on a base.
fn pools() -> (TempDir, Pool, Pool) {
    let place = tempfile::tempdir().unwrap();
    let (from, to) = (Pool::new(&place, "from"), Pool::new(&place, "to"));
    from.fetch(&with_dependencies("example.com/base", &LABELS, &[], 700_000));
    from.fetch(&with_dependencies("example.com/app", &LABELS, &["example.com/base"], 300_000));
    (place, from, to)
}

const APP: &str = "example.com/app";
const BOTH: [&str; 2] = [APP, "example.com/base"];

#[test]
fn an_image_and_its_base_travel_with_archive_tree_and_origin_and_run_on_the_other_side() {
    let (_place, from, to) = pools();
    let stream = from.export(&[APP]);
    to.taken(&stream);
    assert_eq!(to.images(), BOTH);
    to.is_tidy();
    // The datasets are those that were sent, by their numbers.
    assert_eq!(to.datasets(), from.datasets());
    for name in from.datasets() {
        assert_eq!(to.dataset(&name)["guids"], from.dataset(&name)["guids"], "{name}");
        assert_eq!(to.dataset(&name)["properties"]["readonly"], "on");
        assert_eq!(to.dataset(&name)["properties"]["appc:tree"], from.dataset(&name)["properties"]["appc:tree"]);
    }
    let show = |pool: &Pool| -> Value { serde_json::from_str(&pool.ok(&["image", "show", "--json", APP])).unwrap() };
    for key in ["id", "source", "compression", "archive_bytes", "tree_bytes", "rendered"] {
        assert_eq!(show(&to)[key], show(&from)[key], "{key}");
    }
    let archives = [&from, &to].map(|pool| pool.run(&["image", "export", APP, "-"]).stdout);
    assert_eq!(archives[0], archives[1]);
    // What was rendered stands on its base, here as there.
    let base: Value = serde_json::from_str(&to.ok(&["image", "show", "--json", "example.com/base"])).unwrap();
    let base = &base["id"].as_str().unwrap()["sha512-".len()..][..32];
    assert_eq!(to.dataset("plan-")["origin"], format!("zroot/jetpack/images/{base}@sealed"));
    let ran = to.ok(&["run", "--rm", APP, "--exec", "/noise"]);
    assert!(ran.contains("@recorded"), "{ran}");
    // Again: all is there.
    let (ok, told) = said(&to.import(&stream));
    assert!(ok && told.matches("is there already").count() == 2, "{told}");
    to.is_tidy();
    // And back, into the pool that it came from.
    from.taken(&to.export(&[APP]));
}

#[test]
fn what_the_other_side_has_is_left_out_and_missed_where_it_has_not() {
    let (_place, from, to) = pools();
    let base = from.export(&["example.com/base"]);
    let alone = from.export(&["--incremental", APP]);
    assert_eq!(from.export(&["--since", "example.com/base", APP]), alone);
    assert!(alone.len() + base.len() / 2 < from.export(&[APP]).len());
    to.refuses(&alone, "was left out of the stream, and this store does not have it");
    assert!(to.images().is_empty());
    to.taken(&base);
    to.taken(&alone);
    assert_eq!(to.images(), BOTH);
    to.is_tidy();
}

#[test]
fn a_rendered_tree_is_made_anew_where_its_base_came_in_another_way() {
    let (_place, from, to) = pools();
    to.fetch(&with_dependencies("example.com/base", &LABELS, &[], 700_000));
    let (ok, told) = said(&to.import(&from.export(&["--incremental", APP])));
    assert!(ok && told.contains("made when the image is run"), "{told}");
    assert_eq!(to.datasets().len(), 2);
    assert!(to.ok(&["run", "--rm", APP, "--exec", "/noise"]).contains("@recorded"));
    assert_eq!((to.images().len(), to.datasets().len()), (2, 3));
    to.is_tidy();
}

#[test]
fn a_base_that_trees_began_as_goes_out_of_sight_and_then_with_them() {
    let (_place, from, to) = pools();
    to.taken(&from.export(&[APP]));
    to.ok(&["image", "rm", "example.com/base"]);
    let datasets = to.datasets();
    assert!(datasets.iter().any(|name| name.starts_with("gone-")) && datasets.len() == 3, "{datasets:?}");
    // It may come again, and goes beside the first.
    to.taken(&from.export(&["example.com/base"]));
    assert_eq!(to.images(), BOTH);
    // A tree whose base is no tree any more is sent whole.
    let third = Pool { root: to.root.with_file_name("third") };
    third.ok(&["init"]);
    third.taken(&to.export(&[APP]));
    assert_eq!(third.images(), BOTH);
    assert!(third.dataset("plan-")["origin"].is_null());
    to.ok(&["image", "rm", APP, "example.com/base"]);
    to.ok(&["image", "gc", "--grace", "0s"]);
    assert!(to.datasets().is_empty(), "{:?}", to.datasets());
    to.is_tidy();
}

#[test]
fn a_stream_that_broke_goes_on_where_it_did_and_what_is_given_up_is_collected() {
    let (_place, from, to) = pools();
    let whole = from.export(&[APP]);
    for part in 1..12 {
        let cut = whole.len() * part / 12;
        let (ok, told) = said(&to.import(&whole[..cut]));
        assert!(!ok && told.contains("it ends in the middle") && told.contains("--resume TOKEN"), "{told}");
        to.images();
        let rest = match to.run(&["image", "import", "--zfs", "--token"]) {
            token if token.status.success() => {
                let token = String::from_utf8(token.stdout).unwrap();
                from.export(&["--resume", token.trim(), APP])
            }
            // It broke between two trees.
            _ => whole.clone(),
        };
        if part > 1 {
            // What is left out is what came, but for the beginning of each frame and tree.
            assert!(rest.len() < whole.len() - cut + 100_000, "{part}: {} of {}", rest.len(), whole.len());
        }
        // Half of the rest, then the rest of that.
        if part % 2 == 0 && rest.len() > 200_000 {
            assert!(!to.import(&rest[..rest.len() / 2]).status.success());
            let token = to.run(&["image", "import", "--zfs", "--token"]);
            if token.status.success() {
                let token = String::from_utf8(token.stdout).unwrap();
                to.taken(&from.export(&["--resume", token.trim(), APP]));
            } else {
                to.taken(&whole);
            }
        } else {
            to.taken(&rest);
        }
        assert_eq!(to.images(), BOTH, "{part}");
        to.is_tidy();
        to.ok(&["image", "rm", APP, "example.com/base"]);
        to.ok(&["image", "gc", "--grace", "0s"]);
        assert!(to.datasets().is_empty());
    }
    // Nobody goes on.
    assert!(!to.import(&whole[..500_000]).status.success());
    assert_eq!(to.datasets().len(), 1);
    to.ok(&["image", "gc"]);
    assert_eq!(to.datasets().len(), 1, "it is young");
    // From the beginning works as well, and so does another's token not.
    let token = to.ok(&["image", "import", "--zfs", "--token"]);
    let rest = from.export(&["--resume", token.trim(), APP]);
    to.ok(&["image", "gc", "--grace", "0s"]);
    assert!(to.datasets().is_empty());
    to.refuses(&rest, "all of it is needed");
    assert!(!to.run(&["image", "import", "--zfs", "--token"]).status.success());
    to.taken(&whole);
    to.is_tidy();
}

#[test]
fn a_pool_that_lacks_a_feature_refuses_and_takes_what_was_sent_plainly() {
    let (_place, from, to) = pools();
    to.change(|state| state["features"].as_array_mut().unwrap().retain(|name| name != "zstd_compress"));
    to.refuses(&from.export(&[APP]), "the pool zroot lacks the feature zstd_compress (zpool set");
    assert!(to.datasets().is_empty() && to.images().is_empty());
    to.taken(&from.export(&["--plain", APP]));
    assert_eq!(to.images(), BOTH);
    // What is kept in the one is not asked of it by the other.
    from.change(|state| state["features"].as_array_mut().unwrap().clear());
    to.ok(&["image", "rm", APP, "example.com/base"]);
    to.taken(&from.export(&[APP]));
}

#[test]
fn names_mean_the_same_files_on_both_sides_or_nothing_is_taken() {
    let (_place, from, to) = pools();
    let stream = from.export(&[APP]);
    let sensitive = |value: &str| {
        to.change(|state| state["datasets"]["zroot/jetpack/images"]["properties"]["casesensitivity"] = value.into());
    };
    sensitive("insensitive");
    to.refuses(&stream, "are not those of this store's datasets");
    assert!(to.images().is_empty() && to.datasets().is_empty());
    sensitive("sensitive");
    to.taken(&stream);
}

/// Where the first stream of zfs begins.
fn record(stream: &[u8]) -> usize {
    stream.windows(5).position(|bytes| bytes == [0xac, 0xcb, 0xba, 0xf5, 0x02]).unwrap() - 8
}

#[test]
fn hostile_streams_leave_nothing() {
    let (_place, from, to) = pools();
    let good = from.export(&[APP]);
    let at = record(&good);
    let with = |offset: usize, byte: u8| {
        let mut bad = good.clone();
        bad[at + offset] = byte;
        bad
    };
    to.refuses(b"", "it ends in the middle");
    to.refuses(&[7; 5000], "it is no stream of images");
    to.refuses(&with(16, 2), "brings properties");
    to.refuses(&with(32, 3), "not of a file system");
    to.refuses(&with(19, 4), "encrypted");
    to.refuses(&with(40, good[at + 40] ^ 1), "was not announced");
    to.refuses(&with(48, 1), "was not announced");
    // What zfs itself finds wrong.
    to.refuses(&with(100_000, good[at + 100_000] ^ 1), "checksum mismatch or incomplete stream");
    to.ok(&["image", "gc", "--grace", "0s"]);
    // The archive's bytes are not the image's.
    let last = good.len() - 1000;
    let mut bad = good.clone();
    let archive =
        good.windows(20).position(|bytes| bytes.starts_with(b"A") && bytes[5..8] == [0x1f, 0x8b, 0x08]).unwrap();
    bad[archive + 50_000] ^= 1;
    let (ok, told) = said(&to.import(&bad));
    assert!(!ok, "{told}");
    // Another tree in the place of the one announced.
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(text(&good[..300]).contains("\"trees\""));
    let mut foreign = good.clone();
    let second = good.windows(9).rposition(|bytes| bytes == b"{\"tree\":\"").unwrap() + 20;
    foreign[second] = if foreign[second] == b'a' { b'b' } else { b'a' };
    assert!(!to.import(&foreign).status.success());
    assert!(!to.import(&good[..last]).status.success());
    to.ok(&["image", "rm", APP, "example.com/base"]);
    to.ok(&["image", "gc", "--grace", "0s"]);
    assert!(to.images().is_empty() && to.datasets().is_empty());
    to.is_tidy();
}

#[test]
fn files_that_are_not_the_archives_are_not_sealed() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("its content differs", |rootfs| {
            let file = rootfs.join("noise");
            let times = fs::metadata(&file).unwrap().modified().unwrap();
            let mut bytes = fs::read(&file).unwrap();
            bytes[1000] ^= 1;
            fs::write(&file, bytes).unwrap();
            File::options().write(true).open(&file).unwrap().set_modified(times).unwrap();
        }),
        ("it is not in the archive", |rootfs| fs::write(rootfs.join("more"), "").unwrap()),
        ("its mode differs", |rootfs| {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(rootfs.join("noise"), fs::Permissions::from_mode(0o4755)).unwrap();
        }),
        ("No such file", |rootfs| fs::remove_file(rootfs.join("noise")).unwrap()),
    ];
    for (why, change) in changes {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (Pool::new(&place, "from"), Pool::new(&place, "to"));
        from.fetch(&with_dependencies("example.com/base", &LABELS, &[], 100_000));
        let guid = from.dataset("")["guids"]["sealed"].as_u64().unwrap();
        let rootfs = from.root.join(format!("model-freebsd.disk/snapshot-{guid}/rootfs"));
        let times = fs::metadata(&rootfs).unwrap().modified().unwrap();
        change(&rootfs);
        File::open(&rootfs).unwrap().set_modified(times).unwrap();
        let stream = from.export(&["example.com/base"]);
        to.refuses(&stream, why);
        to.refuses(&stream, "aci.id.uncompressed");
        assert!(to.images().is_empty() && to.datasets().is_empty());
        to.is_tidy();
    }
}

#[test]
fn killed_at_fifty_moments_an_import_leaves_a_store_that_is_whole() {
    let (_place, from, to) = pools();
    let file = from.root.with_extension("stream");
    fs::write(&file, from.export(&[APP])).unwrap();
    let import = || to.command(&["image", "import", "--zfs", file.to_str().unwrap()]).spawn().unwrap();
    let begun = Instant::now();
    assert!(import().wait().unwrap().success());
    let whole = begun.elapsed();
    // A linear congruence: any moments do, and these can be had again.
    let mut moment = 7_u32;
    let mut killed = 0;
    for _ in 0..50 {
        if to.images().len() == BOTH.len() {
            to.ok(&["image", "rm", APP, "example.com/base"]);
            to.ok(&["image", "gc", "--grace", "0s"]);
        }
        moment = moment.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let mut child = import();
        std::thread::sleep(whole * (moment >> 16) / (1 << 16));
        child.kill().unwrap();
        killed += u32::from(!child.wait().unwrap().success());
        // Whatever is there is whole: `images` has each verified.
        to.images();
        if moment.is_multiple_of(3) {
            let token = to.run(&["image", "import", "--zfs", "--token"]);
            if token.status.success() {
                let tokens = String::from_utf8(token.stdout).unwrap();
                to.taken(&from.export(&["--resume", tokens.lines().next().unwrap(), APP]));
            }
        }
    }
    assert!(killed > 10, "{killed}");
    assert!(import().wait().unwrap().success());
    assert_eq!(to.images(), BOTH);
    to.ok(&["image", "gc", "--grace", "0s"]);
    to.taken(&fs::read(&file).unwrap());
    to.is_tidy();
}

#[test]
fn two_that_receive_the_same_both_have_it() {
    let (_place, from, to) = pools();
    let file = from.root.with_extension("stream");
    fs::write(&file, from.export(&[APP])).unwrap();
    let import = || to.command(&["image", "import", "--zfs", file.to_str().unwrap()]).spawn().unwrap();
    let all: Vec<_> = (0..3).map(|_| import()).collect();
    for child in all {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output).1);
    }
    assert_eq!(to.images(), BOTH);
    to.is_tidy();
}

#[test]
fn a_signature_travels_and_counts_where_its_key_is_trusted() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    let (from, to) = (Pool::new(&place, "from"), Pool::new(&place, "to"));
    let archive = with_dependencies("example.com/base", &LABELS, &[], 10_000);
    let key = SecretKey::parse(SIGNIFY_SECRET.as_bytes(), None).unwrap();
    fs::write(path("base.aci"), &archive).unwrap();
    fs::write(path("base.aci.sig"), key.sign(|| Ok(archive.as_slice())).unwrap()).unwrap();
    fs::write(path("key.pub"), SIGNIFY_PUBLIC).unwrap();
    let config = |pool: &str| {
        let text = format!("signatures = \"all\"\ntrust-directory = {:?}\n", path(&format!("trust-{pool}")));
        fs::write(path(&format!("{pool}.toml")), text).unwrap();
        path(&format!("{pool}.toml")).to_str().unwrap().to_owned()
    };
    let (sending, receiving) = (config("from"), config("to"));
    let key = path("key.pub").to_str().unwrap().to_owned();
    let with = |pool: &Pool, config: &str, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jetpack"));
        command.args(["--host", "model:freebsd", "--config", config, "--root"]).arg(&pool.root).args(arguments);
        command.output().unwrap()
    };
    let trust = ["trust", "add", "--prefix", "example.com", &key];
    let (trusted, told) = said(&with(&from, &sending, &trust));
    assert!(trusted, "{told}");
    let fetched = with(&from, &sending, &["fetch", path("base.aci").to_str().unwrap()]);
    assert!(fetched.status.success(), "{}", said(&fetched).1);
    let stream = path("stream").to_str().unwrap().to_owned();
    fs::write(&stream, from.export(&["example.com/base"])).unwrap();
    let import = ["image", "import", "--zfs", &stream];
    let (ok, told) = said(&with(&to, &receiving, &import));
    assert!(!ok && told.contains("not trusted"), "{told}");
    assert!(to.images().is_empty() && to.datasets().is_empty());
    assert!(with(&to, &receiving, &trust).status.success());
    let (ok, told) = said(&with(&to, &receiving, &import));
    assert!(ok, "{told}");
    let shown: Value = serde_json::from_str(&to.ok(&["image", "show", "--json", "example.com/base"])).unwrap();
    assert_eq!(shown["signed_by"].as_array().unwrap().len(), 1);
    // It is there to be sent on.
    let third = Pool::new(&place, "third");
    fs::write(&stream, to.export(&["example.com/base"])).unwrap();
    assert!(with(&third, &receiving, &import).status.success());
}

#[test]
fn where_images_are_directories_it_is_told_what_to_do() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("base.aci");
    fs::write(&file, with_dependencies("example.com/base", &LABELS, &[], 1000)).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jetpack"));
        command.args(["--config", "/dev/null", "--root"]).arg(place.path().join("root")).args(arguments);
        said(&command.stdin(Stdio::null()).output().unwrap())
    };
    assert!(run(&["fetch", file.to_str().unwrap()]).0);
    for arguments in [&["image", "export", "--zfs", "example.com/base"][..], &["image", "import", "--zfs"]] {
        let (ok, told) = run(arguments);
        assert!(!ok && told.contains("its images are directories and not datasets"), "{told}");
        assert!(told.contains("hint: `jetpack init`"), "{told}");
    }
}

#[test]
fn an_import_waits_for_what_comes_slowly() {
    let (_place, from, to) = pools();
    let stream = from.export(&["example.com/base"]);
    let mut child = to.command(&["image", "import", "--zfs"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    for piece in stream.chunks(stream.len() / 5) {
        pipe.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        // Others go on meanwhile.
        to.ok(&["images"]);
    }
    drop(pipe);
    assert!(child.wait().unwrap().success());
}
