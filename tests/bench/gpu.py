#!/usr/bin/env python3
"""On a machine with a GPU: bits first, then speed, of one worker with compute.device: opencl.

    tests/bench/gpu.py BUILD [--device opencl] [--shapes llama-3.2-1b,llama-3.1-8b] [--out FILE]
    tests/bench/gpu.py BUILD --failover [--positions 2048] [--shapes llama-3.2-1b]

BUILD is a build folder, or one folder with hydac, hydac-leader, hydac-worker and test_worker. Runs
the unit tests of worker/opencl on the device; then for each shape (synthesized, Q4_0) a cluster of
one leader and one worker on this machine: tokens of a CPU worker and of the device compared, decoding
of one stream and of many, prefill, and how long the worker's half-steps take. With --failover instead
the device's worker is killed beside three of the CPU, in the middle of an answer to a long prompt, and
then one of the CPU: whether tokens are the same, and the stall by part."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

STREAMS = 64


def prompt_of(n, number):
    """Token ids that every shape has."""
    return [(i * 7919 + 13 * number) % 500 for i in range(n)]


def find(build, name, folder):
    for path in (os.path.join(build, name), os.path.join(build, folder, name)):
        if os.path.exists(path):
            return path
    sys.exit(f"gpu.py: no {name} in {build}")


class Cluster:
    """hydac up with one worker."""

    def __init__(self, args, model, device, *more):
        self.folder = tempfile.mkdtemp()
        ready = os.path.join(self.folder, "ready")
        command = [args.hydac, "up", "--model", model, "--devices", device, "--port", "0"]
        threads = os.cpu_count() // (1 + device.count(","))
        command += ["--threads", str(threads or 1), "--ready-file", ready]
        command += ["--state", args.state, *more]
        for x in ("limits.max_sequences=64", "limits.max_rows=1024"):
            command.append(f"--leader-arg=--{x}")
        self.log = open(os.path.join(self.folder, "log"), "w+")
        begin = time.time()
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT)
        while not os.path.exists(ready):
            if self.process.poll() is not None or time.time() > begin + 200:
                self.log.seek(0)
                print(self.log.read()[-3000:])
                raise SystemExit(f"gpu.py: hydac up does not serve with {device}")
            time.sleep(0.05)
        self.start_s = time.time() - begin
        while True:
            with open(ready) as f:
                text = f.read()
            if text.strip():
                break
            time.sleep(0.05)
        self.url = json.loads(text)["leader"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.log.seek(0)
        said = [l for l in self.log.read().splitlines() if " error " in l or " warn " in l]
        print("\n".join(said[-10:]))

    def complete(self, prompt, n, **more):
        body = {"prompt": prompt, "max_tokens": n, "temperature": 0, "ignore_eos": True, "hydac": True, **more}
        request = urllib.request.Request(
            self.url + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as r:
            return json.load(r)

    def stream(self, prompt, n, at, do):
        """Tokens of an answer and what it says of losses; do() when `at` of them have come."""
        body = {"prompt": prompt, "max_tokens": n, "temperature": 0, "ignore_eos": True, "hydac": True}
        body["stream"] = True
        request = urllib.request.Request(
            self.url + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        tokens, losses, done = [], [], False
        with urllib.request.urlopen(request, timeout=300) as r:
            for line in r:
                if not line.startswith(b"data: {"):
                    continue
                extra = json.loads(line[6:]).get("hydac") or {}
                tokens += extra.get("tokens", ())
                losses = extra.get("failovers", losses)
                if len(tokens) >= at and not done:
                    done = True
                    do()
        return tokens, losses

    def kill(self, name):
        with open(self.log.name) as f:
            pids = [l.split()[2] for l in f if l.startswith(f"{name} pid ")]
        os.kill(int(pids[-1]), signal.SIGKILL)

    def status(self):
        with urllib.request.urlopen(self.url + "/hydac/status", timeout=30) as r:
            return json.load(r)

    def metrics(self):
        with urllib.request.urlopen(self.url + "/metrics", timeout=30) as r:
            return r.read().decode()


def rate(c, prompt, n, streams):
    """Tokens a second after the first ones: two runs of different length, so that prefill cancels."""

    def together(length):
        threads = [
            threading.Thread(target=c.complete, args=(prompt_of(prompt, i), length)) for i in range(streams)
        ]
        begin = time.time()
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return time.time() - begin

    together(4)
    short, long = together(8), together(8 + n)
    return streams * n / (long - short)


def prefill(c, n):
    best = 0
    for i in range(4):
        begin = time.time()
        c.complete(prompt_of(n, i + 1), 1)
        best = max(best, n / (time.time() - begin))
    return best


def model_of(args, shape):
    model = os.path.join(args.models, f"{shape}.gguf")
    if not os.path.exists(model):
        subprocess.run([args.hydac, "synth", "--shape", shape, "--type", "q4_0", model], check=True)
    return model


def measure(args, shape, results):
    model = model_of(args, shape)
    prompt = 40
    tokens = {}
    for device in ["cpu", args.device] if args.compare else [args.device]:
        with Cluster(args, model, device, "--log-level", "warn") as c:
            r = c.complete(prompt_of(prompt, 0), 32)
            tokens[device] = (r.get("hydac") or {}).get("tokens") or r["choices"][0]["text"]
            if device != args.device:
                continue
            row = {"shape": shape, "start_s": round(c.start_s, 1)}
            for name, fn in (
                ("decode_1", lambda: rate(c, prompt, 128, 1)),
                (f"decode_{STREAMS}", lambda: rate(c, prompt, 64, STREAMS)),
                ("prefill_2048", lambda: prefill(c, 2048)),
            ):
                try:
                    row[name] = round(fn(), 1)
                except Exception as e:  # what else was measured is worth having
                    row[name] = repr(e)
                print(json.dumps(row), flush=True)
            if args.out:
                with open(args.out + f".{shape}.status.json", "w") as f:
                    json.dump(c.status(), f, indent=1)
            results.append(row)
    if args.compare:
        same = tokens["cpu"] == tokens[args.device]
        row["same_tokens_as_cpu"] = same
        print(f"{shape}: tokens of cpu and {args.device} {'are the same' if same else 'DIFFER'}", flush=True)


def fail_over(args, shape, results):
    """The device's worker is lost among three of the CPU; then the other way round."""
    model, want = model_of(args, shape), None
    prompt, devices = prompt_of(args.positions, 1), f"{args.device},cpu,cpu,cpu"
    for victim, is_a in ((None, None), ("w1", args.device), ("w2", "cpu")):
        with Cluster(args, model, devices, "--log-level", "warn") as c:
            c.complete(prompt_of(8, 2), 4)
            said, losses = c.stream(prompt, 32, 12, lambda: victim and c.kill(victim))
        want = want or said
        row = {"shape": shape, "positions": args.positions, "killed": is_a, "same": said == want}
        row["losses"] = losses
        print(json.dumps(row), flush=True)
        results.append(row)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--device", default="opencl")
    p.add_argument("--shapes", default="llama-3.2-1b,llama-3.1-8b")
    p.add_argument("--models", default="/tmp")
    p.add_argument("--state", default="/tmp/hydac-gpu-state")
    p.add_argument("--no-compare", dest="compare", action="store_false")
    p.add_argument("--no-bits", dest="bits", action="store_false")
    p.add_argument("--failover", action="store_true")
    p.add_argument("--positions", type=int, default=2048)
    p.add_argument("--out")
    args = p.parse_args()
    os.makedirs(args.state, exist_ok=True)
    args.hydac = find(args.build, "hydac", "leader/ctl")
    worker = find(args.build, "hydac-worker", "worker")
    subprocess.run([worker, "--list-devices"], check=True)
    failed = 0
    if args.bits:
        begin = time.time()
        tests = find(args.build, "test_worker", "tests/unit/worker")
        where = args.device.partition(":")[2]
        environment = {**os.environ, "HYDAC_OPENCL": where}
        failed = subprocess.run([tests, "--filter", "opencl/*", "-j1"], env=environment).returncode
        print(f"bits: {'as the CPU' if failed == 0 else 'DIFFER'}, {time.time() - begin:.1f} s", flush=True)
    results = []
    for shape in args.shapes.split(",") if args.shapes else []:
        (fail_over if args.failover else measure)(args, shape, results)
    if args.out:
        with open(args.out, "w") as f:
            json.dump(results, f, indent=1)
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
