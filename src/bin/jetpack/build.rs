//! `jetpack build`: an image made by running a command in another.

use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use appc::executor::local::{self, Begin, Damage};
use appc::executor::{changed, inputs};
use appc::layer::{Commit, Inputs};
use appc::pod::{Part, PodDir, Pods};
use appc::schema::{App, Mount, PodManifest, Volume};
use appc::store::{Image, ImageRef};
use appc::sys::beneath;
use appc::sys::signals::Watch;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Map, Value, json};

use crate::adapt::{typed, wrong};
use crate::assemble::{self, Instead, PodArgs, PodOptions};
use crate::context::Context;
use crate::error::CommandError;
use crate::made::{self, ImageArgs};
use crate::obtain::obtain;
use crate::options::OneImage;

/// Where the command finds what it works with: of the host's, and no part of the image.
const DIRECTORY: &str = "/.build";
/// What the volume there is called.
const VOLUME: &str = "jetpack-build";

/// Make an image by running a command in another, and print its ID.
///
/// The command runs in a pod like any other, as root unless --user says otherwise, and what it says goes to standard error. What it
/// changed of the image's files is the new image, which depends on the other one; where something is gone, a pathWhitelist names all that
/// is left. Its manifest is the other's, changed by --manifest, --name and --patch in this order.
///
/// The same command on the same image with the same environment and inputs is not run again: the image that it gave is the result. Times
/// later than those of the inputs are the newest of them, or SOURCE_DATE_EPOCH.
///
/// The exit code is that of the command where it failed, and no image is made then; 125 where jetpack itself failed, 126 and 127 as for
/// `jetpack run`.
#[derive(clap::Args)]
pub struct Args {
    /// A directory that the command finds at /.build and starts in; it is no part of the image
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Copy a file or a directory into the image first, as root's: to DST, or into its root directory
    #[arg(long, value_name = "SRC[:DST]")]
    cp: Vec<String>,
    /// Run the command though there is an image that it gave before
    #[arg(long)]
    no_cache: bool,
    /// Keep the pod that the command ran in
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    made: ImageArgs,
    #[command(flatten)]
    pod: PodOptions,
    #[command(flatten)]
    image: OneImage,
    /// The command with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub fn run(args: Args, context: &Context) -> Result<ExitCode, CommandError> {
    // What the command says must not be taken for the ID.
    let out = said_elsewhere().map_err(|error| CommandError::failed(format!("use standard error: {error}")))?;
    let made = build(args, context).map_err(CommandError::before_start)?;
    rustix::stdio::dup2_stdout(&out).map_err(io::Error::from)?;
    match made {
        Made::Image(image) => {
            println!("{}", image.id());
            Ok(ExitCode::SUCCESS)
        }
        Made::Nothing(code) => Ok(code),
    }
}

enum Made {
    Image(Box<Image>),
    /// Why was told.
    Nothing(ExitCode),
}

/// Lets standard output go where standard error goes; gives where it went.
fn said_elsewhere() -> io::Result<OwnedFd> {
    let out = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok(out)
}

/// What goes into a build, from the command line.
struct Sources {
    directory: Option<PathBuf>,
    /// What is copied, and to where.
    copies: Vec<(PathBuf, String)>,
    manifest: Manifest,
    inputs: Inputs,
}

/// Where the manifest's keys come from.
enum Manifest {
    Nowhere,
    Known(Map<String, Value>),
    /// The command leaves it at this path in the build directory.
    Inside(PathBuf),
}

impl Sources {
    fn of(args: &Args) -> Result<Self, CommandError> {
        let directory = match &args.dir {
            Some(path) => {
                let found = path.canonicalize().and_then(|path| match path.metadata()?.is_dir() {
                    true => Ok(path),
                    false => Err(io::ErrorKind::NotADirectory.into()),
                });
                Some(found.map_err(|error| CommandError::failed(format!("use {}: {error}", path.display())))?)
            }
            None => None,
        };
        let copies = args.cp.iter().map(|text| copied(text)).collect::<Result<Vec<_>, _>>()?;
        let mut inputs = Inputs::default();
        for path in directory.iter().chain(copies.iter().map(|(path, _)| path)) {
            inputs.add(path)?;
        }
        copies.iter().for_each(|(_, to)| inputs.add_words(to.as_bytes()));
        let manifest = Manifest::of(args.made.manifest.as_deref(), directory.as_deref())?;
        if let Manifest::Known(keys) = &manifest {
            inputs.add_words(json!(keys).to_string().as_bytes());
        }
        Ok(Self { directory, copies, manifest, inputs })
    }
}

/// `SRC[:DST]`.
fn copied(text: &str) -> Result<(PathBuf, String), CommandError> {
    let (from, to) = match text.rsplit_once(':') {
        Some((from, to)) if to.starts_with('/') => (from, to.to_owned()),
        Some(_) if !Path::new(text).exists() => {
            return Err(wrong("cp", text, "behind the colon stands no absolute path"));
        }
        _ => (text, "/".to_owned()),
    };
    if from.is_empty() {
        return Err(wrong("cp", text, "it does not say what"));
    }
    if to.split('/').any(|name| name == "..") {
        return Err(wrong("cp", text, "`..` leads nowhere in an image"));
    }
    Ok((PathBuf::from(from), to))
}

impl Manifest {
    fn of(path: Option<&Path>, directory: Option<&Path>) -> Result<Self, CommandError> {
        let Some(path) = path else { return Ok(Self::Nowhere) };
        if let Ok(inside) = path.strip_prefix(DIRECTORY) {
            return match directory {
                Some(_) => Ok(Self::Inside(inside.to_owned())),
                None => Err(wrong("manifest", &path.to_string_lossy(), "there is no such directory without --dir")),
            };
        }
        let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let (Some(directory), Ok(above), Some(name)) = (directory, above.canonicalize(), path.file_name())
            && let Ok(inside) = above.strip_prefix(directory)
        {
            return Ok(Self::Inside(inside.join(name)));
        }
        made::keys(made::open(path)?, path).map(Self::Known)
    }

    /// What it says when the command has run, which may have put anything in its place.
    fn keys(self, directory: Option<&Path>) -> Result<Option<Map<String, Value>>, CommandError> {
        match (self, directory) {
            (Self::Known(keys), _) => Ok(Some(keys)),
            (Self::Inside(path), Some(directory)) => {
                let failed = |error: io::Error| {
                    CommandError::failed(format!("read the manifest {DIRECTORY}/{}: {error}", path.display()))
                };
                let root = fs::File::open(directory).map_err(failed)?;
                let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
                let file = beneath::open(root.as_fd(), path.as_os_str().as_bytes(), flags).map_err(failed)?;
                let file = fs::File::from(file);
                if !file.metadata().map_err(failed)?.is_file() {
                    return Err(failed(io::Error::other("it is no file")));
                }
                made::keys(file, &Path::new(DIRECTORY).join(path)).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// What runs: the command, as root, with what the image's app has in its environment.
fn app(command: &[String], directory: bool, image: &Image) -> Result<App, CommandError> {
    let environment = image.manifest().app.as_ref().map(|app| &app.environment);
    let at = if directory { DIRECTORY } else { "/" };
    let app = json!({
        "exec": command, "user": "0", "group": "0", "workingDirectory": at, "environment": environment.cloned().unwrap_or_default(),
    });
    typed("", &command.join(" "), app)
}

/// Shows the directory to the command.
fn with_directory(pod: &mut PodManifest, directory: Option<&Path>) -> Result<(), CommandError> {
    let Some(directory) = directory else { return Ok(()) };
    let source = directory.to_str().ok_or_else(|| wrong("dir", &directory.to_string_lossy(), "its name is no text"))?;
    let volume: Volume = typed("dir", source, json!({ "name": VOLUME, "kind": "host", "source": source }))?;
    let mount: Mount = typed("dir", source, json!({ "volume": VOLUME, "path": DIRECTORY }))?;
    pod.volumes.push(volume);
    pod.apps.iter_mut().for_each(|app| app.mounts.push(mount.clone()));
    Ok(())
}

fn build(args: Args, context: &Context) -> Result<Made, CommandError> {
    args.made.check()?;
    let epoch = made::epoch()?;
    let mut sources = Sources::of(&args)?;
    let Args { made, pod, image: OneImage(image), command, no_cache, keep, .. } = args;
    let named = image.image.clone();
    let pod = PodArgs::of_image(image, pod);
    let directory = sources.directory.clone();
    let instead = Instead {
        app: &|image| app(&command, directory.is_some(), image),
        pod: &|pod| with_directory(pod, directory.as_deref()),
    };
    let (mut draft, held) = assemble::draft_of(&pod, Some(&instead), context)?;
    let [app] = draft.manifest.apps.as_slice() else {
        return Err(CommandError::failed("build an image of several apps"));
    };
    let newest = sources.inputs.newest;
    let mut recipe = sources.inputs.clone();
    let parent = draft.images[0].id.clone();
    let said = json!({
        "parent": parent, "app": app.app, "mounts": app.mounts, "manifest": made.words(), "epoch": epoch,
        "inside": matches!(sources.manifest, Manifest::Inside(_)),
    });
    recipe.add_words(said.to_string().as_bytes());
    let recipe = recipe.digest();
    let store = context.store()?;
    if !no_cache && let Some(image) = store.built(&recipe)? {
        eprintln!("jetpack: the command was run before on the same image and inputs; --no-cache runs it again");
        let found = obtain(context, &store, &ImageRef::Id(image.id().clone()), appc::render::Pull::Never)?;
        made.write(&found.image)?;
        return Ok(Made::Image(Box::new(found.image)));
    }

    // From here on who interrupts finds nothing left.
    let watch = Watch::new(&ENDING).map_err(|error| CommandError::failed(format!("watch for signals: {error}")))?;
    let pods = context.pods()?;
    let layers = draft.images[0].layers.clone();
    let copies = Part::Inputs.of(&pods.directory(draft.choices.uuid));
    if !sources.copies.is_empty() {
        draft.images[0].layers.push(copies.clone());
    }
    let (prepared, _) = draft.prepare(&pods, Begin::AtOnce)?;
    drop(held);
    let mut pod = Building { pods: &pods, pod: Some(prepared), keep };
    if !sources.copies.is_empty() {
        inputs::lay(&sources.copies, &layers, &copies)?;
    }
    if let Some(code) = interrupted(&watch) {
        return Ok(Made::Nothing(code));
    }
    if let Some(code) = pod.run(&command, context)? {
        return Ok(Made::Nothing(code));
    }
    let pod_dir = pod.pod()?;
    let directory = sources.directory.take();
    let describe = made.describe(changed::parent(pod_dir, None)?, sources.manifest.keys(directory.as_deref())?)?;
    let how = Commit { flat: made.flat, epoch, newest };
    let origin = format!("build of {named}: {}", command.join(" "));
    let through = |archive| Watched { archive, watch: &watch };
    let image = match made::commit((pod_dir, None), &how, &describe, &origin, through, context) {
        Ok(obtained) => obtained.image,
        Err(error) => {
            return match interrupted(&watch) {
                Some(code) => Ok(Made::Nothing(code)),
                None => Err(error),
            };
        }
    };
    if let Err(error) = store.remember_build(&recipe, &image) {
        eprintln!("jetpack: the build is not remembered: failed to {}", appc::error::chain(&error));
    }
    pod.end()?;
    made.write(&image)?;
    Ok(Made::Image(Box::new(image)))
}

/// What asks a build to end.
const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// The exit code of somebody who was interrupted, if that happened.
fn interrupted(watch: &Watch) -> Option<ExitCode> {
    let signal = watch.next()?;
    eprintln!("jetpack: interrupted, and nothing is kept");
    Some(ExitCode::from(u8::try_from(128 + signal).unwrap_or(255)))
}

/// An archive that is read until somebody interrupts.
struct Watched<'a> {
    archive: PipeReader,
    watch: &'a Watch,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let mut both = [
                PollFd::new(&self.archive, PollFlags::IN),
                PollFd::from_borrowed_fd(self.watch.as_fd(), PollFlags::IN),
            ];
            match poll(&mut both, None) {
                Err(rustix::io::Errno::INTR) => continue,
                polled => polled?,
            };
            if !both[1].revents().is_empty() {
                return Err(io::Error::other("interrupted"));
            }
            return self.archive.read(buffer);
        }
    }
}

/// The pod that a command runs in, which goes when this does.
struct Building<'a> {
    pods: &'a Pods,
    pod: Option<PodDir>,
    keep: bool,
}

impl Building<'_> {
    fn pod(&self) -> Result<&PodDir, CommandError> {
        self.pod.as_ref().ok_or_else(|| CommandError::failed("find the pod of the build"))
    }

    /// Runs the command; gives the exit code where it failed, having told so.
    fn run(&mut self, command: &[String], context: &Context) -> Result<Option<ExitCode>, CommandError> {
        let supervision = crate::run::supervision(context);
        let ending = match local::start(self.pod()?, &context.root()?, supervision, assemble::tell_report) {
            Err(error) if *error.kind() == appc::executor::Kind::Interrupted => local::die(),
            ending => ending?,
        };
        // What the system still takes down of it is waited for.
        drop(ending.remains);
        if let Some(error) = ending.failure {
            return Err(error.into());
        }
        if ending.code == 0 {
            return Ok(None);
        }
        let program = command.first().map_or("", String::as_str);
        eprintln!("jetpack: no image is made: {program} ended with exit status {}", ending.code);
        if self.keep {
            let uuid = self.pod()?.uuid();
            eprintln!(
                "  hint: `jetpack build -t $(jetpack commit {uuid}) -- /bin/sh` is a shell in what there is, `jetpack diff {uuid}` \
                 tells what was changed, `jetpack rm {uuid}` removes it"
            );
        } else {
            eprintln!("  hint: --keep keeps the pod, to look at what there is");
        }
        Ok(Some(ExitCode::from(u8::try_from(ending.code & 0xff).unwrap_or(125))))
    }

    /// Takes the pod away, unless it is to be kept.
    fn end(&mut self) -> Result<(), CommandError> {
        let Some(pod) = self.pod.take() else { return Ok(()) };
        if self.keep {
            eprintln!("jetpack: the pod is kept: {}", pod.uuid());
            return Ok(());
        }
        local::remove(self.pods, pod, Damage::Keeps)?;
        Ok(())
    }
}

impl Drop for Building<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("jetpack: {}", error.into_message());
        }
    }
}
