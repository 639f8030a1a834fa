#!/usr/bin/env bash
# Looks at a machine with real NVIDIA GPUs through gpuwatch's eyes and writes down what it saw, in under three minutes.
# It only reads: no power limit, clock, mode or reset is touched. Each step that fails is noted, and the next goes on.
#
#   bench/hardware_check.sh                  results under hardware-check/, the summary on the screen
#   OUT=/some/folder bench/hardware_check.sh
#   PYTHON=/path/to/python3 …                a Python ≥ 3.11, where python3 is not one
#
# What gpuwatch needs is taken from that Python if it has it, else from wheels in .whl/ (no network), else `make` gets it.
set -u
cd "$(dirname "$0")/.." || exit 1
here=$PWD
out=${OUT:-hardware-check}
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
export PYTHONDONTWRITEBYTECODE=1 NO_COLOR=1
export PYTHONPATH="$here:$here/agent:$here/exporters"
needs='import sys; assert sys.version_info >= (3, 11); import gpuwatch, gpuwatch_agent, gpuwatch_exporters, pynvml, psutil, msgspec, starlette, uvicorn, httptools, httpx, prometheus_client'
summary=$out/summary.txt
: >"$summary"

say() { printf '%s\n' "$*" | tee -a "$summary"; }

# step NAME SECONDS COMMAND…: what it prints goes to NAME.txt, what it complains about to NAME.err.
step() {
  local name=$1 limit=$2 began=$EPOCHREALTIME code word
  shift 2
  timeout --kill-after=5 "$limit" "$@" >"$out/$name.txt" 2>"$out/$name.err" </dev/null
  code=$?
  word=ok
  [ $code = 0 ] || word="FAILED ($code)"
  [ $code = 124 ] && word="TOO LONG (over $limit s)"
  say "$(printf '%-26s %-22s %6.2f s' "$name" "$word" "$(awk "BEGIN { print $EPOCHREALTIME - $began }")")"
  [ -s "$out/$name.err" ] || rm -f "$out/$name.err"
  return $code
}

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 .venv/bin/python; do
    [ -n "$candidate" ] && "$candidate" -c "$needs" 2>/dev/null && { python=$(command -v "$candidate"); return; }
  done
  python=${PYTHON:-python3}
  if compgen -G '.whl/*.whl' >/dev/null; then
    if ! "$python" -m pip install --quiet --no-index --no-deps --target "$out/site" .whl/*.whl 2>"$out/install.err"; then
      for wheel in .whl/*.whl; do "$python" -m zipfile -e "$wheel" "$out/site"; done 2>>"$out/install.err"
    fi
    export PYTHONPATH="$out/site:$PYTHONPATH"
  else
    make --silent .venv/.ready >"$out/install.txt" 2>"$out/install.err"
    python=$here/.venv/bin/python
  fi
  python=$(command -v "$python")
  "$python" -c "$needs" 2>>"$out/install.err"
}

about_machine() {
  date -u '+%Y-%m-%d %H:%M UTC'
  uname -srm
  grep -h PRETTY_NAME /etc/os-release
  echo "cores: $(nproc), user: $(id)"
  "$python" --version
  cat /proc/driver/nvidia/version
  grep -iE 'profil|EventMask|DeviceFile' /proc/driver/nvidia/params
  ls -l /dev/nvidia* /dev/kmsg
  echo "dmesg_restrict: $(cat /proc/sys/kernel/dmesg_restrict)"
  command -v nvidia-smi && nvidia-smi --query-gpu=index,name,pci.bus_id,driver_version,vbios_version,persistence_mode,mig.mode.current --format=csv
  true
}

smi_details() { nvidia-smi -q; nvidia-smi topo -m; nvidia-smi nvlink -s; }

cold_starts() {
  local began
  for _ in 1 2 3 4 5 6 7 8; do
    began=$EPOCHREALTIME
    "$python" -m gpuwatch status >/dev/null || return
    awk "BEGIN { printf \"%.0f ms\n\", 1000 * ($EPOCHREALTIME - $began) }"
  done
}

# A user without rights, who may not be able to enter our folders: for that user everything is copied to /tmp.
# (Everything is imported beforehand: afterwards even the interpreter's own folder may be closed.)
give_up_rights='import os, sys, warnings; os.setgroups([]); os.setgid(65534); os.setuid(65534); os.execvp(sys.argv[1], sys.argv[1:])'

copy_for_plain_user() {
  copy=$(mktemp -d /tmp/gpuwatch-check.XXXXXX) || return
  mkdir "$copy/site" "$copy/bench"
  cp -r gpuwatch agent/gpuwatch_agent exporters/gpuwatch_exporters "$copy/site/"
  cp bench/hardware_*.py "$copy/bench/"
  "$python" - "$copy/site" <<'PYTHON'
import importlib.util, pathlib, shutil, sys
for name in ("pynvml", "psutil", "msgspec", "typing_extensions"):
    spec = importlib.util.find_spec(name)
    if spec is None:
        continue
    origin = pathlib.Path(spec.origin)
    if origin.name == "__init__.py":
        shutil.copytree(origin.parent, pathlib.Path(sys.argv[1]) / name)
    else:
        shutil.copy(origin, sys.argv[1])
PYTHON
  chmod -R a+rX "$copy"
  for plain_python in "$python" "$(readlink -f "$python")" /usr/bin/python3; do
    as_plain_user=("$python" -c "$give_up_rights" env "PYTHONPATH=$copy/site" "HOME=$copy" "$plain_python")
    "${as_plain_user[@]}" -c 'import sys, msgspec, pynvml; assert sys.version_info >= (3, 11)' 2>/dev/null && return
  done
  say "no Python that a plain user can run: the steps named user_… are left out"
  return 1
}

main() {
  say "gpuwatch hardware check, $(date -u '+%Y-%m-%d %H:%M UTC'), results in $out"
  if ! find_python; then
    say "gpuwatch can't be run with $python: see $out/install.err"
    exit 1
  fi
  step machine 10 bash -c "$(declare -f about_machine); python='$python' about_machine"
  command -v nvidia-smi >/dev/null && step nvidia_smi 20 bash -c "$(declare -f smi_details); smi_details"

  local width
  for width in 80 120 200; do
    COLUMNS=$width step "status_$width" 20 "$python" -m gpuwatch status --rates
    COLUMNS=$width step "topo_$width" 20 "$python" -m gpuwatch topo
  done
  step status_json 20 "$python" -m gpuwatch status --json --rates
  step topo_json 20 "$python" -m gpuwatch topo --json
  step absences 10 "$python" bench/hardware_agent.py absences "$out/status_json.txt"
  step cold_starts 20 bash -c "$(declare -f cold_starts); python='$python' cold_starts"
  step nvml 40 "$python" bench/hardware_nvml.py
  step agent_1s 60 "$python" bench/hardware_agent.py run --seconds 30 --interval 1 --keep "$out"
  step agent_0.1s 40 "$python" bench/hardware_agent.py run --seconds 10 --interval 0.1 --keep "$out"
  with_a_program
  [ "$(id -u)" = 0 ] && with_no_rights
  conclusions
}

# With something on the GPUs: the process list, and the activity that is not measured on an idle GPU.
with_a_program() {
  "$python" bench/hardware_holder.py >"$out/holder.txt" 2>&1 &
  local holder=$!
  for _ in {1..50}; do
    grep -q holding "$out/holder.txt" && break
    kill -0 $holder 2>/dev/null || break
    sleep 0.1
  done
  if grep -q holding "$out/holder.txt"; then
    step busy_status_json 20 "$python" -m gpuwatch status --json --rates
    COLUMNS=200 step busy_status_200 20 "$python" -m gpuwatch status --rates
    step busy_nvml 40 "$python" bench/hardware_nvml.py
  else
    say "no CUDA program could be started, so nothing is known of busy GPUs: see $out/holder.txt"
  fi
  kill $holder 2>/dev/null
  wait $holder 2>/dev/null
}

with_no_rights() {
  local copy='' plain_python='' as_plain_user=()
  if copy_for_plain_user; then
    cd "$copy" || return
    step user_status_json 20 "${as_plain_user[@]}" -m gpuwatch status --json --rates
    COLUMNS=120 step user_status_120 20 "${as_plain_user[@]}" -m gpuwatch status --rates
    step user_topo_120 20 "${as_plain_user[@]}" -m gpuwatch topo
    step user_absences 10 "$python" "$copy/bench/hardware_agent.py" absences "$out/user_status_json.txt"
    step user_nvml 40 "${as_plain_user[@]}" "$copy/bench/hardware_nvml.py"
    cd "$here" || return
  fi
  rm -rf "$copy"
}

conclusions() {
  say ""
  say "--- machine"
  head -n 6 "$out/machine.txt" | tee -a "$summary"
  for run in agent_1s agent_0.1s; do
    say "--- $run"
    sed -n '1,6p' "$out/$run.txt" | tee -a "$summary"
  done
  say "--- cold status: $(sort -n "$out/cold_starts.txt" | sed -n 4p) (median of 8)"
  for who in nvml busy_nvml user_nvml; do
    [ -s "$out/$who.txt" ] || continue
    say "--- $who"
    sed '/^=== GPU 1/,$d' "$out/$who.txt" | grep -E '^=== |^nvmlInit|^  (197|198) |supported:|SM activity|Xid registered|sample:|metrics:|  margin:' | tee -a "$summary"
  done
  if [ -s "$out/absences.txt" ]; then
    say "--- null fields"
    tee -a "$summary" <"$out/absences.txt"
    [ -s "$out/user_absences.txt" ] && say "--- what a plain user lacks beside (<: root, >: plain user)" &&
      diff "$out/absences.txt" "$out/user_absences.txt" | grep '^[<>]' | tee -a "$summary"
  fi
  say "--- done in $SECONDS s"
}

main "$@"
