//! Images on a command line, each with options of its own.
//!
//! Options for an image stand before it: `run --user web a.aci --user db b.aci`. Of one image alone they may stand behind it too; of
//! several, one behind the last could be meant for it or show that all stand behind theirs, and is refused.

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, FromArgMatches};

/// One image and what is said about it, options by name in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub struct ImageWords {
    /// The image, as it was named.
    pub image: String,
    /// Names of options and their values.
    pub options: Vec<(&'static str, String)>,
}

impl ImageWords {
    /// The last value of an option.
    pub fn last(&self, option: &str) -> Option<&str> {
        self.all(option).last()
    }

    /// All values of an option.
    pub fn all(&self, option: &str) -> impl DoubleEndedIterator<Item = &str> {
        self.options.iter().filter(move |(name, _)| *name == option).map(|(_, value)| value.as_str())
    }
}

/// The images of a command line, in order.
#[derive(Clone, Debug, Default)]
pub struct Images {
    /// The images.
    pub images: Vec<ImageWords>,
    /// The pod's name, where `--name` means the pod.
    pub pod_name: Option<String>,
}

const IMAGES: &str =
    "Files, URLs, IDs or beginnings of them, NAME[:VERSION][,label=value]..., or docker://NAME[:TAG|@DIGEST]";
const IMAGE: &str =
    "A file, a URL, an ID or the beginning of one, NAME[:VERSION][,label=value]..., or docker://NAME[:TAG|@DIGEST]";

const HEADING: &str = "Options for the image that follows (with one image, they may stand behind it)";

/// Options with a value: name, what the value is called, help.
const VALUED: [(&str, &str, &str); 21] = [
    ("name", "NAME", "Name of the app; of the pod too when it has one image"),
    ("exec", "PROGRAM", "Program in place of the app's own; arguments follow `--`"),
    ("user", "USER[:GROUP]", "User: a name in the image, a number, or a path whose owner counts"),
    ("group", "GROUP", "Group, likewise"),
    ("supplementary-gids", "GID,...", "Further groups in place of the app's own"),
    ("workdir", "DIR", "Working directory"),
    ("env", "NAME=VALUE", "Set an environment variable"),
    ("env-file", "FILE", "Set environment variables, one NAME=VALUE a line"),
    ("mount", "volume=NAME,target=PATH", "Mount a volume of the pod"),
    ("annotation", "NAME=VALUE", "Annotate the app"),
    ("label", "NAME=VALUE", "Take only an image with this label"),
    ("isolator", "NAME=JSON", "Add an isolator, or replace the one of its name"),
    ("cpu", "CORES", "Limit processor time, as 500m"),
    ("memory", "BYTES", "Limit memory, as 256M"),
    ("pids", "NUMBER", "Limit processes and threads"),
    ("caps-retain", "CAP,...", "Retain only these capabilities"),
    ("caps-remove", "CAP,...", "Remove these capabilities from the default set"),
    ("seccomp", "mode=retain|remove,set=CALL...,errno=E", "Filter system calls"),
    ("stdin", "null|tty|stream", "Where standard input comes from"),
    ("stdout", "null|tty|stream|log", "Where standard output goes"),
    ("stderr", "null|tty|stream|log", "Where standard error goes"),
];

const FLAG: (&str, &str) = ("readonly-rootfs", "Make the root file system read-only");

impl clap::Args for Images {
    fn augment_args(command: Command) -> Command {
        let images = Arg::new("images")
            .value_name("IMAGE")
            .action(ArgAction::Append)
            .required_unless_present("pod_manifest")
            .help(IMAGES);
        let mut command = command.arg(images);
        for (name, value, help) in VALUED {
            let mut arg = valued(name, value, help).help_heading(HEADING);
            // What an app of a pod manifest is stands there; the name may be the pod's.
            if name != "name" {
                arg = arg.conflicts_with("pod_manifest");
            }
            command = command.arg(arg);
        }
        // A flag that may stand for each image: a value is allowed so that its place is known.
        let flag = Arg::new(FLAG.0).long(FLAG.0).action(ArgAction::Append).num_args(0..=1).require_equals(true);
        let flag = flag.conflicts_with("pod_manifest");
        command.arg(flag.default_missing_value("true").value_name("BOOL").help(FLAG.1).help_heading(HEADING))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Images {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut images = placed(matches, "images");
        images.sort();
        let mut options: Vec<(usize, &'static str, String)> = Vec::new();
        for name in VALUED.iter().map(|(name, ..)| *name).chain([FLAG.0]) {
            options.extend(placed(matches, name).into_iter().map(|(place, value)| (place, name, value)));
        }
        options.sort();
        grouped(&images, &options)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// One image with what is said about its app, where what the app is called and what it runs is decided elsewhere.
#[derive(Clone, Debug)]
pub struct OneImage(pub ImageWords);

/// What is decided elsewhere.
const DECIDED: [&str; 3] = ["name", "exec", "annotation"];

impl clap::Args for OneImage {
    fn augment_args(command: Command) -> Command {
        let image = Arg::new("image").value_name("IMAGE").required(true).help(IMAGE);
        let options = VALUED.into_iter().filter(|(name, ..)| !DECIDED.contains(name));
        let options =
            options.map(|(name, value, help)| valued(name, value, help).help_heading("Options for the command"));
        command.arg(image).args(options)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for OneImage {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let image = matches.get_one::<String>("image").cloned().unwrap_or_default();
        let mut options: Vec<(usize, &'static str, String)> = Vec::new();
        for (name, ..) in VALUED.iter().filter(|(name, ..)| !DECIDED.contains(name)) {
            options.extend(placed(matches, name).into_iter().map(|(place, value)| (place, *name, value)));
        }
        options.sort();
        let options = options.into_iter().map(|(_, name, value)| (name, value)).collect();
        Ok(Self(ImageWords { image, options }))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn valued(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    let arg = Arg::new(name).long(name).value_name(value).action(ArgAction::Append);
    let arg = match name {
        "env" => arg.short('e'),
        "user" => arg.short('u'),
        "workdir" => arg.short('w'),
        "exec" => arg.visible_alias("entrypoint"),
        _ => arg,
    };
    arg.help(help).allow_hyphen_values(name == "exec")
}

fn placed(matches: &ArgMatches, name: &str) -> Vec<(usize, String)> {
    let values = matches.get_many::<String>(name).into_iter().flatten().cloned();
    matches.indices_of(name).into_iter().flatten().zip(values).collect()
}

fn grouped(images: &[(usize, String)], options: &[(usize, &'static str, String)]) -> Result<Images, clap::Error> {
    let mut words: Vec<ImageWords> =
        images.iter().map(|(_, image)| ImageWords { image: image.clone(), options: Vec::new() }).collect();
    if images.is_empty() {
        // A pod manifest: only the pod's name can be meant.
        let name = options.iter().rfind(|(_, name, _)| *name == "name").map(|(.., value)| value.clone());
        return Ok(Images { images: Vec::new(), pod_name: name });
    }
    for (place, name, value) in options {
        let following = match images.iter().position(|(image, _)| image > place) {
            Some(following) => following,
            None if images.len() == 1 => 0,
            None => return Err(behind(images, name, value)),
        };
        words[following].options.push((name, value.clone()));
    }
    let pod_name = if words.len() == 1 { words[0].last("name").map(str::to_owned) } else { None };
    Ok(Images { images: words, pod_name })
}

fn behind(images: &[(usize, String)], name: &str, value: &str) -> clap::Error {
    let last = images.last().map_or("", |(_, image)| image.as_str());
    let option = if name == FLAG.0 { format!("--{name}") } else { format!("--{name} {value}") };
    let message = format!(
        "`{option}` stands behind the last image; of several images, each has its options before it: {option} {last}"
    );
    clap::Error::raw(ErrorKind::ArgumentConflict, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Images, clap::Error> {
        let command = <Images as clap::Args>::augment_args(Command::new("run").no_binary_name(true));
        let command = command.arg(Arg::new("pod_manifest").long("pod-manifest"));
        Images::from_arg_matches(&command.get_matches_from(line.split(' ')))
    }

    fn read(line: &str) -> Images {
        parse(line).unwrap()
    }

    fn users(line: &str) -> Vec<Vec<String>> {
        read(line).images.iter().map(|image| image.all("user").map(str::to_owned).collect()).collect()
    }

    #[test]
    fn options_belong_to_the_image_that_follows() {
        assert_eq!(users("--user a x --user b y"), [["a"], ["b"]]);
        assert_eq!(users("x --user b y"), [vec![], vec!["b"]]);
        assert_eq!(users("--user a x y"), [vec!["a"], vec![]]);
        assert_eq!(users("x --user a"), [["a"]]);
    }

    #[test]
    fn an_option_behind_the_last_of_several_images_is_refused_and_moves_no_other() {
        for line in ["x y --user b", "x --user a y --user b", "--user a x y --user c", "x y --readonly-rootfs"] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains("stands behind the last image") && error.contains(" y"), "{error}");
        }
    }

    #[test]
    fn the_name_of_the_only_app_is_the_pods() {
        assert_eq!(read("--name a x").pod_name.as_deref(), Some("a"));
        assert_eq!(read("--name a x --name b y").pod_name, None);
        assert_eq!(read("--pod-manifest f --name a").pod_name.as_deref(), Some("a"));
    }

    #[test]
    fn a_flag_keeps_its_place() {
        let images = read("x --readonly-rootfs y").images;
        assert_eq!((images[0].last("readonly-rootfs"), images[1].last("readonly-rootfs")), (None, Some("true")));
    }
}
