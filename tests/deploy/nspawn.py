"""Machines booted with systemd: systemd-nspawn containers on a switch of their own.

    this machine -- veth -- [ switch: a bridge in a namespace ] -- veth -- [ namespace of w1 ] ...

Each machine has its own root (an overlay over one Debian tree with hydac installed), its own network
namespace with an address, and systemd as its first process. It is started without systemd-machined
(--register=no --keep-unit), so that this works in containers and virtual machines without systemd.
"""

import os
import shutil
import subprocess
import tempfile

from cluster import until
from files import check, run

BOOT = 120.0  # seconds


def ip(*args):
    check(["ip", *args])


class Switch:
    """A bridge in a namespace; this machine and machines of a test are plugged in."""

    def __init__(self):
        pid = os.getpid()
        self.tag = f"hd{pid % 100000}"
        self.net = f"10.{200 + pid // 250 % 50}.{pid % 250}"
        self.namespaces = []
        self.name = self.namespace("sw")
        ip("-n", self.name, "link", "add", "br0", "type", "bridge")
        ip("-n", self.name, "link", "set", "br0", "up")
        self.here = self.tag + "h"
        self.plug(self.here, None, 254)

    def namespace(self, name):
        full = f"{self.tag}-{name}"
        ip("netns", "add", full)
        self.namespaces.append(full)
        ip("-n", full, "link", "set", "lo", "up")
        return full

    def plug(self, link, namespace, number):
        """A cable: `link` at the end of the machine, its address ends with `number`."""
        port = f"p{number}"
        ip("link", "add", link, "type", "veth", "peer", "name", port, "netns", self.name)
        ip("-n", self.name, "link", "set", port, "master", "br0", "up")
        if namespace:
            ip("link", "set", link, "netns", namespace)
        there = ["-n", namespace] if namespace else []
        ip(*there, "addr", "add", f"{self.net}.{number}/24", "dev", link)
        ip(*there, "link", "set", link, "up")

    def address(self, number):
        return f"{self.net}.{number}"

    def close(self):
        for name in self.namespaces:
            run(["ip", "netns", "del", name])


class Machine:
    """One booted machine. `files`: path in it -> text, written before it boots."""

    def __init__(self, switch, number, name, tree, files, model):
        self.name, self.number, self.switch = name, number, switch
        self.folder = tempfile.mkdtemp(prefix=f"hydac-{name}-")
        self.root = os.path.join(self.folder, "root")
        self.namespace = switch.namespace(name)
        switch.plug(f"{switch.tag}m{number}", self.namespace, number)
        for part in ("root", "upper", "work"):
            os.mkdir(os.path.join(self.folder, part), 0o755)
        layers = f"lowerdir={tree},upperdir={self.folder}/upper,workdir={self.folder}/work"
        check(["mount", "-t", "overlay", "overlay", "-o", layers, self.root])
        for path, text in {"/etc/hostname": name + "\n", **files}.items():
            self.write(path, text)
        self.model, self.popen = model, None

    def path(self, path):
        return os.path.join(self.root, path.lstrip("/"))

    def write(self, path, text, mode=0o644):
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        with open(self.path(path), "w", encoding="utf-8") as f:
            os.chmod(f.fileno(), mode)
            f.write(text)

    def boot(self):
        args = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"]
        args += [f"--directory={self.root}", "--console=read-only"]
        args += [f"--machine={self.switch.tag}{self.name}"]
        args += [f"--network-namespace-path=/run/netns/{self.namespace}"]
        args += [f"--bind-ro={self.model}:/var/lib/hydac/model.gguf"]
        with open(os.path.join(self.folder, "console.log"), "ab") as f:
            self.popen = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=f, stderr=f)
        self.until_up()

    def until_rebooted(self):
        """After `systemctl reboot`: with --keep-unit nspawn ends and its status says what is wanted
        (systemd-nspawn(1)), so that whoever started it starts it again."""
        until(lambda: self.popen.poll() is not None, f"{self.name} goes down", BOOT)
        assert self.popen.returncode == 133, self.console()
        self.boot()

    def init(self):
        """The pid of its first process here, None while it (re)boots."""
        said = run(["pgrep", "-P", str(self.popen.pid), "-x", "systemd"])
        return said.stdout.split()[0] if said.stdout.split() else None

    def run(self, *args):
        """A command in the machine."""
        init = self.init()
        if not init:
            return subprocess.CompletedProcess(args, 255, "", "the machine is down")
        return run(["nsenter", "--all", "--target", init, *args])

    def check(self, *args):
        said = self.run(*args)
        assert said.returncode == 0, f"{self.name}: {args}: {said.stdout}{said.stderr}"
        return said.stdout.strip()

    def until_up(self):
        def up():
            assert self.popen.poll() is None, self.console()
            said = self.run("systemctl", "is-system-running").stdout.strip()
            return said in ("running", "degraded")

        until(up, f"{self.name} has booted", BOOT)

    def show(self, unit, name):
        return self.check("systemctl", "show", "--value", "--property", name, unit)

    def console(self):
        with open(
            os.path.join(self.folder, "console.log"), encoding="utf-8", errors="replace"
        ) as f:
            return f.read()[-4000:]

    def journal(self, unit):
        return self.run("journalctl", "--no-pager", "--lines=60", "--unit", unit).stdout

    def close(self):
        if self.popen and self.popen.poll() is None:
            self.popen.terminate()  # an orderly shutdown
            try:
                self.popen.wait(30)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait(30)
        run(["umount", "--lazy", self.root])
        shutil.rmtree(self.folder, ignore_errors=True)
