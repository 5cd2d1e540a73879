"""Machines for the daemons: network namespaces on a bridge, with links that can be cut and slowed.

The program itself moves into a namespace of its own, which stands for the leader's machine and has
the bridge; each worker's machine is a namespace that lives as long as its holder process. Nothing
has a name outside, so nothing is left behind, however the program ends.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys

CLONE_NEWNET = 0x40000000
SLOW_MS = 200
RELAY_PORT = 7400
HERE = os.path.dirname(os.path.abspath(__file__))
MIDDLE = os.path.join(HERE, "../integration/middle.py")
TOOLS = ("ip", "tc", "nft", "nsenter", "unshare", "setpriv")


def sh(*args):
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(args)}: {done.stderr.strip()}")


class Middles:
    """A man in the middle on the machine of each of some workers, who can make a liar of it."""

    def __init__(self, net, names):
        self.net, self.names, self.processes, self.ports = net, names, {}, {}

    def address(self, name, port):
        """Where such a worker finds the leader; None for another."""
        if name not in self.names:
            return None
        if name not in self.processes:
            args = [*self.net.prefix(name), "setpriv", "--pdeathsig", "KILL", sys.executable]
            args += [MIDDLE, "0", f"{self.net.leader_address}:{port}"]
            self.processes[name] = subprocess.Popen(
                args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            self.ports[name] = self.processes[name].stdout.readline().strip()
        return f"127.0.0.1:{self.ports[name]}"

    def tell(self, name, line):
        """"lie NAME" or "honest"; it is done when this returns."""
        p = self.processes[name]
        print(line, file=p.stdin, flush=True)
        if p.stdout.readline() != "done\n":
            raise OSError(f"the man in the middle of {name} ended: {p.wait()}")

    def close(self):
        for p in self.processes.values():
            p.kill()
            p.wait()


class Loopback:
    """No namespaces: all on 127.0.0.1. Links are as they are."""

    has_links = False
    kind = "loopback"
    leader_address = "127.0.0.1"

    def __init__(self, liars):
        self.middles = Middles(self, liars)

    def address(self, name):
        return "127.0.0.1"

    def prefix(self, name):
        return []

    def leader_for(self, name, port):
        return self.middles.address(name, port) or f"127.0.0.1:{port}"

    def heal(self, name):
        pass

    def close(self):
        self.middles.close()


class Namespaces:
    """See above. Raises OSError where they cannot be made. `liars` have a man in the middle,
    `relayed` a relay: the links of these can be slow without netem."""

    has_links = True
    leader_address = "10.77.0.1"

    def __init__(self, names, liars, relayed):
        self.middles, self.relayed = Middles(self, liars), relayed
        missing = [t for t in TOOLS if not shutil.which(t)]
        if missing:
            raise OSError(f"{', '.join(missing)}: not found")
        self.holders, self.relays, self.cuts, self.slowed = {}, {}, {}, set()
        self.addresses, self.parted = {}, {}
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        sh("ip", "link", "set", "lo", "up")
        sh("ip", "link", "add", "br0", "type", "bridge")
        sh("ip", "addr", "add", f"{self.leader_address}/24", "dev", "br0")
        sh("ip", "link", "set", "br0", "up")
        for i, name in enumerate(names):
            self.add(name, f"10.77.0.{11 + i}")
        self.netem = self.has_netem(names[0])
        self.kind = "namespaces, slow links by " + ("netem" if self.netem else "relays")

    def add(self, name, address):
        """A machine: its namespace, a cable to the bridge."""
        self.addresses[name] = address
        # The shell says when its namespace is there, and ends with us.
        self.holders[name] = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo; exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.holders[name].stdout.readline()
        pid = str(self.holders[name].pid)
        sh("ip", "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", pid)
        sh("ip", "link", "set", "dev", name, "master", "br0", "up")
        sh(*self.prefix(name), "ip", "addr", "add", f"{address}/24", "dev", "eth0")
        sh(*self.prefix(name), "ip", "link", "set", "eth0", "up")
        sh(*self.prefix(name), "ip", "link", "set", "lo", "up")

    def address(self, name):
        return self.addresses[name]

    def prefix(self, name):
        """What runs a command on that machine."""
        return ["nsenter", "-t", str(self.holders[name].pid), "-n"]

    def has_netem(self, name):
        try:
            sh("tc", "qdisc", "add", "dev", name, "root", "netem", "delay", "1ms")
            sh("tc", "qdisc", "del", "dev", name, "root")
            return True
        except OSError:
            return False

    def leader_for(self, name, port):
        """Where a worker on that machine finds the leader."""
        if name in self.middles.names:
            return self.middles.address(name, port)
        if self.netem or name not in self.relayed:
            return f"{self.leader_address}:{port}"
        if name not in self.relays:
            args = [*self.prefix(name), "setpriv", "--pdeathsig", "KILL", sys.executable]
            args += [os.path.join(HERE, "relay.py"), str(RELAY_PORT)]
            args += [f"{self.leader_address}:{port}", str(SLOW_MS)]
            self.relays[name] = subprocess.Popen(args, stdout=subprocess.PIPE)
            self.relays[name].stdout.readline()
        return f"127.0.0.1:{RELAY_PORT}"

    # ---- Faults

    def cut(self, name, direction="both"):
        """Nothing passes: "both" ways, "in" to the worker's machine, "out" of it."""
        self.heal(name)
        self.cuts[name] = direction
        if direction == "both":
            sh("ip", "link", "set", "dev", name, "down")
        elif direction == "in":
            rule = "table inet cut { chain c { type filter hook input priority 0; policy drop;"
            sh(*self.prefix(name), "nft", rule + ' iifname "lo" accept; }; }')
        else:
            rule = f"type filter hook ingress device {name} priority 0; policy drop;"
            sh("nft", f"table netdev cut_{name} {{ chain c {{ {rule} }}; }}")

    def heal(self, name):
        direction = self.cuts.pop(name, None)
        if direction == "both":
            sh("ip", "link", "set", "dev", name, "up")
        elif direction == "in":
            sh(*self.prefix(name), "nft", "delete", "table", "inet", "cut")
        elif direction == "out":
            sh("nft", "delete", "table", "netdev", f"cut_{name}")

    def part(self, name, others):
        """Nothing passes between that machine and the others; all else does."""
        self.unite(name)
        self.parted[name] = True
        those = ", ".join(self.addresses[o] for o in others)
        rules = f"chain i {{ type filter hook input priority 0; ip saddr {{ {those} }} drop; }}; "
        rules += f"chain o {{ type filter hook output priority 0; ip daddr {{ {those} }} drop; }};"
        sh(*self.prefix(name), "nft", f"table inet part {{ {rules} }}")

    def unite(self, name):
        if self.parted.pop(name, None):
            sh(*self.prefix(name), "nft", "delete", "table", "inet", "part")

    def slow(self, name, on):
        if on == (name in self.slowed):
            return
        self.slowed ^= {name}
        if not self.netem:
            self.relays[name].send_signal(signal.SIGUSR1 if on else signal.SIGUSR2)
        elif on:
            sh("tc", "qdisc", "add", "dev", name, "root", "netem", "delay", f"{SLOW_MS}ms")
        else:
            sh("tc", "qdisc", "del", "dev", name, "root")

    def close(self):
        self.middles.close()
        for process in (*self.relays.values(), *self.holders.values()):
            process.kill()
            process.wait()


def make(names, liars, relayed):
    """Namespaces where they can be had, else the loopback; why not, or ""."""
    if os.geteuid() != 0:
        return Loopback(liars), "not root"
    try:
        return Namespaces(names, liars, relayed), ""
    except OSError as e:
        return Loopback(liars), str(e)
