//! What a program is made for, and what it needs beside itself: read from its file, nothing is run.
//!
//! The answer is what the program's own linker would find in the same tree: libraries by their names, along the program's paths, the
//! configured and the usual ones. What a program loads by itself later (plugins, name services) no file says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use object::Endianness;
use object::elf::{self, DT_NEEDED, DT_RPATH, DT_RUNPATH, FileHeader32, FileHeader64, Ident};
use object::read::elf::{Dyn as _, FileHeader, NoteIterator, ProgramHeader as _};
use object::read::{ReadCache, ReadRef, StringTable};

use crate::error::Failure;

/// Why it cannot be told.
pub type Error = Failure<Kind>;

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The file cannot be read.
    Io,
    /// The file is no program, or not as one has to be.
    Invalid,
}

/// A chain of links is followed so far, as kernels do.
const LINKS: usize = 40;
/// No program needs more files than these.
const FILES: usize = 4096;
/// Nothing that is read in whole is larger, in bytes.
const PART: u64 = 16 << 20;

/// What a file that can be run says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The `os` label of an image with it, where the file tells.
    pub os: Option<&'static str>,
    /// The `arch` label.
    pub arch: Option<&'static str>,
    /// The program that runs it: its linker, or a script's interpreter.
    pub interpreter: Option<PathBuf>,
    /// The libraries that it names.
    pub libraries: Vec<String>,
    /// Where it wants them to be looked for first.
    paths: Vec<String>,
}

/// All that a program needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The program itself.
    pub program: Program,
    /// Files of the tree, by the paths under which they are looked for.
    pub files: BTreeSet<PathBuf>,
    /// What is not in the tree, and what wants it.
    pub missing: BTreeMap<String, PathBuf>,
}

impl Program {
    /// Reads a file; nothing: it is neither an ELF program nor a script.
    ///
    /// # Errors
    /// [`Kind::Io`]; [`Kind::Invalid`]: it begins as one, but is not as one has to be.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        let failed = |error: io::Error| Error::new(Kind::Io, format!("read {}", path.display())).because(error);
        // What is no file may wait for somebody when it is opened.
        if !fs::metadata(path).map_err(failed)?.is_file() {
            return Ok(None);
        }
        let mut file = File::open(path).map_err(failed)?;
        let mut head = Vec::new();
        (&mut file).take(256).read_to_end(&mut head).map_err(failed)?;
        if let Some(line) = head.strip_prefix(b"#!") {
            let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
            let word = String::from_utf8_lossy(line).split_whitespace().next().map(PathBuf::from);
            return Ok(Some(Self { interpreter: word, ..Self::default() }));
        }
        if !head.starts_with(b"\x7fELF") {
            return Ok(None);
        }
        let data = ReadCache::new(file);
        let program = match head.get(4) {
            Some(1) => elf::<FileHeader32<Endianness>, _>(&data),
            _ => elf::<FileHeader64<Endianness>, _>(&data),
        };
        let invalid =
            |why| Error::new(Kind::Invalid, format!("understand the program {}", path.display())).because(why);
        program.map(Some).map_err(invalid)
    }
}

fn elf<'d, F: FileHeader<Endian = Endianness>, R: ReadRef<'d>>(data: R) -> Result<Program, String> {
    let wrong = |error: object::read::Error| error.to_string();
    let header = F::parse(data).map_err(wrong)?;
    let endian = header.endian().map_err(wrong)?;
    let segments = header.program_headers(endian, data).map_err(wrong)?;
    let mut program = Program { os: of_abi(header.e_ident()), ..Program::default() };
    program.arch = match (header.e_machine(endian), endian) {
        (elf::EM_X86_64, _) => Some("amd64"),
        (elf::EM_386, _) => Some("i386"),
        (elf::EM_AARCH64, Endianness::Little) => Some("aarch64"),
        (elf::EM_AARCH64, Endianness::Big) => Some("aarch64_be"),
        (elf::EM_ARM, Endianness::Little) => Some("armv7l"),
        (elf::EM_ARM, Endianness::Big) => Some("armv7b"),
        (elf::EM_PPC64, Endianness::Little) => Some("ppc64le"),
        (elf::EM_PPC64, Endianness::Big) => Some("ppc64"),
        (elf::EM_S390, _) => Some("s390x"),
        _ => None,
    };
    for segment in segments {
        if segment.p_filesz(endian).into() > PART {
            continue;
        }
        if let Some(path) = segment.interpreter(endian, data).map_err(wrong)? {
            program.interpreter = Some(PathBuf::from(String::from_utf8_lossy(path).into_owned()));
        }
        let mut notes = segment.notes(endian, data).map_err(wrong)?;
        while let Some(note) = notes.as_mut().map_or(Ok(None), NoteIterator::next).map_err(wrong)? {
            match note.name() {
                b"FreeBSD" => program.os = Some("freebsd"),
                b"GNU" if note.n_type(endian) == elf::NT_GNU_ABI_TAG && note.desc().starts_with(&[0; 4]) => {
                    program.os = Some("linux");
                }
                _ => {}
            }
        }
        let Some(entries) = segment.dynamic(endian, data).map_err(wrong)? else { continue };
        let word =
            |tag| entries.iter().find(|entry| entry.d_tag(endian) == tag).map(|entry| entry.d_val(endian).into());
        let (Some(address), Some(size)) = (word(elf::DT_STRTAB), word(elf::DT_STRSZ)) else { continue };
        // Where the file has what is at that address when it runs.
        let at = segments.iter().find_map(|segment| {
            let (start, length) = (segment.p_vaddr(endian).into(), segment.p_filesz(endian).into());
            let inside =
                segment.p_type(endian) == elf::PT_LOAD && (start..start.saturating_add(length)).contains(&address);
            inside.then(|| (address - start).checked_add(segment.p_offset(endian).into())).flatten()
        });
        let Some(at) = at.filter(|_| size <= PART) else { continue };
        let strings = StringTable::new(data, at, at.saturating_add(size));
        let text = |entry: &F::Dyn| {
            let text = u32::try_from(entry.d_val(endian).into()).ok().and_then(|at| strings.get(at).ok());
            text.map(|text| String::from_utf8_lossy(text).into_owned()).ok_or("a name lies outside its table")
        };
        for entry in entries.iter().take_while(|entry| entry.d_tag(endian) != elf::DT_NULL).take(FILES) {
            match entry.d_tag(endian) {
                DT_NEEDED => program.libraries.push(text(entry)?),
                // The newer one counts where both are there; it comes behind then, or before: neither is lost.
                DT_RUNPATH | DT_RPATH => program.paths.extend(text(entry)?.split(':').map(str::to_owned)),
                _ => {}
            }
        }
    }
    // A program that nothing was said of is one that needs nothing but the kernel; only Linux ones say nothing.
    if program.os.is_none() {
        program.os = match program.interpreter.as_deref().map(|path| path.to_string_lossy().into_owned()) {
            Some(linker) if linker.starts_with("/libexec/ld-elf") => Some("freebsd"),
            _ => Some("linux"),
        };
    }
    Ok(program)
}

fn of_abi(ident: &Ident) -> Option<&'static str> {
    match ident.os_abi {
        elf::ELFOSABI_FREEBSD => Some("freebsd"),
        elf::ELFOSABI_GNU => Some("linux"),
        _ => None,
    }
}

/// Everything that the program at `path` of the tree at `root` needs, found there.
///
/// # Errors
/// [`Kind::Io`]: the program is not there or cannot be read; [`Kind::Invalid`]: it, or what it needs, is no program.
pub fn needs(root: &Path, path: &Path) -> Result<Needs, Error> {
    let doing = || format!("find what {} needs", path.display());
    let real = within(root, path).ok_or_else(|| {
        Error::new(Kind::Io, doing()).because(format!("there is no such file below {}", root.display()))
    })?;
    let program = Program::read(&real)?
        .ok_or_else(|| Error::new(Kind::Invalid, doing()).because("it is neither an ELF program nor a script"))?;
    let tree = Tree { root, configured: configured(root) };
    let mut needs = Needs { program: program.clone(), ..Needs::default() };
    let mut waiting = VecDeque::from([(path.to_owned(), program)]);
    while let Some((of, program)) = waiting.pop_front() {
        let interpreter =
            program.interpreter.iter().map(|path| (path.to_string_lossy().into_owned(), Some(path.clone())));
        let libraries = program.libraries.iter().map(|name| (name.clone(), tree.find(name, &of, &program)));
        for (name, found) in interpreter.chain(libraries) {
            let there = found.and_then(|found| Some((within(root, &found)?, found)));
            let Some((real, found)) = there else {
                needs.missing.entry(name).or_insert_with(|| of.clone());
                continue;
            };
            if !needs.files.insert(found.clone()) {
                continue;
            }
            if needs.files.len() > FILES {
                return Err(Error::new(Kind::Invalid, doing()).because(format!("it needs more than {FILES} files")));
            }
            let Some(mut next) = Program::read(&real)? else { continue };
            // A script says nothing of a system; what runs it does.
            if needs.program.arch.is_none() {
                (needs.program.os, needs.program.arch) = (next.os, next.arch);
            }
            // What is looked for by a library is looked for along the program's paths, too.
            next.paths.extend(program.paths.iter().cloned());
            waiting.push_back((found, next));
        }
    }
    Ok(needs)
}

/// A tree with libraries.
struct Tree<'r> {
    root: &'r Path,
    /// Directories that its `ld.so.conf` names.
    configured: Vec<PathBuf>,
}

impl Tree<'_> {
    /// The first file of this name that fits `program`, which lies at `of`.
    fn find(&self, name: &str, of: &Path, program: &Program) -> Option<PathBuf> {
        if name.contains('/') {
            return Some(PathBuf::from(name));
        }
        let origin = of.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
        let own = program
            .paths
            .iter()
            .map(|path| PathBuf::from(path.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin)));
        let usual = usual(program);
        let all = own.chain(self.configured.iter().cloned()).chain(usual).filter(|directory| directory.is_absolute());
        all.map(|directory| directory.join(name)).find(|path| {
            let read = within(self.root, path).and_then(|real| Program::read(&real).ok().flatten());
            read.is_some_and(|library| library.arch == program.arch)
        })
    }
}

/// Where linkers look when nobody says.
fn usual(program: &Program) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    if program.os != Some("freebsd") {
        let triplet = match program.arch {
            Some("amd64") => "x86_64-linux-gnu",
            Some("i386") => "i386-linux-gnu",
            Some("aarch64") => "aarch64-linux-gnu",
            Some("armv7l") => "arm-linux-gnueabihf",
            Some("ppc64le") => "powerpc64le-linux-gnu",
            Some("s390x") => "s390x-linux-gnu",
            _ => "",
        };
        if !triplet.is_empty() {
            all.extend(["/lib", "/usr/lib"].map(|lib| Path::new(lib).join(triplet)));
        }
        all.extend(["/lib64", "/usr/lib64"].map(PathBuf::from));
    }
    all.extend(["/lib", "/usr/lib", "/usr/local/lib"].map(PathBuf::from));
    all
}

/// The directories of `/etc/ld.so.conf` and of the files that it includes.
fn configured(root: &Path) -> Vec<PathBuf> {
    let read = |path: &Path| -> String {
        let mut text = String::new();
        let file = within(root, path).filter(|real| real.is_file()).and_then(|real| File::open(real).ok());
        let _ = file.map(|file| file.take(PART).read_to_string(&mut text));
        text
    };
    let mut found = Vec::new();
    let mut files = VecDeque::from([PathBuf::from("/etc/ld.so.conf")]);
    let mut budget = FILES;
    while let Some(file) = files.pop_front() {
        for line in read(&file).lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            let Some(pattern) = line.strip_prefix("include").filter(|rest| rest.starts_with([' ', '\t'])) else {
                found.extend(line.starts_with('/').then(|| PathBuf::from(line)));
                continue;
            };
            // The only pattern that is in use: all files of a directory with one ending.
            let pattern = Path::new("/etc").join(pattern.trim());
            let (Some(directory), Some(name)) = (pattern.parent(), pattern.file_name().and_then(|name| name.to_str()))
            else {
                continue;
            };
            let ending = name.strip_prefix('*');
            let Some(real) = within(root, directory) else { continue };
            let mut names: Vec<String> = fs::read_dir(real)
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| entry.file_name().into_string().ok())
                .filter(|found| ending.map_or(found == name, |ending| found.ends_with(ending)))
                .collect();
            names.sort_unstable();
            names.truncate(budget);
            budget -= names.len();
            files.extend(names.into_iter().map(|name| directory.join(name)));
        }
    }
    found
}

/// Where `path` of the tree at `root` is, with links led through as they will be when that is a root directory; nothing: nowhere.
///
/// The tree is the caller's own, so a path will do: nobody changes it meanwhile whom that would help.
pub fn within(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut waiting: VecDeque<_> = path.components().map(|part| part.as_os_str().to_owned()).collect();
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(part) = waiting.pop_front() {
        match Path::new(&part).components().next()? {
            Component::RootDir | Component::Prefix(_) => at = PathBuf::new(),
            Component::CurDir => {}
            Component::ParentDir => drop(at.pop()),
            Component::Normal(name) => {
                let next = root.join(&at).join(name);
                if fs::symlink_metadata(&next).ok()?.is_symlink() {
                    links += 1;
                    if links > LINKS {
                        return None;
                    }
                    let target = fs::read_link(&next).ok()?;
                    for part in target.components().rev() {
                        waiting.push_front(part.as_os_str().to_owned());
                    }
                } else {
                    at.push(name);
                }
            }
        }
    }
    Some(root.join(at))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_within_the_tree() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("usr/lib")).unwrap();
        fs::write(tree.path().join("usr/lib/libc.so"), "x").unwrap();
        symlink("/usr/lib", tree.path().join("lib")).unwrap();
        symlink("../../../../../usr/lib/libc.so", tree.path().join("usr/up")).unwrap();
        symlink("round", tree.path().join("round")).unwrap();
        let real = tree.path().join("usr/lib/libc.so");
        for (path, is) in [("/lib/libc.so", Some(&real)), ("/usr/up", Some(&real)), ("/round", None), ("/none", None)] {
            assert_eq!(within(tree.path(), Path::new(path)).as_ref(), is, "{path}");
        }
    }

    #[test]
    fn a_program_of_this_host_tells_what_it_is_made_for_and_all_that_it_needs() {
        let own = std::env::current_exe().unwrap();
        let needs = needs(Path::new("/"), &own).unwrap();
        assert_eq!(needs.program.os, Some(std::env::consts::OS));
        assert_eq!(needs.missing, BTreeMap::new());
        assert!(needs.files.iter().any(|file| file.to_string_lossy().contains("libc.so")), "{needs:?}");
        assert!(needs.files.contains(needs.program.interpreter.as_ref().unwrap()));
    }

    #[test]
    fn damaged_programs_are_errors_or_told_as_none_and_never_more() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("program");
        let whole = fs::read("/bin/sh").unwrap();
        let mut state = 7u64;
        for round in 0..400 {
            let mut bytes = whole[..whole.len().min(4096)].to_vec();
            for _ in 0..1 + round % 8 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % bytes.len().min(1024);
                bytes[at] = (state >> 20) as u8;
            }
            fs::write(&path, &bytes).unwrap();
            let _ = Program::read(&path);
            let _ = needs(directory.path(), Path::new("/program"));
        }
        fs::write(&path, "#! /bin/sh -e\n").unwrap();
        assert_eq!(Program::read(&path).unwrap().unwrap().interpreter, Some("/bin/sh".into()));
        fs::write(&path, "text").unwrap();
        assert_eq!(Program::read(&path).unwrap(), None);
        assert!(needs(directory.path(), Path::new("/program")).is_err());
    }
}
