#!/bin/sh
# hydac in one go, on this machine: packages, build, model, a leader and three workers. Answers a
# prompt, then answers it again and kills a worker in the middle, and compares the two texts.
#
#   deploy/quickstart.sh [--model PATH] [--workers N] [--prompt TEXT] [--max-tokens N]
#                        [--recovery reuse|full] [--build DIR] [--no-install]
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
model=
workers=3
prompt="Explain to a child why the sky is blue, and why it turns red in the evening."
max_tokens=120
recovery=reuse
build=$top/build
install=yes

usage() {
    sed -n '2,7s/^# \{0,1\}//p' "$0"
}

die() {
    echo "quickstart.sh: $*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case "$1" in
    --no-install) install=no ;;
    -h | --help)
        usage
        exit 0
        ;;
    --model | --workers | --prompt | --max-tokens | --recovery | --build)
        [ $# -ge 2 ] || die "$1 needs a value"
        case "$1" in
        --model) model=$2 ;;
        --workers) workers=$2 ;;
        --prompt) prompt=$2 ;;
        --max-tokens) max_tokens=$2 ;;
        --recovery) recovery=$2 ;;
        --build) build=$2 ;;
        esac
        shift
        ;;
    *)
        usage >&2
        exit 2
        ;;
    esac
    shift
done
[ "$workers" -ge 2 ] 2>/dev/null || die "--workers must be at least 2: one of them will be killed"

bold= red= green= plain=
if [ -t 1 ]; then
    bold=$(printf '\033[1m') red=$(printf '\033[31m') green=$(printf '\033[32m')
    plain=$(printf '\033[0m')
fi
title() {
    printf '\n%s== %s%s\n' "$bold" "$*" "$plain"
}

# ---- Packages, build, model

if [ $install = yes ]; then
    title "Packages"
    "$top/deploy/packages.sh" build
    echo "all there"
fi

title "Build"
if [ ! -f "$build/build.ninja" ]; then
    said=$(meson setup -Dtests=false "$build" "$top" 2>&1) || die "meson setup failed: $said"
fi
ninja -C "$build" leader/ctl/hydac leader/daemon/hydac-leader worker/hydac-worker
hydac=$build/leader/ctl/hydac

title "Model"
[ -n "$model" ] || model=$("$top/deploy/get-model.sh")
echo "$model"

# ---- Cluster

work=$(mktemp -d)
cluster=
answer=
# Whatever happens, nothing stays behind: `hydac up` stops its children when it is told to stop.
clean_up() {
    trap '' HUP INT TERM
    [ -z "$answer" ] || kill "$answer" 2>/dev/null || true
    if [ -n "$cluster" ]; then
        kill -TERM "$cluster" 2>/dev/null || true
        wait "$cluster" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' HUP INT TERM

# A field of a JSON file: an expression of Python in which `d` is the file's value.
json() {
    python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$@"
}

title "A leader and $workers workers"
"$hydac" up --model "$model" --workers "$workers" --port 0 --state "$work/state" \
    --recovery "$recovery" --ready-file "$work/ready.json" >"$work/up.log" 2>&1 &
cluster=$!
until [ -f "$work/ready.json" ]; do
    if ! kill -0 "$cluster" 2>/dev/null; then
        cat "$work/up.log" >&2
        cluster=
        die "the cluster did not start"
    fi
    sleep 0.05
done
leader=$(json "$work/ready.json" 'd["leader"]')
json "$work/ready.json" '"\n".join("%s  pid %d" % (w["name"], w["pid"]) for w in d["workers"])'
echo "leader  $leader"

ask() {
    "$hydac" run --leader "$leader" --chat --prompt "$prompt" --max-tokens "$max_tokens" \
        --temperature 0
}

title "The answer, undisturbed"
printf '%s> %s%s\n' "$bold" "$prompt" "$plain"
ask | tee "$work/undisturbed"
[ -s "$work/undisturbed" ] || die "there was no answer"

# ---- The same again, with a death in the middle

title "The answer, with a worker killed in the middle"
printf '%s> %s%s\n' "$bold" "$prompt" "$plain"
half=$(($(wc -c <"$work/undisturbed") / 2))
: >"$work/disturbed"
(ask; echo $? >"$work/status") | tee "$work/disturbed" &
answer=$!
while [ "$(wc -c <"$work/disturbed")" -lt "$half" ] && [ ! -f "$work/status" ]; do
    sleep 0.01
done
[ ! -f "$work/status" ] || die "the answer ended before a worker could be killed"
victim=$(json "$work/ready.json" 'd["workers"][1]["name"]')
pid=$(json "$work/ready.json" 'd["workers"][1]["pid"]')
kill -KILL "$pid"
printf '%s[kill -9 %s: that was %s]%s' "$red" "$pid" "$victim" "$plain"
wait "$answer" || true
answer=
[ "$(cat "$work/status")" = 0 ] || die "the answer did not come to its end"

title "Result"
if ! cmp -s "$work/undisturbed" "$work/disturbed"; then
    echo "${red}The two texts differ.${plain}"
    diff "$work/undisturbed" "$work/disturbed" || true
    exit 1
fi
bytes=$(wc -c <"$work/disturbed")
echo "${green}The text is the same, all $bytes bytes of it, with $victim dead since about byte $half.${plain}"

"$hydac" status --leader "$leader" --json >"$work/status.json"
python3 - "$work/status.json" <<'PYTHON'
import json
import sys

ROWS = (
    ("worker", "worker lost", "{}"),
    ("cause", "noticed because", "{}"),
    ("epoch", "new epoch", "{}"),
    ("heads_lost", "heads lost", "{}"),
    ("heads_reused", "heads reused (kept by survivors)", "{}"),
    ("heads_rebuilt", "heads rebuilt (from input logs)", "{}"),
    ("positions", "positions in the conversation", "{}"),
    ("rows_replayed", "rows replayed (run again from the start)", "{}"),
    ("detect_ms", "detect", "{:.1f} ms"),
    ("plan_ms", "plan", "{:.1f} ms"),
    ("weights_ms", "map weights of the new units", "{:.1f} ms"),
    ("rebuild_ms", "rebuild K/V", "{:.1f} ms"),
    ("retry_ms", "retry the half-step", "{:.1f} ms"),
    ("stall_ms", "stall, all in all", "{:.1f} ms"),
)
with open(sys.argv[1], encoding="utf-8") as f:
    status = json.load(f)
print(f"\nRecovery ({status['cluster']['recovery']})")
for failover in status["failovers"]:
    for key, label, form in ROWS:
        value = failover.get(key)
        print(f"  {label:<42} {'-' if value is None else form.format(value):>10}")
if not status["failovers"]:
    sys.exit("no recovery was recorded")
PYTHON
