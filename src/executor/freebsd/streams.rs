//! Datasets of the store as streams of `zfs send` and `zfs receive`.
//!
//! ```text
//! <root>/images/recv-<name>     a tree that is received, whole name; mounted when all of it came, to be looked at
//! ```
//! A stream is looked at before `zfs receive` gets it ([`Begin`]): it is one snapshot of one file system, the one that was
//! announced, and a difference to nothing else than the base that is here. So no property, no further dataset and no origin comes
//! from outside. What it holds is for the caller to check, before it is sealed.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use super::begin::{self, Begin};
use super::datasets::{Datasets, Making, SEALED, failed, short};
use super::system::{Program, Programs, Ran};
use crate::store::{Draft, Error, Kind, Progress, Result, Sent, Snapshot, Streams, TreeName};

/// How the last component of a dataset begins into which a tree is received.
pub(super) const RECEIVED: &str = "recv-";

impl<S: Programs + Clone + Send + 'static> Datasets<S> {
    fn received(&self, name: &TreeName) -> String {
        self.dataset(&format!("{RECEIVED}{name}"))
    }

    /// Properties of a dataset or snapshot, one a line; nothing where it is not there.
    fn properties(&self, names: &str, of: &str) -> Result<Option<Vec<String>>> {
        match self.zfs(&["get", "-H", "-p", "-o", "value", names, of]) {
            Ok(told) => Ok(Some(told.lines().map(str::to_owned).collect())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(format!("look at {of}"), error)),
        }
    }

    fn guid(&self, snapshot: &str) -> Result<Option<u64>> {
        let told = self.properties("guid", snapshot)?;
        Ok(told.and_then(|lines| lines.first()?.parse().ok()))
    }

    /// What the pool can hold.
    fn features(&self) -> Result<BTreeSet<String>> {
        let pool = self.root.split('/').next().unwrap_or(&self.root);
        let told = self
            .system()
            .run(Program::Zpool, &["get", "-H", "-o", "property,value", "all", pool], "")
            .and_then(Ran::success)
            .map_err(|error| failed(format!("ask what the pool {pool} can do"), error))?;
        let feature = |line: &str| {
            let (name, value) = line.split_once('\t')?;
            (value != "disabled").then(|| name.strip_prefix("feature@").map(str::to_owned))?
        };
        Ok(told.lines().filter_map(feature).collect())
    }

    fn judge(&self, name: &TreeName, expected: &Snapshot, goes_on: bool, begin: &Begin) -> Result<()> {
        let refused = |why: String| Err(Error::new(Kind::Refused, format!("receive the tree {name}")).because(why));
        let base = expected.base.as_ref().map_or(0, |(_, guid)| *guid);
        if (begin.to, begin.from) != (expected.guid, base) || !begin.name.ends_with(&format!("@{SEALED}")) {
            return refused(format!("the stream is of {}, which was not announced", begin.name));
        }
        if begin.resumes() != goes_on {
            return refused("it goes on behind something else than what is here".to_owned());
        }
        let lacking = begin.lacking(&self.features()?);
        if !lacking.is_empty() {
            let pool = self.root.split('/').next().unwrap_or(&self.root);
            let (features, first) = (lacking.join(", "), lacking[0]);
            return refused(format!(
                "the pool {pool} lacks the feature {features} (zpool set feature@{first}=enabled {pool}), which a plain stream has no need of"
            ));
        }
        match &expected.base {
            Some((base, guid)) if self.guid(&format!("{}@{SEALED}", self.dataset(&short(base))))? != Some(*guid) => {
                let missing = Error::new(Kind::Missing, format!("receive the tree {name}"));
                Err(missing.because(format!("it is a difference to {base}, which did not come here by a stream")))
            }
            _ => Ok(()),
        }
    }
}

impl<S: Programs + Clone + Send + 'static> Streams for Datasets<S> {
    fn snapshot(&self, name: &TreeName) -> Result<Option<Snapshot>> {
        let dataset = self.dataset(&short(name));
        let Some(guid) = self.guid(&format!("{dataset}@{SEALED}"))? else { return Ok(None) };
        let origin = self.properties("origin", &dataset)?.and_then(|lines| lines.into_iter().next());
        let base =
            match origin.as_deref().and_then(|origin| Some((origin, origin.strip_suffix(&format!("@{SEALED}"))?))) {
                // One that is no tree any more is nothing that the other side could have.
                Some((snapshot, dataset)) => {
                    let tree = self.properties("appc:tree", dataset)?.and_then(|lines| TreeName::read(lines.first()?));
                    tree.zip(self.guid(snapshot)?)
                }
                None => None,
            };
        Ok(Some(Snapshot { guid, base }))
    }

    fn send(&self, what: &Sent<'_>, into: &mut dyn Write) -> Result<()> {
        let mut arguments = vec!["send".to_owned()];
        let doing = match what {
            Sent::Rest { token } => {
                arguments.extend(["-t".to_owned(), (*token).to_owned()]);
                "send the rest of a tree".to_owned()
            }
            Sent::Tree { name, difference, plain } => {
                let dataset = self.dataset(&short(name));
                if !plain {
                    arguments.extend(["-c", "-L", "-e"].map(str::to_owned));
                }
                if *difference {
                    let origin = self.properties("origin", &dataset)?.and_then(|lines| lines.into_iter().next());
                    arguments.extend(origin.into_iter().flat_map(|origin| ["-i".to_owned(), origin]));
                }
                arguments.push(format!("{dataset}@{SEALED}"));
                format!("send the tree {name}")
            }
        };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ran = self.another().system().drain(Program::Zfs, &arguments, into);
        ran.and_then(Ran::success).map_err(|error| failed(doing, error)).map(drop)
    }

    fn receive(&self, name: &TreeName, expected: &Snapshot, goes_on: bool, mut from: &mut dyn Read) -> Result<()> {
        let doing = || format!("receive the tree {name}");
        let mut record = [0; begin::LENGTH];
        from.read_exact(&mut record).map_err(|error| Error::new(Kind::Io, doing()).because(error))?;
        let begin = Begin::read(&record).map_err(|why| Error::new(Kind::Refused, doing()).because(why))?;
        self.judge(name, expected, goes_on, &begin)?;
        if !goes_on {
            self.abandon(name)?;
        }
        let dataset = self.received(name);
        let mut whole = record.as_slice().chain(&mut from);
        // Not through the lock: others may go on asking meanwhile.
        let ran = self.another().system().feed(Program::Zfs, &["receive", "-s", "-u", &dataset], &mut whole);
        ran.and_then(Ran::success).map_err(|error| failed(doing(), error)).map(drop)
    }

    fn progress(&self, name: &TreeName) -> Result<Progress> {
        let token = self.properties("receive_resume_token", &self.received(name))?;
        Ok(match token.map(|lines| lines.into_iter().next().unwrap_or_default()) {
            None => Progress::None,
            Some(token) if token.is_empty() || token == "-" => Progress::Whole,
            Some(token) => Progress::Partly(token),
        })
    }

    fn whole(&self, name: &TreeName) -> Result<Box<dyn Draft>> {
        let dataset = self.received(name);
        let mounted = self.properties("mounted", &dataset)?;
        if mounted.is_none_or(|lines| lines.first().is_none_or(|told| told != "yes")) {
            self.zfs(&["mount", &dataset]).map_err(|error| failed(format!("mount {dataset}"), error))?;
        }
        let path = self.directory(&format!("{RECEIVED}{name}"));
        let making =
            Making { datasets: self.another(), dataset: Some(dataset.clone()), path, begun: true, sealed: true };
        // These alone come with the files, whatever the stream is; by others names would mean other files here.
        let names = "casesensitivity,normalization,utf8only";
        let own = self.properties(names, &format!("{}/images", self.root))?;
        if self.properties(names, &dataset)? != own {
            let refused = Error::new(Kind::Refused, format!("receive the tree {name}"));
            return Err(refused.because(format!("its {names} are not those of this store's datasets")));
        }
        Ok(Box::new(making))
    }

    fn unfinished(&self) -> Result<Vec<TreeName>> {
        let images = format!("{}/images", self.root);
        let listed = self
            .zfs(&["list", "-H", "-r", "-d", "1", "-t", "filesystem", "-o", "name", &images])
            .map_err(|error| failed(format!("list the datasets below {images}"), error))?;
        let name = |line: &str| TreeName::read(line.rsplit('/').next()?.strip_prefix(RECEIVED)?);
        Ok(listed.lines().filter_map(name).collect())
    }

    fn abandon(&self, name: &TreeName) -> Result<()> {
        let dataset = self.received(name);
        // Of one that is there in part this is the way; what is whole is a dataset like others.
        let aborted = self.zfs(&["receive", "-A", &dataset]);
        match self.zfs(&["destroy", "-r", &dataset]) {
            Err(error) if error.kind() == io::ErrorKind::NotFound || aborted.is_ok() => {}
            destroyed => drop(destroyed.map_err(|error| failed(format!("destroy {dataset}"), error))?),
        }
        let _ = std::fs::remove_dir(self.directory(&format!("{RECEIVED}{name}")));
        Ok(())
    }
}
