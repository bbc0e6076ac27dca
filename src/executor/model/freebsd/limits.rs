//! Resource rules as the kernel takes them (`rctl_string_to_rule` and `rctl_rule_add` of `kern_rctl.c`, 13.2).

/// What a resource is to the kernel.
struct Resource {
    name: &'static str,
    /// More of it can be refused.
    deniable: bool,
    /// It is a rate, which can be slowed down.
    decaying: bool,
    /// It is counted in millionths.
    in_millions: bool,
}

const fn resource(name: &'static str, deniable: bool, decaying: bool, in_millions: bool) -> Resource {
    Resource { name, deniable, decaying, in_millions }
}

const RESOURCES: [Resource; 12] = [
    resource("cputime", false, false, true),
    // To deny resident memory is taken, and does nothing.
    resource("memoryuse", true, false, false),
    resource("memorylocked", true, false, false),
    resource("maxproc", true, false, false),
    resource("openfiles", true, false, false),
    resource("vmemoryuse", true, false, false),
    resource("swapuse", true, false, false),
    resource("pcpu", true, true, true),
    resource("readbps", false, true, false),
    resource("writebps", false, true, false),
    resource("readiops", false, true, false),
    resource("writeiops", false, true, false),
];

/// Whether a rule takes the place of others.
pub(super) enum Replaces {
    /// One that differs in its amount alone.
    Amount,
    /// None but its equal.
    Equal,
}

impl Replaces {
    /// Whether `old` is gone when `new` comes.
    pub(super) fn by(&self, old: &str, new: &str) -> bool {
        let kind = |rule: &str| rule.split_once('=').map(|(kind, _)| kind.to_owned());
        match self {
            Self::Amount => kind(old) == kind(new),
            Self::Equal => old == new,
        }
    }
}

/// What comes of a rule, or the error's number.
pub(super) fn look(rule: &str) -> Result<Replaces, i32> {
    /// What the name of a login class or a jail may have.
    const LONGEST: [(&str, usize); 2] = [("loginclass", 32), ("jail", 255)];
    let (what, amount) = rule.split_once('=').ok_or(libc::EINVAL)?;
    let parts: Vec<&str> = what.split(':').collect();
    let [subject, name, resource, action] = parts.as_slice() else { return Err(libc::EINVAL) };
    // A rule for a jail that is not there is taken, and stays.
    let (_, longest) = LONGEST.iter().find(|(known, _)| known == subject).ok_or(libc::EINVAL)?;
    if name.len() > *longest {
        return Err(libc::ENAMETOOLONG);
    }
    let resource = RESOURCES.iter().find(|known| known.name == *resource).ok_or(libc::EINVAL)?;
    let amount: u64 = amount.parse().map_err(|_| libc::EINVAL)?;
    let most = i64::MAX as u64 / if resource.in_millions { 1_000_000 } else { 1 };
    if amount > most {
        return Err(libc::ERANGE);
    }
    match *action {
        "deny" if resource.deniable => Ok(Replaces::Amount),
        "throttle" if resource.decaying && resource.name != "pcpu" => Ok(Replaces::Equal),
        "deny" | "throttle" => Err(libc::EOPNOTSUPP),
        "sigkill" | "sigterm" | "log" | "devctl" => Ok(Replaces::Equal),
        _ => Err(libc::EINVAL),
    }
}
