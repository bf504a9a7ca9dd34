#!/usr/bin/env bash
# Plants each bug of planted/*.patch in a copy of the tree, and says within how many seeds the
# simulator finds it. Fails when one is not found, or no longer applies.
#
#   tests/simulator/planted.sh [NAME...]      all of them, or those of these names
set -euo pipefail

seeds=1000
root=$(git -C "$(dirname -- "${BASH_SOURCE[0]}")" rev-parse --show-toplevel)
copy=$(mktemp --directory)
trap 'rm --recursive --force -- "$copy"' EXIT
target=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/warren/target}
# RocksDB is not compiled once more where the tests have compiled it.
if archive=$(compgen -G "$target/release/build/librocksdb-sys-*/out/librocksdb.a"); then
    ROCKSDB_LIB_DIR=$(dirname -- "${archive%%$'\n'*}")
    export ROCKSDB_LIB_DIR ROCKSDB_STATIC=1
fi
export CARGO_TARGET_DIR=$target/planted

(cd -- "$root" && git ls-files --cached --others --exclude-standard -z |
    tar --create --null --files-from=-) | tar --extract --directory="$copy"
cd -- "$copy"

missed=0
for patch in "$root"/tests/simulator/planted/*.patch; do
    name=$(basename -- "$patch" .patch)
    [[ $# -eq 0 || " $* " == *" $name "* ]] || continue
    patch --strip=1 --quiet --fuzz=0 <"$patch"
    if ! built=$(cargo build --release --quiet --package warren --test simulator 2>&1); then
        echo "$built" >&2
        exit 1
    fi
    if found=$(cargo test --release --quiet --package warren --test simulator -- \
        --seeds "$seeds" 2>/dev/null); then
        echo "$name: NOT FOUND within $seeds seeds"
        missed=$((missed + 1))
    else
        seed=$(sed --quiet 's/^seed \([0-9]*\) failed.*/\1/p' <<<"$found")
        echo "$name: seed $seed: $(tail --lines=1 <<<"$found" | cut --characters=1-140)"
    fi
    patch --strip=1 --quiet --fuzz=0 --reverse <"$patch"
done
exit "$((missed > 0))"
