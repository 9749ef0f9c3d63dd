"""Joins a Ray cluster, or starts Ray on this machine, and ships the program to its machines."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.common import passwords
from search.common.errors import UserError
from search.study.storages.location import without_password
from search.training.hardware import WORKERS_PER_GPU, default_workers, use_bfloat16
from search.workers.messages import MakeTraining
from search.workers.ray.addresses import AUTO, LOCAL, START, check_answers
from search.workers.ray.ray_workers import RayWorkers

if TYPE_CHECKING:
    from search.data.dataset import DataSource

LOCAL_OBJECTS = 200_000_000  # bytes of memory for objects: MNIST's training file has 47 MB
TRY_SECONDS = 300.0  # for a machine to fetch the program and run a first function
# An actor trains in a thread. The heaps that glibc gives to threads return what is freed whatever
# it is told: 691 page faults to make and free 130 MB of activations, none with its one heap.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}
TOKEN = "Copy ~/.ray/auth_token from its head to here and export RAY_AUTH_MODE=token"
INSTALL = "Install requirements.txt and requirements-cluster.txt, the same everywhere"


def connect(
    address: str, *, root: Path, storage: str, workers: int | None, data_bytes: int = 0
) -> Cluster:
    """Join a cluster, or start Ray here; it is left when this process ends.

    Args:
        address: ``host:port`` of the head, ``auto`` or ``local``.
        root: The program's folder, of which the machines get the Python files.
        storage: Of the study; its password is kept out of what Ray shows.
        workers: How many shall run; None for as many as there is room for.
        data_bytes: Of the images that will be sent, for the memory of a Ray that is started here.

    Raises:
        UserError: If Ray is not installed or the cluster cannot be reached.
    """
    named = os.environ.get("RAY_ADDRESS", AUTO) if address == AUTO else address
    if named not in (AUTO, LOCAL):
        check_answers(named)
    try:
        import ray
    except ImportError:
        raise UserError(
            "--cluster needs Ray, which is not installed",
            "Install it: pip install -r requirements-cluster.txt",
        ) from None
    _hide_password(storage)
    with tempfile.TemporaryDirectory() as folder:
        _copy_program(root, Path(folder))
        options: dict[str, Any] = {"address": address}
        if address == LOCAL:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            options |= {
                "num_cpus": workers or default_workers("cpu"),
                "include_dashboard": False,
                "object_store_memory": max(LOCAL_OBJECTS, 2 * data_bytes),
            }
        with _printed() as printed, passwords.kept_from_children():
            try:
                ray.init(
                    runtime_env={"working_dir": folder, "env_vars": ENVIRONMENT},
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    **options,
                )
            except (Exception, SystemExit) as error:
                if "InvalidAuthToken" in printed():
                    raise UserError(f"the cluster at {address} wants a token", TOKEN) from None
                raise UserError(f"Ray cannot be used: {_shortly(error)}", START) from None
    machines = sum(bool(node["Alive"]) for node in ray.nodes())
    found = ray.cluster_resources()
    return Cluster(machines=machines, cpus=int(found.get("CPU", 0)), gpus=int(found.get("GPU", 0)))


@contextmanager
def _printed() -> Iterator[Callable[[], str]]:
    """Keep off the terminal what Ray's libraries print while they connect; yields how to read it.

    They write past Python to the process's error stream.
    """
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        def read() -> str:
            return os.pread(file.fileno(), 1 << 20, 0).decode(errors="replace")

        try:
            yield read
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)


def _hide_password(storage: str) -> None:
    """Take a password off this process's command line: Ray's dashboard shows that of every driver.

    Other users of this machine no longer see it either.
    """
    shown = without_password(storage)
    if shown == storage:
        return
    from setproctitle import setproctitle

    setproctitle(" ".join([sys.executable, *sys.argv]).replace(storage, shown))


def _copy_program(root: Path, folder: Path) -> None:
    """Copy what a worker runs; no study, no data, no report."""
    for file in [*root.glob("*.py"), *(root / "search").rglob("*.py")]:
        target = folder / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _shortly(error: BaseException) -> str:
    if isinstance(error, SystemExit):  # so it ends a process that cannot connect
        return "it could not connect"
    return " ".join(str(error).split())[:400] or type(error).__name__


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that this process has joined."""

    machines: int
    cpus: int
    gpus: int

    @property
    def description(self) -> str:
        """What there is, in a line."""
        return f"Ray cluster: machines {self.machines}, CPUs {self.cpus}, GPUs {self.gpus}"

    def device(self, wanted: str) -> str:
        """``cpu`` or ``cuda`` from these or ``auto``.

        Raises:
            UserError: If it is neither, or the cluster has none.
        """
        if wanted not in ("auto", "cpu", "cuda"):
            raise UserError(
                f"--device {wanted}: Ray chooses among a cluster's devices", "Use cpu or cuda"
            )
        if wanted == "cuda" and not self.gpus:
            raise UserError("the cluster has no GPU", "Use --device cpu")
        return "cuda" if self.gpus and wanted != "cpu" else "cpu"

    def room(self, device: str) -> int:
        """How many workers have room at once: one per CPU, a few per GPU.

        Raises:
            UserError: If none has.
        """
        room = self.cpus if device == "cpu" else min(self.cpus, WORKERS_PER_GPU * self.gpus)
        if not room:
            raise UserError("the cluster has no CPU for a worker", START)
        return room

    def use_bfloat16(self, precision: str, device: str) -> bool:
        """What ``hardware.use_bfloat16`` says on one of the machines, which this tries out, too.

        Raises:
            UserError: If no machine has room, or it lacks what a worker needs.
        """
        import ray

        function: Any = ray.remote(use_bfloat16)
        answer = function.options(**resources(device), max_retries=3).remote(precision, device)
        try:
            return bool(ray.get(answer, timeout=TRY_SECONDS))
        except ray.exceptions.GetTimeoutError:
            raise UserError(
                f"no machine of the cluster had a free CPU within {TRY_SECONDS:.0f} s",
                "See what else runs there with ray status",
            ) from None
        except ray.exceptions.RayError as error:
            last = (str(error).strip().splitlines() or ["no reason given"])[-1]
            raise UserError(f"a machine of the cluster runs no worker: {last}", INSTALL) from None

    def start(
        self, make_training: MakeTraining, source: DataSource, count: int, *, device: str
    ) -> RayWorkers:
        """Have Ray place so many workers."""
        return RayWorkers(make_training, source, count, resources=resources(device))


def resources(device: str) -> dict[str, float]:
    """What a worker takes of its machine."""
    return {"num_cpus": 1, "num_gpus": 0 if device == "cpu" else 1 / WORKERS_PER_GPU}
