"""What is had from the distribution's packages: unpacked into a folder, not installed, so that the machine stays as it is."""
import ctypes, glob, os, shutil
from ground import Failed
from peers.base import Missing

# Each with the libraries that it needs, by the beginning of their names: their numbers differ from release to release.
PACKAGES = {"runit": (), "s6": ("libs6-", "libskarnet", "libexecline")}


def unpack(tools, *packages):
    """The environment in which these packages' programs run."""
    folder = tools.peer("debian")
    for package in packages:
        done = os.path.join(folder, f".{package}")
        if os.path.exists(done):
            continue
        if not shutil.which("apt-get") or not shutil.which("dpkg"):
            raise Missing(f"there is no apt-get here to get {package} with")
        wanted = [package]
        if PACKAGES[package]:
            depends = tools.install(["apt-cache", "depends", package]).split()
            wanted += [name for name in depends if name.startswith(PACKAGES[package])]
        debs = tools.peer("debs")
        tools.install(["apt-get", "download", "-q", *wanted], cwd=debs)
        for name in wanted:
            tools.install(["dpkg", "-x", glob.glob(os.path.join(debs, f"{name}_*.deb"))[0], folder])
        open(done, "w").close()
    libraries = glob.glob(os.path.join(folder, "usr/lib/*-linux-gnu")) + glob.glob(os.path.join(folder, "lib/*-linux-gnu"))
    bins = [os.path.join(folder, path) for path in ("usr/bin", "bin", "usr/sbin")]
    return {"PATH": ":".join([*bins, os.environ["PATH"]]), "LD_LIBRARY_PATH": ":".join(libraries)}


def as_if_installed(tools):
    """Some programs hold the paths of others. This process and its children see them there: in a mount namespace of their own, nobody else's."""
    libc, root = ctypes.CDLL(None, use_errno=True), tools.peer("debian")
    new_mounts, private = 0x20000, 1 << 18 | 1 << 14
    done = libc.unshare(new_mounts) == 0 and libc.mount(b"none", b"/", None, private, None) == 0
    for path in ["/usr/bin", *(found[len(root) :] for found in glob.glob(root + "/usr/lib/*-linux-gnu"))]:
        done = done and libc.mount(b"overlay", path.encode(), b"overlay", 1, f"lowerdir={root}{path}:{path}".encode()) == 0
    if not done:
        raise Failed(f"cannot show its programs where it looks for them: {os.strerror(ctypes.get_errno())}")


def version(tools, package):
    """As the package's file name has it."""
    found = sorted(glob.glob(os.path.join(tools.peer("debs"), f"{package}_*.deb")))
    return os.path.basename(found[-1]).split("_")[1] if found else "?"
