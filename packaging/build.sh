#!/bin/sh
# Builds what opm is handed out as: deb, rpm and a tarball with a static binary; with SHA256SUMS. Installs what it needs where
# it may (Debian, Ubuntu). packaging/NOTES.md says why things are as they are.
#
#   packaging/build.sh                  all of them, into target/packages
#   packaging/build.sh deb rpm          some of them
#     --out DIRECTORY                   somewhere else
#     --binary FILE                     this opm, rather than one built here (tests; debug builds)
#     --version-suffix SUFFIX           e.g. '~before' or '+after': another version of the package, not of the program (tests)
#
# packaging/lint.sh asks lintian and rpmlint what they think of it; packaging/twice.sh shows that a second build gives the
# same bytes.
set -eu
umask 022
export LC_ALL=C TZ=UTC
repository=$(cd "$(dirname "$0")/.." && pwd)
here=$PWD
cd "$repository"
. integration/prerequisites.sh

fail() {
    echo "packaging/build.sh: $*" >&2
    exit 1
}

case ${CARGO_TARGET_DIR:-} in
'') target=$repository/target ;;
/*) target=$CARGO_TARGET_DIR ;;
*) target=$here/$CARGO_TARGET_DIR ;;
esac
out=$target/packages
binary=
suffix=
formats=
while [ $# -gt 0 ]; do
    case $1 in
    deb | rpm | tar) formats="$formats $1" ;;
    --out | --binary | --version-suffix)
        [ $# -ge 2 ] || fail "$1 needs a value"
        case $1 in
        --out) out=$(cd "$here" && mkdir -p "$2" && cd "$2" && pwd) ;;
        --binary) binary=$(cd "$here" && realpath -e "$2") ;;
        --version-suffix) suffix=$2 ;;
        esac
        shift
        ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0" && exit 0 ;;
    *) fail "'$1' is not known: deb, rpm, tar, --out DIRECTORY, --binary FILE, --version-suffix SUFFIX" ;;
    esac
    shift
done
formats=${formats:-deb rpm tar}

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)$suffix
maintainer='The opm maintainers <maintainers@opm.invalid>'
machine=$(uname -m)
case $machine in
x86_64) deb_arch=amd64 ;;
aarch64) deb_arch=arm64 ;;
*) deb_arch=$(dpkg --print-architecture) ;;
esac

# Every date in a package is that of the last commit, so that the same commit gives the same bytes.
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null)}"
[ -n "$SOURCE_DATE_EPOCH" ] || fail "no git history here: set SOURCE_DATE_EPOCH (seconds) to the date of this version"
export SOURCE_DATE_EPOCH

need_rust
mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# `install` is a function of prerequisites.sh.
put() {
    command install "$@"
}

# ---- what goes in -------------------------------------------------------------------------------------------------------

# build TRIPLE: the path of an opm for it. No path of this machine may stay in it: panics name source files. (The C in it, zstd,
# names none in a release build; twice.sh would tell.)
build() {
    [ -z "$binary" ] || { echo "$binary" && return; }
    cargo fetch --quiet --locked --target "$1" >&2
    cargo_home=${CARGO_HOME:-$HOME/.cargo}
    # Rust takes the last that fits. What lies in registry/src is named by where the crates came from, a mirror for one.
    set -- "$1" "--remap-path-prefix=$repository=/opm" "--remap-path-prefix=$cargo_home=/cargo"
    for source in "$cargo_home"/registry/src/*; do
        set -- "$@" "--remap-path-prefix=$source=/crates"
    done
    triple=$1
    shift
    # Its own target directory: other flags than those of a plain `cargo build`, and cargo would build all anew at each change.
    # The flags are parted by 0x1f, so that paths may hold blanks.
    CARGO_ENCODED_RUSTFLAGS=$(printf '%s\037' "$@" | sed 's/\x1f$//') CARGO_TARGET_DIR="$target/packages/cargo" \
        cargo build --release --locked --bin opm --target "$triple" >&2
    echo "$target/packages/cargo/$triple/release/opm"
}

# Man pages and completions, made by the command line's own definition.
generated=$work/generated
CARGO_TARGET_DIR=$target cargo run --quiet --locked --example man -- "$generated" >&2

# Whose work is in the binary besides our own: name, version and licence of each crate, then the texts.
third_party() {
    echo "opm is linked with Rust's standard library (MIT OR Apache-2.0; www.rust-lang.org), where it is static with the C library"
    echo "musl (MIT; musl.libc.org), and with these; the texts of their licences follow."
    echo
    # shellcheck disable=SC2016  # cargo's own placeholders
    cargo tree --locked --edges normal,no-proc-macro --target "$1" --prefix none --no-dedupe --format '{p} {l}' |
        sed 's/ (\*)$//; s/ (proc-macro)//' | grep -v "^opm v" | sort -u >"$work/crates"
    sed 's/^/    /' "$work/crates"
    while read -r name number _; do
        for source in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
            for text in "$source/$name-${number#v}"/LICEN[SC]E* "$source/$name-${number#v}"/COPYING* "$source/$name-${number#v}"/COPYRIGHT*; do
                [ -f "$text" ] && printf '%s %s\n' "$(sha256sum <"$text" | cut -d' ' -f1)" "$name ${number#v} $text"
            done
        done
    done <"$work/crates" | awk '
        # One text, many crates: said once.
        {
            whose[$1] = whose[$1] "\n" $2 " " $3
            if (!($1 in file)) { order[++n] = $1; file[$1] = substr($0, index($0, "/")) }
        }
        END {
            for (i = 1; i <= n; i++) {
                print "\n------------------------------------------------------------------------" whose[order[i]] "\n"
                while ((getline line < file[order[i]]) > 0) { sub(/\r$/, "", line); print line }
            }
        }'
}

# stage ROOT BINARY TRIPLE: what all three have in common, below a /usr.
stage() {
    put -D -m 755 "$2" "$1/usr/bin/opm"
    strip --remove-section=.comment "$1/usr/bin/opm"
    put -D -m 755 packaging/scripts/reload-daemons "$1/usr/libexec/opm/reload-daemons"
    put -D -m 644 packaging/systemd/system/opm.service "$1/usr/lib/systemd/system/opm.service"
    put -D -m 644 packaging/systemd/user/opm.service "$1/usr/lib/systemd/user/opm.service"
    put -D -m 644 packaging/config.toml "$1/etc/opm/config.toml"
    put -D -m 644 "$generated/opm.bash" "$1/usr/share/bash-completion/completions/opm"
    put -D -m 644 "$generated/opm.fish" "$1/usr/share/fish/vendor_completions.d/opm.fish"
    put -d "$1/usr/share/man/man1" "$1/usr/share/doc/opm"
    for page in "$generated"/*.1; do
        gzip -9n <"$page" >"$1/usr/share/man/man1/${page##*/}.gz"
    done
    third_party "$3" | gzip -9n >"$1/usr/share/doc/opm/THIRD-PARTY.gz"
}

# All files of a tree carry the one date, and modes that no umask had a hand in.
settle() {
    find "$1" -type d -exec chmod 755 {} +
    find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
}

gnu=$machine-unknown-linux-gnu
musl=$machine-unknown-linux-musl

# The C library that this binary asks for. 2.34 is that of RHEL 9; Ubuntu 22.04 has 2.35, Debian 12 2.36.
glibc_of() {
    objdump -T "$1" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -1 | cut -d_ -f2
}

linked() {
    file=$(build "$gnu")
    floor=$(glibc_of "$file")
    if [ -n "$floor" ] && [ "$(printf '%s\n2.34\n' "$floor" | sort -V | tail -1)" != 2.34 ]; then
        echo "packaging/build.sh: this opm needs glibc $floor, so it will not run on RHEL 9 (2.34), and perhaps not on" \
            "Ubuntu 22.04 (2.35) or Debian 12 (2.36): build on the oldest that it should run on" >&2
    fi
}

# ---- the packages -------------------------------------------------------------------------------------------------------

make_deb() {
    need dpkg-deb dpkg
    need dpkg-shlibdeps dpkg-dev
    need objdump binutils
    linked
    root=$work/deb
    stage "$root" "$file" "$gnu"
    doc=$root/usr/share/doc/opm
    put -D -m 644 "$generated/_opm" "$root/usr/share/zsh/vendor-completions/_opm"
    put -D -m 644 packaging/deb/needrestart.conf "$root/etc/needrestart/conf.d/opm.conf"
    put -D -m 644 packaging/deb/lintian-overrides "$root/usr/share/lintian/overrides/opm"
    put -m 644 packaging/deb/copyright "$doc/copyright"
    gzip -9n <packaging/CHANGELOG.md >"$doc/changelog.gz"
    printf 'opm (%s-1) unstable; urgency=medium\n\n  * What is new stands in changelog.gz.\n\n -- %s  %s\n' \
        "$version" "$maintainer" "$(date -R -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.Debian.gz"
    mkdir -p "$work/shlibs/debian" "$root/DEBIAN"
    printf 'Source: opm\n\nPackage: opm\nArchitecture: any\n' >"$work/shlibs/debian/control"
    depends=$(cd "$work/shlibs" && dpkg-shlibdeps -O -e"$file" 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
    size=$(find "$root/usr" "$root/etc" -type f -printf '%s\n' | awk '{ n += int(($1 + 1023) / 1024) } END { print n }')
    sed -e "s/@VERSION@/$version-1/; s/@ARCH@/$deb_arch/; s/@MAINTAINER@/$maintainer/; s/@SIZE@/$size/; s/@DEPENDS@/$depends/" \
        -e '/^Depends: $/d' packaging/deb/control >"$root/DEBIAN/control"
    for script in postinst prerm postrm; do
        put -m 755 "packaging/deb/$script" "$root/DEBIAN/$script"
    done
    put -m 644 packaging/deb/conffiles "$root/DEBIAN/conffiles"
    (cd "$root" && find usr etc -type f | sort | xargs md5sum) >"$root/DEBIAN/md5sums"
    settle "$root"
    made="$out/opm_$version-1_$deb_arch.deb"
    dpkg-deb --root-owner-group -Zxz --build "$root" "$made" >/dev/null
}

make_rpm() {
    need rpmbuild rpm
    need objdump binutils
    linked
    root=$work/rpm
    stage "$root" "$file" "$gnu"
    put -D -m 644 "$generated/_opm" "$root/usr/share/zsh/site-functions/_opm"
    put -m 644 README.md packaging/CHANGELOG.md "$root/usr/share/doc/opm/"
    put -D -m 644 -t "$root/usr/share/licenses/opm" LICENSE-MIT LICENSE-APACHE
    settle "$root"
    {
        cat packaging/rpm/opm.spec
        printf '\n%%changelog\n* %s %s - %s-1\n- What is new stands in CHANGELOG.md.\n' \
            "$(date -d "@$SOURCE_DATE_EPOCH" '+%a %b %d %Y')" "$maintainer" "$version"
    } >"$work/opm.spec"
    # Clamped to our date, built nowhere: rpm writes both into the header otherwise.
    rpmbuild -bb --quiet --target "$machine-linux" \
        --define "_topdir $work/rpmbuild" --define "_rpmdir $work" --define '_rpmfilename %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm' \
        --define "root $root" --define "opm_version $version" --define "packager $maintainer" --define '_buildhost localhost' \
        --define 'use_source_date_epoch_as_buildtime 1' --define 'clamp_mtime_to_source_date_epoch 1' \
        --define '_build_id_links none' --define 'debug_package %{nil}' --define '__os_install_post %{nil}' \
        --define '_binary_payload w19.zstdio' --define '_docdir_fmt %%{NAME}' --define 'vendor %{nil}' \
        --define 'source_date_epoch_from_changelog 0' "$work/opm.spec" >&2
    made="$out/opm-$version-1.$machine.rpm"
    mv "$work/${made##*/}" "$made"
}

make_tar() {
    if [ -z "$binary" ]; then
        need musl-gcc musl-tools
        [ -d "$(rustc --print sysroot)/lib/rustlib/$musl" ] || rustup target add "$musl" >&2 ||
            fail "Rust has no $musl here, and rustup could not fetch it"
    fi
    file=$(build "$musl")
    top=opm-$version-$machine-linux-musl
    root=$work/tar/$top
    stage "$root" "$file" "$musl"
    put -D -m 644 "$generated/_opm" "$root/usr/share/zsh/site-functions/_opm"
    put -m 755 packaging/tar/install.sh "$root/"
    put -m 644 LICENSE-MIT LICENSE-APACHE README.md packaging/CHANGELOG.md "$root/"
    settle "$root"
    made="$out/$top.tar.gz"
    tar -C "$work/tar" --sort=name --owner=0 --group=0 --numeric-owner --format=posix \
        --pax-option=delete=atime,delete=ctime --mtime="@$SOURCE_DATE_EPOCH" -cf - "$top" | gzip -9n >"$made"
}

all=
for format in $formats; do
    "make_$format"
    all="$all ${made##*/}"
done
# shellcheck disable=SC2086  # names without blanks
(cd "$out" && sha256sum $all | sort -k2 >SHA256SUMS)
for name in $all; do echo "$out/$name"; done
