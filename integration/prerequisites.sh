# Sourced, not run. `need COMMAND PACKAGE...` and `need_rust`: see that a tool is there, install it where that can be done.
# Debian and Ubuntu; as root, or through sudo. On other systems it says what is missing.

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        return 1
    fi
}

apt_updated=
install() {
    command -v apt-get >/dev/null || return 1
    if [ -z "$apt_updated" ]; then
        as_root apt-get update -qq >&2 || true
        apt_updated=yes
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

# need COMMAND PACKAGE...
need() {
    command=$1
    shift
    command -v "$command" >/dev/null && return 0
    echo "installing $* (for $command)" >&2
    install "$@" || true
    command -v "$command" >/dev/null || {
        echo "'$command' is missing, and it could not be installed here: install $*" >&2
        exit 1
    }
}

# The Rust that Cargo.toml asks for (rust-version): distributions often carry an older one.
need_rust() {
    PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
    export PATH
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    need cc gcc libc6-dev
    if ! new_enough "$wanted"; then
        echo "installing Rust $wanted or newer" >&2
        # Debian 13 and Ubuntu 24.04 package rustup; what they package of Rust itself may be too old.
        install rustup && rustup default stable >&2 || install cargo rustc || true
    fi
    new_enough "$wanted" || {
        echo "Rust $wanted or newer is missing, and it could not be installed here: install it by rustup (rust-lang.org/tools/install)" >&2
        exit 1
    }
}

new_enough() {
    have=$(cargo --version 2>/dev/null | cut -d' ' -f2)
    [ -n "$have" ] && [ "$(printf '%s\n%s\n' "$1" "$have" | sort -V | head -1)" = "$1" ]
}
