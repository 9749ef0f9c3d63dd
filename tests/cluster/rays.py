"""A Ray cluster of several nodes on this machine, each of them another machine by name."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

NEW_UTS = 0x04000000  # CLONE_NEWUTS of Linux's sched.h: a host name of one's own
NODE = {"object_store_memory": 100_000_000, "include_dashboard": False}


class Nodes:
    """A head with two CPUs and two more nodes with one each; ``close`` ends them all."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        self.cluster: Any = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 2})
        self.others: list[Any] = []
        try:
            for name in ("node-1", "node-2"):
                self.add(name)
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        """The head's ``host:port``."""
        return str(self.cluster.address)

    def add(self, name: str) -> None:
        """Add a node; its workers' owners are elsewhere where the system lets us name it."""
        with host_name(name):
            self.others.append(self.cluster.add_node(**NODE, num_cpus=1))

    def of_process(self, number: int) -> Any:
        """The node, not the head, to which a worker's process belongs; None if to none."""
        parents = {parent.pid for parent in psutil.Process(number).parents()}
        for node in self.others:
            if {info.process.pid for info in node.all_processes["raylet"]} & parents:
                return node
        return None

    def kill(self, node: Any) -> None:
        """SIGKILL to everything of a node."""
        self.others.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)

    def logs(self) -> list[Path]:
        """Every file that Ray wrote for this cluster."""
        folder = Path(self.cluster.head_node.get_session_dir_path())
        return [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]

    def close(self) -> None:
        """End everything."""
        self.cluster.shutdown()


@contextmanager
def host_name(name: str) -> Iterator[None]:
    """Processes that are started within see another host name, if we may give them one."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/self/ns/uts", os.O_RDONLY)
    try:
        if libc.unshare(NEW_UTS) == 0:
            socket.sethostname(name)
        yield
    finally:
        libc.setns(before, NEW_UTS)
        os.close(before)


def workers() -> list[psutil.Process]:
    """Every process on this machine that is a worker of ours on a cluster."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::SearchWorker"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def command_lines() -> str:
    """All command lines on this machine."""
    lines = []
    for process in psutil.process_iter():
        try:
            lines.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return "\n".join(lines)
