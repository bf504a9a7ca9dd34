# shellcheck shell=bash
# What the scripts of this folder share. Sourced by them.

bench=""
# shellcheck disable=SC2034 # For those who source this.
server=""
binaries=""
# Processes that were started here, and are ended with us.
started=()
folder=""

say() {
    printf '%s\n' "$*"
}

fail() {
    printf '%s: %s\n' "${0##*/}" "$2" >&2
    exit "$1"
}

# A command, and the package of Debian that has it.
needs() {
    command -v "$1" >/dev/null || fail 1 "$1 is needed: apt-get install $2"
}

here="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)"

# Where the built programs are: in $binaries. They are the clone's, unless WARREN_BINARIES names a
# folder of others.
needs_binaries() {
    binaries="${WARREN_BINARIES:-}"
    [ -n "$binaries" ] || binaries="$("$here/../run" build)"
    [ -x "$binaries/warren-bench" ] || fail 1 "$binaries has no warren-bench"
}

# A folder that lives as long as we do: in $folder.
make_folder() {
    folder="$(mktemp -d)"
    trap clean_up EXIT
}

clean_up() {
    local pid
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    rm -r -- "$folder"
}

# The id of the process's thread of this name.
thread_of() {
    local task
    for task in "/proc/$1/task"/*; do
        if [ "$(cat "$task/comm" 2>/dev/null)" = "$2" ]; then
            say "${task##*/}"
            return
        fi
    done
    return 1
}

# What perf counts time by: cycles, or the clock where the machine has no counters for us.
cpu_event() {
    if has_counter cycles; then say cycles; else say cpu-clock; fi
}

# Whether this machine counts such events.
has_counter() {
    local counted
    counted="$(perf stat -x, -e "$1" true 2>&1)" && [[ "$counted" =~ ^[0-9] ]]
}

# Starts `warren-bench run` with these arguments after the name of a file for its report, and waits until
# it measures: $bench is its process, $server that of the server that it has started.
start_bench() {
    local report="$1"
    shift
    needs_binaries
    "$binaries/warren-bench" run "$@" --no-floor >"$report" 2>"$folder/bench.err" &
    bench=$!
    started+=("$bench")
    until grep -q '^server measuring' "$folder/bench.err"; do
        kill -0 "$bench" 2>/dev/null ||
            fail 1 "warren-bench has ended: $(tail -n 3 "$folder/bench.err" "$report")"
        sleep 0.2
    done
    # shellcheck disable=SC2034
    server="$(pgrep -P "$bench" -x warren)" || fail 1 "the harness has no server"
}

# Waits until it has ended, and tells what it says of the run.
end_bench() {
    # Its verdict is part of what is measured here, so its exit status is told and not ours.
    wait "$bench" || say "warren-bench: exit status $?"
    started=()
    grep -e '^server CPU' -e '^latency  ' -e '^others' -e '^verdict' "$1"
}
