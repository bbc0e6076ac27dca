"""Runs what `oci-runtime.sh` has made against jetpack-oci, runc and crun, and compares."""

import argparse, json, os, re, shutil, signal, subprocess, sys, tarfile, time
from concurrent.futures import ThreadPoolExecutor

OURS = "jetpack-oci"
# The longest that one program may take, in seconds.
LONGEST = 60
MARK = "<!-- Below: made by conformance/peers/oci-runtime.sh --table docs/conformance.md -->"
# Shows the second version of control groups alone: crun runs nothing where there are both.
ALONE = "umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && "


# Programs that are a matter of chance with any runtime: they signal a process that may not have got as far as it should, or too far.
RACES = {"killsig", "pidfile"}


class Runtime:
    """A runtime, and how it runs anything here."""

    def __init__(self, name, program, work):
        self.name, self.work = name, work
        self.wrapper = os.path.join(work, "runtimes", name)
        self.groups, self.alone, self.why = True, False, None
        ways = [("", False)]
        if name == "crun":
            ways = [("", False), ("", True), ("--cgroup-manager=disabled", True)]
        for flags, alone in ways:
            self.alone, self.groups = alone, not flags
            with open(self.wrapper, "w") as file:
                file.write(f'#!/bin/sh\nexec {program} --root {work}/state/{name} {flags} "$@"\n')
            os.chmod(self.wrapper, 0o755)
            self.why = self.probe()
            if self.why is None:
                return

    def probe(self):
        bundle = os.path.join(self.work, "probe")
        if not os.path.exists(bundle):
            os.makedirs(bundle)
            unpack(self.work, bundle)
            subprocess.run(["runc", "spec"], cwd=bundle, check=True)
            edit(os.path.join(bundle, "config.json"), lambda c: (
                c["process"].update(terminal=False, args=["/bin/true"], rlimits=[]), c["root"].update(path=".")))
        done = self.call(["run", "--bundle", bundle, f"probe-{os.getpid()}"])
        return None if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it says nothing"])[-1]

    def inside(self, words):
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                (ALONE if self.alone else "") + 'exec "$@"', "sh", *words]

    def call(self, words, **more):
        return subprocess.run(self.inside([self.wrapper, *words]), capture_output=True, text=True, timeout=LONGEST,
                              stdin=subprocess.DEVNULL, **more)

    def end(self):
        """Nothing of it stays."""
        said = self.call(["list", "--quiet"]).stdout
        for name in said.split():
            self.call(["delete", "--force", name])


def edit(path, change):
    with open(path) as file:
        config = json.load(file)
    change(config)
    with open(path, "w") as file:
        json.dump(config, file)


def make_root(work):
    """The archive of the root file system that the programs unpack: busybox under all its names."""
    root = os.path.join(work, "root")
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp"]:
        os.makedirs(os.path.join(root, name))
    shutil.copy("/bin/busybox", os.path.join(root, "bin/busybox"))
    for name in subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        if name != "busybox":
            os.symlink("busybox", os.path.join(root, "bin", name))
    for name, text in [("passwd", "root:x:0:0:root:/:/bin/sh\n"), ("group", "root:x:0:\n")]:
        with open(os.path.join(root, "etc", name), "w") as file:
            file.write(text)
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    archive = os.path.join(work, f"rootfs-{architecture}.tar.gz")
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(root, arcname=".")
    return archive


def unpack(work, where):
    subprocess.run(["cp", "-a", os.path.join(work, "root", "."), where], check=True)


class Outcome:
    """What a program said of a runtime."""

    def __init__(self, status, said, seconds):
        self.said, self.seconds, self.status = said, seconds, status
        self.good, self.bad, self.skipped = {}, {}, 0
        for line in said.splitlines():
            found = re.match(r"(not )?ok \d+(?: - )?(.*)", line)
            if not found:
                continue
            if "# SKIP" in line:
                self.skipped += 1
                continue
            checks = self.bad if found[1] else self.good
            checks[found[2]] = checks.get(found[2], 0) + 1
        passed, failed = sum(self.good.values()), sum(self.bad.values())
        # Some of the programs count nothing, and say only what was wrong.
        told = re.search(r'^ *"error": "(.+?)",?$', said, re.M) if not passed + failed else None
        self.passes = status == 0 and not failed and not told
        self.nothing = self.passes and not passed and self.skipped > 0
        self.cell = "pass" if self.passes else "fail"
        if passed + failed:
            self.cell += f" ({passed})" if self.passes else f" ({failed} of {passed + failed})"
        if self.nothing:
            self.cell = "not run"
        lines = [line for line in said.splitlines() if line.strip() and not line.startswith(("TAP", "ok", "1..", " ", "#"))]
        bad = [check for check in self.bad if not check.startswith("exit status")]
        complaints = [line for line in lines if ": failed to " in line]
        self.why = told[1].split("\\n")[0] if told else [*bad, *complaints, *lines[-1:], f"exit status {status}"][0]


def validate(args, runtimes):
    """Every program against every runtime. Those that share a control group run one after the other."""
    names = sorted(name for name in os.listdir(args.programs) if name != "runtimetest")
    place = os.path.join(args.work, "validation")
    os.makedirs(os.path.join(place, "tmp"))
    shutil.copy(os.path.join(args.programs, "runtimetest"), place)
    shutil.copy(args.archive, place)
    text = {}
    for name in names:
        with open(os.path.join(args.sources, name, f"{name}.go")) as file:
            text[name] = file.read()
    shared = {name for name in names if re.search("CgroupPath|cgrouptest", text[name])}

    def one(runtime, name):
        begun = time.monotonic()
        environment = {**os.environ, "RUNTIME": runtime.wrapper, "TMPDIR": os.path.join(place, "tmp")}
        with open(os.path.join(args.work, f"said-{runtime.name}-{name}"), "w+") as out:
            child = subprocess.Popen(runtime.inside([os.path.join(args.programs, name)]), cwd=place, env=environment,
                                     stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
            try:
                status = child.wait(LONGEST)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                status = child.wait()
            out.seek(0)
            return Outcome(status, out.read(), time.monotonic() - begun)

    outcomes = {}
    with ThreadPoolExecutor(6) as pool:
        lane = ThreadPoolExecutor(1)
        for name in names:
            for runtime in runtimes:
                if runtime.why is None and (runtime.groups or name not in shared):
                    outcomes[name, runtime.name] = (lane if name in shared else pool).submit(one, runtime, name)
        outcomes = {key: future.result() for key, future in outcomes.items()}
        lane.shutdown()
    # Some of the programs wait for so long and no longer: what one runtime passes, the others try again with nothing beside them.
    for name in names:
        tried = [runtime for runtime in runtimes if (name, runtime.name) in outcomes]
        if any(outcomes[name, runtime.name].passes for runtime in tried):
            for runtime in tried:
                for _ in range(5 if name in RACES else 1):
                    if not outcomes[name, runtime.name].passes:
                        outcomes[name, runtime.name] = one(runtime, name)
    return names, outcomes


def worse(names, outcomes, peers):
    """What either peer passes and we do not: programs, and checks of programs that nobody passes whole."""
    found = []
    for name in names:
        ours = outcomes[name, OURS]
        for peer in peers:
            theirs = outcomes.get((name, peer))
            if theirs is None or name in RACES:
                continue
            if theirs.passes and not theirs.nothing and not ours.passes:
                found.append(f"{name}: {peer} passes, {OURS} does not: {ours.why}")
                continue
            for check in ours.bad:
                if check in theirs.good and check not in theirs.bad:
                    found.append(f"{name}: {peer} passes `{check}`, {OURS} does not")
    return found


def version(program):
    words = subprocess.run([program, "--version"], capture_output=True, text=True).stdout.split()
    return " ".join([words[0], words[2]])


def document(names, outcomes, runtimes, sources):
    heads = [runtime.name for runtime in runtimes]
    commit = subprocess.run(["git", "-C", sources, "log", "-1", "--format=%h of %cs"], capture_output=True, text=True)
    of = f" (commit {commit.stdout.strip()})" if commit.returncode == 0 else ""
    kernel = ".".join(os.uname().release.split(".")[:2])
    unified = subprocess.run(["stat", "-f", "-c", "%T", "/sys/fs/cgroup"], capture_output=True, text=True).stdout.strip()
    lines = [
        "## jetpack-oci beside runc and crun", "",
        f"The validation programs of opencontainers/runtime-tools{of} against each runtime as root, on Linux {kernel} with control groups of",
        f"version {2 if unified == 'cgroup2fs' else 1}: {version('runc')}, {version('crun')}. In brackets how many checks there were, or how many of them failed.",
        "Some of the programs are in a race with what they look at: all runtimes have several tries at killsig and pidfile, which prove nothing.",
        *[f"{runtime.name} runs here without control groups only." for runtime in runtimes if runtime.why is None and not runtime.groups],
        *[f"{runtime.name} does not run here: {runtime.why}." for runtime in runtimes if runtime.why is not None],
        "", "| program | " + " | ".join(heads) + " |", "| --- |" + " --- |" * len(heads)]
    for name in names:
        cells = [outcomes[name, head].cell if (name, head) in outcomes else "not run" for head in heads]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for what in ["pass", "fail", "not run"]:
        count = [sum(1 for name in names if (outcomes[name, head].cell if (name, head) in outcomes else "not run").startswith(what))
                 for head in heads]
        lines.append(f"| **{what}** | " + " | ".join(f"**{number}**" for number in count) + " |")
    unmet = [name for name in names if not outcomes[name, OURS].passes]
    if unmet:
        lines += ["", "What fails here, as it does with all others that run it:", "", "| program | the first that fails |", "| --- | --- |"]
        lines += [f"| {name} | {outcomes[name, OURS].why.replace('|', chr(92) + '|')} |" for name in unmet]
    return "\n".join(lines) + "\n"


def sweep():
    """Control groups that the programs name, and runtimes leave since they have not made them."""
    for tree in os.listdir("/sys/fs/cgroup"):
        for path in ["cgrouptest", "testdir/cgrouptest/container", "testdir/cgrouptest", "testdir"]:
            try:
                os.rmdir(os.path.join("/sys/fs/cgroup", tree, path))
            except OSError:
                pass


def main():
    parser = argparse.ArgumentParser()
    for name in ["jetpack", "work", "programs", "sources", "table"]:
        parser.add_argument(f"--{name}")
    args = parser.parse_args()
    os.makedirs(os.path.join(args.work, "runtimes"))
    args.archive = make_root(args.work)
    link = os.path.join(args.work, OURS)
    os.symlink(args.jetpack, link)
    runtimes = [Runtime(OURS, link, args.work), Runtime("runc", "runc", args.work), Runtime("crun", "crun", args.work)]
    for runtime in runtimes:
        if runtime.why is not None:
            print(f"skipped: {runtime.name} runs nothing here: {runtime.why}")
        elif not runtime.groups:
            print(f"skipped: control groups with {runtime.name}, which runs here without them only")
    if runtimes[0].why is not None:
        sys.exit(f"FAILED: {OURS} runs nothing here: {runtimes[0].why}")
    peers = [runtime.name for runtime in runtimes[1:] if runtime.why is None]
    found = []
    try:
        if args.programs:
            names, outcomes = validate(args, runtimes)
            found += worse(names, outcomes, peers)
            text = document(names, outcomes, runtimes, args.sources)
            print(text)
            if args.table:
                with open(args.table) as file:
                    kept = file.read().split(MARK)[0].rstrip()
                with open(args.table, "w") as file:
                    file.write(f"{kept}\n\n{MARK}\n\n{text}")
    finally:
        for runtime in runtimes:
            if runtime.why is None:
                runtime.end()
        sweep()
    for line in found:
        print(f"FAILED: {line}")
    if found:
        sys.exit(1)
    print(f"ok: nothing that {' or '.join(peers) or 'others'} passes fails with {OURS}")


main()
