"""Workers as Ray actors; Ray says where, and notices when one dies.

Ray itself restarts nothing here: the trial of a dead worker is queued again first, and deaths are
counted, as with local workers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import time
from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from search.engine import locks
from search.engine import storage as storages
from search.engine.claims import release_dead
from search.engine.cluster.actor import SearchWorker
from search.engine.dataset import load_arrays
from search.engine.pool import DEATHS_IN_A_ROW, Deaths, WorkerError, replaced
from search.engine.text import counted
from search.engine.workers import STORAGE_FAILED

if TYPE_CHECKING:
    import optuna

    from search.engine.workers import Job

PLACING_SECONDS = 20.0  # a worker that waits longer for a CPU is told of


class State(enum.Enum):
    """How far a worker is."""

    PLACING = enum.auto()  # waits for a CPU, or starts
    WORKING = enum.auto()
    DIED = enum.auto()  # to be replaced
    ENDED = enum.auto()  # there was nothing left to do


@dataclasses.dataclass(kw_only=True, eq=False)
class _Slot:
    """One worker after the other."""

    actor: Any
    answer: Any  # what is awaited of it
    state: State = State.PLACING
    owner: str = ""
    node: str = ""


class RayWorkers:
    """A number of workers on a cluster's machines, replaced anywhere when one dies.

    Args:
        job: What each of them does.
        count: How many; those without room wait for it.
        resources: What each takes: ``num_cpus`` and ``num_gpus``.
        deaths: How often each may die with no epoch of any trial finished in between.
    """

    def __init__(
        self, job: Job, count: int, *, resources: dict[str, float], deaths: int = DEATHS_IN_A_ROW
    ) -> None:
        import ray

        self._ray: Any = ray
        self._storage = job.storage
        self._deaths = Deaths(deaths * count)
        self._kind: Any = ray.remote(SearchWorker).options(
            **resources,
            max_restarts=0,
            max_concurrency=2,  # one thread works, one hears when to stop
            scheduling_strategy="SPREAD",
        )
        self._arrays = [ray.put(np.asarray(array)) for array in load_arrays(job.source)]
        bare = dataclasses.replace(job, source=dataclasses.replace(job.source, arrays=None))
        self._job: bytes = ray.cloudpickle.dumps(bare)  # read where an error of the program is told
        self._waiting = 0  # workers, as last told
        self._storage_failed = False
        self._why = ""  # the last death
        self._owners: set[str] = set()
        self._slots = [self._start(index) for index in range(count)]

    def _start(self, index: int) -> _Slot:
        actor = self._kind.remote(self._job, index, *self._arrays)
        self._started = time.monotonic()
        return _Slot(actor=actor, answer=actor.introduce.remote())

    def _in(self, state: State) -> list[_Slot]:
        return [slot for slot in self._slots if slot.state is state]

    @property
    def running(self) -> bool:
        """Whether any worker works."""
        self._look()
        return bool(self._in(State.WORKING))

    @property
    def unfinished(self) -> bool:
        """Whether any worker works or is to; those still without room are not waited for."""
        self._look()
        if self._in(State.WORKING) or self._in(State.DIED):
            return True
        return bool(self._in(State.PLACING)) and not self._in(State.ENDED)

    @property
    def gone(self) -> Collection[str]:
        """The owners of all workers there were; after ``kill`` all are dead."""
        return self._owners

    def _look(self) -> None:
        """Hear what the workers have to say."""
        waiting = {slot.answer: slot for slot in self._in(State.PLACING) + self._in(State.WORKING)}
        if not waiting:
            return
        answers, _ = self._ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
        for answer in answers:
            slot = waiting[answer]
            try:
                said = self._ray.get(answer)
            except self._ray.exceptions.RayError as error:
                self._why = f": {str(error).strip().splitlines()[-1].strip()}"
                self._end(slot, State.DIED)
                continue
            if slot.state is State.PLACING:
                # No trial is taken before its owner is known here.
                slot.owner, slot.node = said
                self._owners.add(slot.owner)
                slot.state = State.WORKING
                slot.answer = slot.actor.work.remote()
            else:
                self._hear(slot, *said)

    def _hear(self, slot: _Slot, result: int, error: str) -> None:
        if error:
            raise WorkerError(f"a worker ended over an error of the program:\n{error}")
        if result == STORAGE_FAILED:
            self._storage_failed = True
            self._why = " because it could not read or write the study"
        self._end(slot, State.DIED if result == STORAGE_FAILED else State.ENDED)

    def _end(self, slot: _Slot, state: State) -> None:
        """Free what a worker takes of its machine."""
        slot.state = state
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(slot.actor)

    def tend(self, study: optuna.Study) -> list[str]:
        """Release the trials of dead workers and have Ray place others, on any machine.

        Returns:
            Lines that say which machines were lost, how many workers died on others, and how many
            wait for a CPU.

        Raises:
            UserError: If the study cannot be written.
            WorkerError: If a worker ended over an error of the program, or workers die again and
                again.
        """
        self._look()
        dead = self._in(State.DIED)
        if not dead:
            return self._tell_waiting()
        if self._storage_failed:
            storages.probe(study, self._storage)
            self._storage_failed = False
        machines = {node["NodeID"]: node for node in self._ray.nodes()}
        lost = [slot for slot in dead if slot.node in machines and not machines[slot.node]["Alive"]]
        alone = [slot for slot in dead if slot not in lost]
        owners = [slot.owner for slot in alone if slot.owner]
        released = locks.try_under_lock(
            self._storage,
            lambda: release_dead(study, alone=owners, gone=[slot.owner for slot in lost]),
        )
        if released is None:
            return []  # the next look does it all
        self._deaths.add(study, len(dead), self._why)
        for index, slot in enumerate(self._slots):
            if slot.state is State.DIED:
                self._slots[index] = self._start(index)
        names = Counter(machines[slot.node]["NodeManagerHostname"] for slot in lost)
        lines = [
            f"the machine {name} was lost with {counted(count, 'worker')}; what was trained there "
            "is queued again, and others take its place where there is room"
            for name, count in names.items()
        ]
        if alone:
            lines.append(replaced(len(alone)))
        return lines

    def _tell_waiting(self) -> list[str]:
        waiting = len(self._in(State.PLACING))
        if waiting == self._waiting or time.monotonic() - self._started < PLACING_SECONDS:
            return []
        self._waiting = waiting
        return (
            [f"workers that start or wait for a free CPU: {waiting} of {len(self._slots)}"]
            if waiting
            else []
        )

    def stop(self) -> None:
        """Ask every worker to end its trial now; those that wait for room never start."""
        for slot in self._in(State.PLACING) + self._in(State.DIED):
            self._end(slot, State.ENDED)
        for slot in self._in(State.WORKING):
            slot.actor.stop.remote()

    def kill(self) -> None:
        """End every worker at once and free the cluster."""
        for slot in self._slots:
            if slot.state is not State.ENDED:
                with contextlib.suppress(self._ray.exceptions.RayError):
                    self._ray.kill(slot.actor)

    def join(self, timeout: float) -> bool:
        """Wait for Ray to say that all are dead; returns whether it did."""
        left = [slot.answer for slot in self._slots if slot.state is State.WORKING]
        if not left:
            return True
        answers, _ = self._ray.wait(left, num_returns=len(left), timeout=timeout)
        return len(answers) == len(left)
