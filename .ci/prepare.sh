# shellcheck shell=bash
# What `run` and `test` need before they can build, on a fresh Debian 12 machine. Sourced by both,
# with the clone as working folder. Whatever is installed is said first, on standard error.

RUST_VERSION_MIN=1.95
# The newest io_uring feature that the server needs came with it.
KERNEL_VERSION_MIN=6.12
# `EX_OSERR`: what the server itself ends with when the kernel lacks something.
STATUS_SYSTEM_LACKS=71

say() {
    printf '%s\n' "$*" >&2
}

# True when version $1 is at least version $2; both as `major.minor…`.
version_at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# False on a kernel that can build the server but not run it; says so, and what to do.
kernel_runs_server() {
    local release version
    release="$(uname -r)"
    # `6.12.9+bpo-amd64` is 6.12.9.
    version="${release%%[!0-9.]*}"
    if version_at_least "${version:-0}" "$KERNEL_VERSION_MIN"; then
        return
    fi
    say "Warren needs Linux $KERNEL_VERSION_MIN or later to run; this is $release."
    say "On Debian 12 (in a container, on its host) run as root:"
    say "    echo 'deb http://deb.debian.org/debian bookworm-backports main' \\"
    say "        >/etc/apt/sources.list.d/backports.list"
    say "    apt-get update"
    say "    apt-get install -y -t bookworm-backports linux-image-amd64"
    say "and start the machine anew."
    return 1
}

require_rust() {
    # A shell that was open while Rust was installed does not have it in its path yet.
    if ! command -v cargo >/dev/null && [ -x "${HOME:-}/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
        export PATH
    fi
    local found where
    if ! command -v cargo >/dev/null || ! command -v rustc >/dev/null; then
        found="no Rust was found"
    else
        # Debian's own toolchain prints `rustc 1.63.0`, rustup's `rustc 1.95.0 (… …)`.
        # rustup's prints none while no toolchain is installed.
        found="$(rustc --version 2>/dev/null | cut -d ' ' -f 2)" || true
        if version_at_least "${found:-0}" "$RUST_VERSION_MIN"; then
            return
        fi
        where="$(command -v rustc)"
        if [ -n "$found" ]; then
            found="$where is Rust $found"
        else
            found="$where does not say its version"
        fi
    fi
    say "Warren needs Rust $RUST_VERSION_MIN or later (rustc and cargo); $found. To get it:"
    if command -v rustup >/dev/null; then
        say "    rustup update stable && rustup default stable"
        where="$(dirname -- "$(command -v rustup)")"
        [ "$(command -v rustc)" = "$where/rustc" ] || say "then let $where come first in PATH."
        exit 1
    fi
    if ! command -v curl >/dev/null; then
        say "    apt-get update && apt-get install -y curl ca-certificates    # as root"
    fi
    say "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
    say "then open a new shell, or: . \"\$HOME/.cargo/env\""
    exit 1
}

# True when a C++20 program compiles and links: Rust needs the linker and the C library's start
# files, RocksDB the compiler.
links_cpp() {
    command -v cc >/dev/null && command -v c++ >/dev/null || return 1
    local folder status=0
    folder="$(mktemp -d)"
    printf '#include <concepts>\nint main() { return std::same_as<int, int> ? 0 : 1; }\n' \
        >"$folder/probe.cc"
    c++ -std=c++20 -o "$folder/probe" "$folder/probe.cc" >/dev/null 2>&1 || status=1
    rm -r "$folder"
    return "$status"
}

# True when libclang is where bindgen looks for it, under one of the names that it knows: it reads RocksDB's
# headers. `libclang-cpp` is another library.
finds_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] && return
    local file
    for file in /usr/lib/llvm-*/lib/libclang{,-*}.so* /usr/lib*/{*/,}libclang{,-*}.so*; do
        case "$file" in
            */libclang-cpp*) ;;
            *) [ -e "$file" ] && return ;;
        esac
    done
    return 1
}

# Debian packages that are missing, and what they are for: asked for at once, so that nobody fetches
# an administrator twice.
packages=()
reasons=""

# Remembers a reason, and the packages that are for it.
want() {
    reasons+="$1 "
    shift
    packages+=("$@")
}

# Installs the wanted packages, root by the words of $1. Says so first. False where that cannot be
# done: then it says what to run.
install_wanted() {
    local as_root=() as_wanted=("${packages[@]}") why="$reasons" status=0
    local no_cluster=/etc/postgresql-common/createcluster.d/warren-tests.conf
    packages=()
    reasons=""
    [ "${#as_wanted[@]}" -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null; then
        say "${why}This is no Debian: install what its packages ${as_wanted[*]} hold."
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        read -ra as_root <<<"$1"
        # Here it asks for the password, if it may and needs one.
        if ! command -v sudo >/dev/null || ! "${as_root[@]}" true; then
            say "${why}As root, run:"
            say "    apt-get update && apt-get install -y --no-install-recommends ${as_wanted[*]}"
            return 1
        fi
    fi
    say "${why}Installing from Debian: ${as_wanted[*]}"
    "${as_root[@]}" apt-get -q update >&2 ||
        say "apt-get update failed: trying with the lists of packages that are there."
    if [ -n "$lacked_postgres" ]; then
        # Its package would make and start a cluster of the machine's own, which nobody here asked for.
        "${as_root[@]}" mkdir -p "${no_cluster%/*}"
        printf 'create_main_cluster = false\n' | "${as_root[@]}" tee "$no_cluster" >/dev/null
    fi
    # A machine that has just been started may be at its own updates.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 \
        install -y --no-install-recommends "${as_wanted[@]}" >&2 || status=$?
    # It was for this installation only.
    [ -z "$lacked_postgres" ] || "${as_root[@]}" rm -f "$no_cluster"
    return "$status"
}

lacked_compiler=""
lacked_postgres=""

want_compiler() {
    links_cpp && return
    lacked_compiler=1
    want "A C++20 compiler that links is needed (cc, c++)." g++ libc6-dev
}

want_libclang() {
    finds_libclang || want "libclang is needed to build RocksDB." libclang-dev
}

# RocksDB is compiled once for a target folder, unless a built one is named. Whoever waits wants to
# know why.
announce_rocksdb() {
    [ -n "${ROCKSDB_LIB_DIR:-}" ] ||
        compgen -G "$CARGO_TARGET_DIR/release/deps/liblibrocksdb_sys-*.rlib" >/dev/null ||
        say "Building RocksDB, once: 20 to 30 minutes of processor time, so 10 to 20 on two cores."
}

# The demo is joined by hand with nc, and its metrics are read with curl. Without them the server
# runs all the same, so nobody is asked for a password.
offer_demo_tools() {
    command -v nc >/dev/null || want "nc is needed to join the demo." netcat-openbsd
    command -v curl >/dev/null || want "curl is needed to read its metrics." curl
    install_wanted "sudo -n" || true
}

# Prints $1, where the demo keeps its data when the user's folder for data cannot be written; nothing
# when it can, or when there is none, which the server says itself.
demo_data_instead() {
    local folder="${XDG_DATA_HOME:-${HOME:+$HOME/.local/share}}/warren/demo"
    if [ "$folder" = /warren/demo ] || { mkdir -p "$folder" 2>/dev/null && [ -w "$folder" ]; }; then
        return
    fi
    say "$folder cannot be written: the demo keeps its data in $1 instead."
    printf '%s\n' "$1"
}

# What the tests of the clients need: the clients themselves need none of it to be built into the
# server.
want_client_tools() {
    local missing=()
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
    command -v chromium >/dev/null || missing+=(chromium)
    # Makes the certificates of tests in TLS.
    command -v openssl >/dev/null || missing+=(openssl)
    # They do what the README says.
    command -v nc >/dev/null || missing+=(netcat-openbsd)
    command -v curl >/dev/null || missing+=(curl)
    [ "${#missing[@]}" -eq 0 ] ||
        want "The clients' tests need Node, npm, Python, Chromium, OpenSSL, nc and curl." "${missing[@]}"
}

# What the projects of `./run new LANGUAGE` are made and tried with.
want_project_tools() {
    case "$1" in
    python) command -v python3 >/dev/null || want "Projects in Python need python3." python3 ;;
    cpp) command -v make >/dev/null || want "Projects in C++ need make." make ;;
    esac
}

# What counts instructions.
want_valgrind() {
    command -v valgrind >/dev/null ||
        want "The test that counts instructions needs Valgrind." valgrind
}

# The tests of the export each run a PostgreSQL of their own.
want_postgres() {
    compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null && return
    command -v initdb >/dev/null && command -v psql >/dev/null && return
    lacked_postgres=1
    want "The tests of the export need PostgreSQL." postgresql
}

# Build output stays out of the clone, and survives it.
choose_target_folder() {
    if [ -n "${CARGO_TARGET_DIR:-}" ]; then
        return
    fi
    local folder="${XDG_CACHE_HOME:-${HOME:-/dev/null}/.cache}/warren/target"
    if ! mkdir -p "$folder" 2>/dev/null || [ ! -w "$folder" ]; then
        say "$folder cannot be written: building in $PWD/target instead."
        folder="$PWD/target"
    fi
    export CARGO_TARGET_DIR="$folder"
}

# Cargo keeps what it downloads in its home, which may not be this user's to write. Without it the
# target folder holds that too.
choose_cargo_home() {
    local folder="${CARGO_HOME:-${HOME:-/dev/null}/.cargo}"
    if mkdir -p "$folder" 2>/dev/null && [ -w "$folder" ]; then
        return
    fi
    mkdir -p "$CARGO_TARGET_DIR/cargo-home"
    CARGO_HOME="$(cd -- "$CARGO_TARGET_DIR/cargo-home" && pwd)"
    export CARGO_HOME
    say "$folder cannot be written: Cargo's home is $CARGO_HOME instead."
}

# What is wanted already is installed with what a build needs.
prepare() {
    require_rust
    want_compiler
    want_libclang
    install_wanted sudo || exit 1
    if [ -n "$lacked_compiler" ] && ! links_cpp; then
        say "c++ still links no program; g++ and libc6-dev are installed. Does another c++ come first in PATH?"
        exit 1
    fi
    choose_target_folder
    choose_cargo_home
    announce_rocksdb
}
