"""Workers as processes of this machine, each at the other end of a pipe."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING

from search.common import passwords
from search.common.allocator import keep_freed_memory
from search.common.output import protect
from search.common.process_id import process_id
from search.study.judge import Task
from search.workers.messages import Broken, Died, Event, MakeTraining, Ready, Stop
from search.workers.worker import Inbox, Message, serve

if TYPE_CHECKING:
    from search.data.dataset import DataSource


@dataclass(frozen=True, kw_only=True, eq=False)
class _Slot:
    process: SpawnProcess
    pipe: Connection


class LocalWorkers:
    """Worker processes; see ``Workers``.

    Args:
        make_training: Makes each one's part of the objective.
        source: The data.
        count: How many.
    """

    def __init__(self, make_training: MakeTraining, source: DataSource, count: int) -> None:
        self._make_training, self._source = make_training, source
        self._context = multiprocessing.get_context("spawn")
        self._slots = [self._start(index) for index in range(count)]

    def _start(self, index: int) -> _Slot:
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=_main, args=(there, self._make_training, self._source, index)
        )
        with _nothing_inherited():
            process.start()
        there.close()  # the worker's end alone: when it dies, this one reads the end of file
        return _Slot(process=process, pipe=here)

    def give(self, worker: int, tasks: Sequence[Task]) -> None:
        """See ``Workers``."""
        self._send(worker, tasks)

    def stop(self, worker: int, number: int) -> None:
        """See ``Workers``."""
        self._send(worker, Stop(number=number))

    def _send(self, worker: int, message: Message) -> None:
        with suppress(OSError):  # it is dead, which ``events`` tells
            self._slots[worker].pipe.send(message)

    def events(self, seconds: float) -> list[tuple[int, Event]]:
        """See ``Workers``."""
        index = {slot.pipe: at for at, slot in enumerate(self._slots)}
        found: list[tuple[int, Event]] = []
        for pipe in wait(list(index), timeout=seconds):
            assert isinstance(pipe, Connection)
            at = index[pipe]
            try:
                while pipe.poll():
                    found.append((at, pipe.recv()))
            except (EOFError, OSError):
                found.append((at, Died(how=self._how(at))))
                self._slots[at] = self._start(at)
        return found

    def _how(self, worker: int) -> str:
        """What ended a worker, and its end waited for."""
        slot = self._slots[worker]
        slot.pipe.close()
        slot.process.join(1.0)
        slot.process.kill()  # in case that it only closed its pipe
        slot.process.join()
        code = slot.process.exitcode
        if code == -signal.SIGKILL:
            return " by SIGKILL (the system may be out of memory: try fewer --workers)"
        if code is not None and code < 0:
            return f" by {signal.Signals(-code).name}"
        return f" with exit code {code}"

    def notices(self) -> list[str]:
        """See ``Workers``; there are none."""
        return []

    def close(self) -> None:
        """See ``Workers``."""
        for slot in self._slots:
            slot.process.kill()
        for slot in self._slots:
            slot.process.join()
            slot.pipe.close()


@contextmanager
def _nothing_inherited() -> Iterator[None]:
    """Start a process without the command line and the passwords of this one.

    Ctrl-C reaches a terminal's whole process group: what a new process ignores when it starts it
    goes on ignoring, also while it still imports.
    """
    arguments = sys.argv
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.argv = sys.argv[:1]
    try:
        with passwords.kept_from_children():
            yield
    finally:
        sys.argv = arguments
        signal.signal(signal.SIGINT, handler)


class _Parted(BaseException):
    """The coordinator is gone; no error of a candidate."""


class _Pipe:
    """A worker's end of its pipe.

    A thread sends: a state is larger than what the system keeps of a pipe, and training is not to
    wait until the coordinator has read it.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._told: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self.tell = self._told.put  # the coordinator, soon
        self._sender = threading.Thread(target=self._send, daemon=True)
        self._sender.start()

    def _send(self) -> None:
        with suppress(OSError):  # the coordinator is gone, which who listens notices
            while (event := self._told.get()) is not None:
                self._pipe.send(event)

    def close(self) -> None:
        """Wait until all is told."""
        self._told.put(None)
        self._sender.join()

    def receive(self, wait: bool) -> Message | None:
        """The next message; see ``Inbox``."""
        try:
            return self._pipe.recv() if wait or self._pipe.poll() else None
        except (EOFError, OSError):
            raise _Parted from None


def _main(
    connection: Connection, make_training: MakeTraining, source: DataSource, index: int
) -> None:
    """A worker process from start to end; it ends with the process that started it."""
    protect()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the coordinator ends us
    pipe = _Pipe(connection)
    with suppress(_Parted):
        try:
            import torch

            torch.set_num_threads(1)
            keep_freed_memory()
            training = make_training(index, source)
        except Exception:
            pipe.tell(Broken(traceback=traceback.format_exc()))
            pipe.close()
            return
        serve(Inbox(pipe.receive), pipe.tell, training, Ready(name=process_id()))
