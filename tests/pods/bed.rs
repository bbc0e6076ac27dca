//! A place to run pods in: a root directory, images made of the host's own shell, and a look at what is left.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use appc::aci::build::{BuildOptions, Overwrite, build_file};
use appc_needs::{Need, skip};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A root directory with one rootfs to make images of.
pub struct Bed {
    directory: TempDir,
    groups: BTreeSet<PathBuf>,
}

const PROGRAMS: [&str; 14] =
    ["sh", "cat", "id", "env", "sleep", "ls", "readlink", "touch", "mkdir", "true", "ln", "mv", "rm", "stty"];

impl Bed {
    /// Nothing, with the reason printed, where no pods can be run.
    pub fn new() -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // The layouts' modes are what tests look at.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        // Whoever runs the tests behind has these ignored, and what is ignored stays so.
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
            appc::sys::signals::restore(signal).expect("a signal's default");
        }
        let bed = Self { directory, groups: groups() };
        bed.fill_rootfs("base");
        let probe = bed.run(&["run", "--rm", &bed.image("probe", "base", json!({"exec": ["/bin/true"]}))]);
        if probe.status.success() {
            return Some(bed);
        }
        skip(Need::Pods, format_args!("no pods can be run here: {}", String::from_utf8_lossy(&probe.stderr)));
        None
    }

    /// A bed for what only root can have.
    pub fn of_root() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skip(Need::Root, "needs root");
            return None;
        }
        Self::new()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn layout(&self, name: &str) -> PathBuf {
        self.path("layouts").join(name).join("rootfs")
    }

    /// A rootfs of the host's own programs and the libraries they need.
    pub fn fill_rootfs(&self, name: &str) {
        let rootfs = self.layout(name);
        fs::create_dir_all(rootfs.join("etc")).unwrap();
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:www:/srv:/bin/false\n")
            .unwrap();
        fs::write(rootfs.join("etc/group"), "root:x:0:\nweb:x:44:\n").unwrap();
        for program in PROGRAMS {
            assert!(self.add_program(name, program), "the host has no {program}");
        }
    }

    /// Adds a program of the host's with its libraries. Says whether the host has it.
    pub fn add_program(&self, name: &str, program: &str) -> bool {
        let rootfs = self.layout(name);
        let places = ["/bin", "/usr/bin"].map(|place| Path::new(place).join(program));
        let Some(found) = places.into_iter().find(|path| path.exists()) else {
            skip(Need::Program, format_args!("the host has no {program}"));
            return false;
        };
        copy(&found, &rootfs.join("bin").join(program));
        let libraries = Command::new("ldd").arg(&found).output().expect("ldd");
        for word in String::from_utf8_lossy(&libraries.stdout).split_whitespace().filter(|word| word.starts_with('/')) {
            let target = rootfs.join(word.trim_start_matches('/'));
            if !target.exists() {
                copy(Path::new(word), &target);
            }
        }
        true
    }

    /// An image of a layout, with this app; user and group are root's unless it says so.
    pub fn image(&self, name: &str, layout: &str, app: Value) -> String {
        self.image_for("linux", name, layout, app)
    }

    /// An image for the system `os`.
    pub fn image_for(&self, os: &str, name: &str, layout: &str, app: Value) -> String {
        self.image_with(json!([{"name": "os", "value": os}]), name, layout, app)
    }

    /// An image with just these labels.
    pub fn image_with(&self, labels: Value, name: &str, layout: &str, mut app: Value) -> String {
        for key in ["user", "group"] {
            if app.is_object() && app.get(key).is_none() {
                app[key] = json!("0");
            }
        }
        let mut manifest = json!({"acKind": "ImageManifest", "acVersion": "0.8.11", "name": format!("example.com/{name}"),
            "labels": labels});
        if app.is_object() {
            manifest["app"] = app;
        }
        let layout = self.path("layouts").join(layout);
        let out = self.path(&format!("{name}.aci"));
        let bytes = serde_json::to_vec(&manifest).unwrap();
        fs::write(layout.join("manifest"), &bytes).unwrap();
        build_file(&layout, &BuildOptions::default(), &out, Overwrite::Replace).expect("an image");
        out.to_str().unwrap().to_owned()
    }

    /// An image whose app runs this script in the shell.
    pub fn script(&self, name: &str, script: &str) -> String {
        self.image(name, "base", json!({"exec": ["/bin/sh", "-c", script]}))
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jetpack"));
        command.arg("--root").arg(self.path("root")).args(arguments);
        command
    }

    /// The command of a shell that prepares something before it becomes jetpack.
    pub fn command_after(&self, preparation: &str, arguments: &[&str]) -> Command {
        let jetpack = self.command(arguments);
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &format!("{preparation}; exec \"$@\""), "sh"])
            .arg(jetpack.get_program())
            .args(jetpack.get_args());
        shell
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("jetpack")
    }

    /// Runs and gives the exit code and what was said.
    pub fn tell(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    /// What jetpack prints when it succeeds.
    #[track_caller]
    pub fn say(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.tell(arguments);
        assert_eq!(code, 0, "{arguments:?}: {out}{err}");
        out
    }

    pub fn status(&self, pod: &str) -> Value {
        serde_json::from_str(&self.say(&["status", "--json", pod])).unwrap()
    }

    /// Until `true` comes, for a while that no machine is too slow for.
    #[track_caller]
    pub fn wait_for(&self, what: &str, mut come: impl FnMut() -> bool) {
        for _ in 0..600 {
            if come() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        panic!("waited for {what} in vain");
    }

    /// No directory is left of any pod.
    #[track_caller]
    pub fn assert_nothing_left_of_pods(&self) {
        assert_eq!(self.say(&["list"]), "");
        let pods = self.path("root/pods");
        let shared = |path: &PathBuf| path.ends_with("removing") || path.ends_with("making");
        let (shared, left): (Vec<PathBuf>, Vec<PathBuf>) = walk(&pods).into_iter().partition(shared);
        assert_eq!(left, Vec::<PathBuf>::new());
        assert_eq!(shared.iter().flat_map(|path| walk(path)).count(), 0);
    }

    /// Nothing is left of any pod: no directory, mount, control group, process.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        self.assert_nothing_left_of_pods();
        let root = self.directory.path().to_str().unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(root), "{mounts}");
        assert_eq!(groups().difference(&self.groups).filter(|path| owned(path, &[])).count(), 0);
        let root = root.as_bytes();
        let processes = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            line.windows(root.len()).any(|part| part == root)
        });
        let names: Vec<_> = processes.map(|entry| entry.path()).collect();
        assert_eq!(names, Vec::<PathBuf>::new());
    }
}

/// Other tests make groups at the same time; only those whose pod is gone count.
fn owned(path: &Path, _living: &[PathBuf]) -> bool {
    std::thread::sleep(std::time::Duration::from_millis(200));
    path.exists() && fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|text| text.is_empty()) && {
        // Still there and still empty a while later: nobody is about to use it.
        std::thread::sleep(std::time::Duration::from_secs(2));
        path.exists() && walk(path).iter().filter(|path| path.is_dir()).count() == 0
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for line in String::from_utf8_lossy(&self.run(&["list", "--no-legend"]).stdout).lines() {
            if let Some(pod) = line.split_whitespace().next() {
                self.run(&["stop", "--force", pod]);
                self.run(&["rm", pod]);
            }
        }
    }
}

fn groups() -> BTreeSet<PathBuf> {
    let roots = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let uid = rustix::process::getuid().as_raw();
    let user = format!("/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/app.slice");
    let roots = roots.chain(["/sys/fs/cgroup", &user].map(PathBuf::from));
    let groups = roots.flat_map(|root| fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path()));
    groups.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("jetpack-"))).collect()
}

fn walk(at: &Path) -> Vec<PathBuf> {
    fs::read_dir(at).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap_or_else(|error| panic!("copy {}: {error}", from.display()));
}
