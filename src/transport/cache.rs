//! What servers said before, on disk: small documents whole, of images which one it was.
//!
//! ```text
//! <directory>/<sha256 of the URL>   one line of JSON, then the body
//! ```
//! May be thrown away at any time, and is kept within bounds: what was written longest ago goes first. Files are replaced by rename and are for their owner's eyes: pages got with a
//! password are among them. Entries that cannot be read are as good as none. That there is nothing is never kept, whatever
//! the server says of it: who publishes an image for which somebody has just asked in vain wants it found.

use std::fs::{self, DirBuilder};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use super::message::{Request, Response, Validators};
use super::{Client, Error, Kind};
use crate::whole::{self, Durability};

/// The longest that anything is used without asking, whatever the server allows.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// The most that an entry may hold, in bytes.
const MAX_ENTRY: u64 = 8 << 20;

/// Entries that are kept, and their bytes in all.
const MAX_ENTRIES: usize = 1000;
const MAX_BYTES: u64 = 64 << 20;

/// What a server said about a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What tells this state of it from others.
    pub validators: Validators,
    /// Until when it may be used without asking.
    pub fresh_until: SystemTime,
    /// For images, which one it was and who signed it, as its writer likes.
    pub note: String,
    /// For documents, the document.
    pub body: Vec<u8>,
    /// Where it came from in the end.
    pub url: Url,
    /// Whether that had a public address, which bounds where it may send us.
    pub public: bool,
}

/// What there is to remember of URLs, or to forget.
pub type News = Vec<(Url, Option<Entry>)>;

impl Entry {
    /// What to keep of an answer, if it may be kept.
    pub(crate) fn of(response: &Response) -> Option<Self> {
        let fresh_until = SystemTime::now() + response.max_age?.min(MAX_AGE);
        let (validators, url, public) = (response.validators.clone(), response.url.clone(), response.public);
        Some(Self { validators, fresh_until, note: String::new(), body: Vec::new(), url, public })
    }

    /// Whether it may be used without asking.
    pub(crate) fn is_fresh(&self) -> bool {
        let now = SystemTime::now();
        // A date too far ahead was written under another clock.
        now < self.fresh_until && self.fresh_until <= now + MAX_AGE
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    asked: String,
    url: String,
    etag: Option<String>,
    last_modified: Option<String>,
    fresh_until: u64,
    note: String,
    public: bool,
}

/// A directory of entries.
#[derive(Clone, Debug)]
pub struct Cache(PathBuf);

impl Cache {
    /// Uses `directory`, made when there is something to keep.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// What is known about `url`.
    pub(crate) fn get(&self, url: &Url) -> Option<Entry> {
        let mut bytes = Vec::new();
        fs::File::open(self.path(url)).ok()?.take(MAX_ENTRY).read_to_end(&mut bytes).ok()?;
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(&bytes[..end]).ok()?;
        (head.asked == url.as_str()).then_some(())?;
        Some(Entry {
            validators: Validators { etag: head.etag, last_modified: head.last_modified },
            fresh_until: UNIX_EPOCH.checked_add(Duration::from_secs(head.fresh_until))?,
            note: head.note,
            body: bytes.split_off(end + 1),
            url: head.url.parse().ok()?,
            public: head.public,
        })
    }

    /// Remembers what was said about `url`.
    pub fn put(&self, url: &Url, entry: &Entry) -> Result<(), Error> {
        let path = self.path(url);
        let failed = |error: io::Error| Error::new(Kind::Io, format!("write {}", path.display())).because(error);
        let head = Head {
            asked: url.to_string(),
            url: entry.url.to_string(),
            etag: entry.validators.etag.clone(),
            last_modified: entry.validators.last_modified.clone(),
            fresh_until: entry.fresh_until.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
            note: entry.note.clone(),
            public: entry.public,
        };
        let mut bytes = serde_json::to_vec(&head).map_err(|error| failed(error.into()))?;
        bytes.push(b'\n');
        bytes.extend_from_slice(&entry.body);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(failed)?;
        whole::replace(&path, 0o600, &bytes, Durability::Usual).map_err(failed)
    }

    /// Remembers and forgets. The cache saves work and is never needed: what cannot be kept is asked again.
    pub fn remember(&self, news: News) {
        let more = !news.is_empty();
        for (url, entry) in news {
            match entry {
                Some(entry) => drop(self.put(&url, &entry)),
                None => drop(fs::remove_file(self.path(&url))),
            }
        }
        if more {
            let _ = self.trim(MAX_ENTRIES, MAX_BYTES);
        }
    }

    /// Forgets all. Says how many bytes that frees.
    pub fn clear(&self) -> Result<u64, Error> {
        self.trim(0, 0)
            .map_err(|error| Error::new(Kind::Io, format!("empty the cache {}", self.0.display())).because(error))
    }

    /// Forgets what was written longest ago, until so many entries and bytes are left at most. Says how many bytes that frees.
    fn trim(&self, entries: usize, bytes: u64) -> io::Result<u64> {
        let listed = match fs::read_dir(&self.0) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        for entry in listed {
            let entry = entry?;
            // One that somebody else has taken away meanwhile is none.
            if let Ok(about) = entry.metadata() {
                files.push((about.modified().unwrap_or(UNIX_EPOCH), about.len(), entry.path()));
            }
        }
        files.sort_unstable();
        let mut count = files.len();
        let mut total: u64 = files.iter().map(|(_, length, _)| length).sum();
        let mut freed = 0;
        for (_, length, path) in files {
            if count <= entries && total <= bytes {
                break;
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            (count, total, freed) = (count - 1, total - length, freed + length);
        }
        Ok(freed)
    }

    /// A document: as it was while that is allowed or the server says that it still is, else as it is now. What there is
    /// to remember of it is added to `news`, for when what it was wanted for succeeds: what fails leaves no trace.
    /// Answers other than 2xx are not kept.
    pub fn document(&self, client: &Client, request: &Request, news: &mut News) -> Result<(u16, Vec<u8>, Url), Error> {
        let known = self.get(&request.url);
        if let Some(known) = known.as_ref().filter(|known| known.is_fresh()) {
            client.recall(&known.url, known.public);
            return Ok((200, known.body.clone(), known.url.clone()));
        }
        let request = Request { unless: known.as_ref().map(|known| known.validators.clone()), ..request.clone() };
        let (response, body) = client.document(&request)?;
        let (status, url, entry) = (response.status, response.url.clone(), Entry::of(&response));
        if let (304, Some(known)) = (status, known) {
            if let Some(entry) = entry {
                news.push((request.url, Some(Entry { fresh_until: entry.fresh_until, ..known.clone() })));
            }
            return Ok((200, known.body, known.url));
        }
        if (200..=299).contains(&status) {
            news.push((request.url, entry.map(|entry| Entry { body: body.clone(), ..entry })));
        }
        Ok((status, body, url))
    }

    fn path(&self, url: &Url) -> PathBuf {
        let digest = Sha256::digest(url.as_str());
        self.0.join(digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_found_again_and_rubbish_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().join("http"));
        let url: Url = "https://h/a?b".parse().unwrap();
        let entry = Entry {
            validators: Validators { etag: Some("\"x\"".to_owned()), last_modified: None },
            fresh_until: UNIX_EPOCH + Duration::from_secs(5),
            note: "n".to_owned(),
            body: b"a\nb\0".to_vec(),
            url: "https://h/c".parse().unwrap(),
            public: true,
        };
        assert_eq!(cache.get(&url), None);
        cache.put(&url, &entry).unwrap();
        assert_eq!(cache.get(&url), Some(entry.clone()));
        assert!(!entry.is_fresh());
        fs::write(cache.path(&url), b"rubbish").unwrap();
        assert_eq!(cache.get(&url), None);
    }

    #[test]
    fn it_stays_within_bounds_and_can_be_emptied() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path().join("http"));
        assert_eq!(cache.clear().unwrap(), 0);
        let url = |number: u32| -> Url { format!("https://h/{number}").parse().unwrap() };
        let entry = Entry {
            validators: Validators::default(),
            fresh_until: UNIX_EPOCH,
            note: String::new(),
            body: vec![b'x'; 1000],
            url: url(0),
            public: false,
        };
        for number in 0..10 {
            cache.put(&url(number), &entry).unwrap();
            let old = UNIX_EPOCH + Duration::from_secs(number.into());
            fs::File::options().write(true).open(cache.path(&url(number))).unwrap().set_modified(old).unwrap();
        }
        let left = || (0..10).filter(|number| cache.get(&url(*number)).is_some()).collect::<Vec<_>>();
        cache.trim(7, u64::MAX).unwrap();
        assert_eq!(left(), [3, 4, 5, 6, 7, 8, 9]);
        cache.trim(7, 3 * 1200).unwrap();
        assert_eq!(left(), [7, 8, 9]);
        assert!(cache.clear().unwrap() > 3000);
        assert_eq!(fs::read_dir(directory.path().join("http")).unwrap().count(), 0);
    }

    #[test]
    fn threads_that_keep_the_same_page_at_once_all_succeed() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let url: Url = "https://h/".parse().unwrap();
        let entry = Entry {
            validators: Validators::default(),
            fresh_until: UNIX_EPOCH,
            note: String::new(),
            body: vec![b'x'; 1000],
            url: url.clone(),
            public: false,
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..100).for_each(|_| cache.put(&url, &entry).unwrap()));
            }
        });
        assert_eq!(cache.get(&url), Some(entry));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn freshness_ends_and_cannot_be_far_ahead() {
        let url: Url = "https://h/".parse().unwrap();
        let entry = |fresh_until| Entry {
            validators: Validators::default(),
            fresh_until,
            note: String::new(),
            body: Vec::new(),
            url: url.clone(),
            public: false,
        };
        assert!(entry(SystemTime::now() + Duration::from_secs(60)).is_fresh());
        assert!(!entry(SystemTime::now() + MAX_AGE * 3).is_fresh());
    }
}
