"""A daemon in a network namespace of its own, and what it costs."""

import ctypes
import json
import os
import socket
import struct
import subprocess
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
NETLINK_NETFILTER, NFNLGRP_NFTABLES = 12, 7
NFT_MSG_NEWSETELEM = (10 << 8) | 12
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def cpu_of(pid):
    """User and system seconds of a process and the children it waited for."""
    fields = open("/proc/%d/stat" % pid).read().rsplit(") ", 1)[1].split()
    return sum(map(int, fields[11:15])) / TICK


def ran(pid):
    """As `cpu_of`, without children, by the scheduler's own account: ticks are too coarse for what hardly runs."""
    tasks = os.listdir("/proc/%d/task" % pid)
    return sum(int(open("/proc/%d/task/%s/schedstat" % (pid, task)).read().split()[0]) for task in tasks) / 1e9


def rss_of(pid):
    """Kilobytes."""
    for line in open("/proc/%d/status" % pid):
        if line.startswith("VmRSS:"):
            return int(line.split()[1])


def until(condition, seconds, what):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise SystemExit("bench: waited %d s for %s" % (seconds, what))
        time.sleep(0.005)


class Host:
    """A namespace with a daemon's folder in it; `with` removes both."""

    def __init__(self, bins):
        self.bins = bins
        self.daemon = None

    def __enter__(self):
        self.name = "portero-bench-%d" % os.getpid()
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.folder = tempfile.TemporaryDirectory(prefix="portero-bench.")
        self.path = self.folder.name
        self.log = os.path.join(self.path, "mail.log")
        self.inside(["ip", "link", "set", "lo", "up"], check=True)
        return self

    def __exit__(self, *_):
        self.stop()
        subprocess.run(["ip", "netns", "del", self.name], check=False)
        self.folder.cleanup()

    def inside(self, command, **options):
        return subprocess.run(["ip", "netns", "exec", self.name] + command, **options)

    def configure(self, jails=("postfix-sasl", "dovecot", "cyrus", "sshd"), extra=""):
        with open(os.path.join(self.path, "portero.toml"), "w") as out:
            out.write('state_dir = "%s/state"\nsocket = "%s/sock"\ntable_owner = "off"\ntimezone = "UTC"\n'
                      "enable = %s\n%s\n[defaults]\nipv6_prefix = 128\nmaxretry = 5\n"
                      % (self.path, self.path, json.dumps(list(jails)), extra))
            for jail in jails:
                out.write("[jails.%s]\nlogpath = [%s]\n" % (jail, json.dumps(self.log)))
        open(self.log, "a").close()

    def start(self, arguments=()):
        self.errors = open(os.path.join(self.path, "stderr"), "ab")
        self.daemon = subprocess.Popen(
            ["ip", "netns", "exec", self.name, self.bins + "/portero", "--config", self.path + "/portero.toml",
             *arguments], stderr=self.errors)
        until(lambda: self.banctl("ping").returncode == 0, 60, "the daemon")
        return self.daemon.pid

    def stop(self):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait()
            self.daemon = None

    def banctl(self, *arguments, stdin=None):
        return subprocess.run([self.bins + "/banctl", "--socket", self.path + "/sock", *arguments], input=stdin,
                              capture_output=True, text=True)

    def status(self):
        return json.loads(self.banctl("status", "--json").stdout)

    def banned(self):
        return sum(jail["banned"] for jail in self.status()["jails"])

    def lag(self):
        return sum(log["lag_bytes"] for jail in self.status()["jails"] for log in jail["logs"])

    def write(self, lines):
        with open(self.log, "ab") as out:
            out.write("".join(lines).encode())

    def elements(self):
        """A socket that hears of every new set element in the namespace."""
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open("/run/netns/" + self.name, os.O_RDONLY)
        try:
            if libc.setns(there, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
            heard = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
            heard.bind((0, 0))
            heard.setsockopt(270, 1, NFNLGRP_NFTABLES)
        finally:
            libc.setns(here, CLONE_NEWNET)
            os.close(here)
            os.close(there)
        heard.settimeout(10)
        return heard


def next_element(heard):
    """When the kernel told of the next new set element."""
    while True:
        data = heard.recv(1 << 16)
        at = time.monotonic()
        while len(data) >= 16:
            length, kind = struct.unpack_from("=IH", data)
            if kind == NFT_MSG_NEWSETELEM:
                return at
            data = data[max(16, (length + 3) & ~3):]
