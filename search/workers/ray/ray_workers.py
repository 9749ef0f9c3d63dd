"""Workers as Ray actors; Ray says where, and notices when one dies."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from search.common.text import counted
from search.data.dataset import load_arrays
from search.study.judge import Task
from search.workers.messages import Died, Event, MakeTraining, Ready, Stop
from search.workers.ray.actor import SearchWorker

if TYPE_CHECKING:
    from search.data.dataset import DataSource

PLACING_SECONDS = 20.0  # a worker that waits longer for a CPU is told of
LOST_SECONDS = 3.0  # in which Ray notices that a machine is lost


@dataclasses.dataclass(kw_only=True, eq=False)
class _Slot:
    """One worker after the other."""

    actor: Any
    answer: Any  # what it has to tell, once it has
    node: str = ""  # where it was placed, once it was


class RayWorkers:
    """Workers on a cluster's machines, each replaced anywhere when it dies; see ``Workers``.

    Args:
        make_training: Makes each one's part of the objective.
        source: The data.
        count: How many; those without room wait for it.
        resources: What each takes: ``num_cpus`` and ``num_gpus``.
    """

    def __init__(
        self,
        make_training: MakeTraining,
        source: DataSource,
        count: int,
        *,
        resources: dict[str, float],
    ) -> None:
        import ray

        self._ray: Any = ray
        self._kind: Any = ray.remote(SearchWorker).options(
            **resources,
            max_restarts=0,
            max_concurrency=2,  # one call waits for something to tell, one hears
            scheduling_strategy="SPREAD",
        )
        self._arrays = [ray.put(np.asarray(array)) for array in load_arrays(source)]
        bare = dataclasses.replace(source, arrays=None)
        self._job: bytes = ray.cloudpickle.dumps((make_training, bare))
        self._lost: Counter[str] = Counter()  # workers by machines that were lost with them
        self._waiting = 0  # workers without a place, as last told
        self._slots = [self._start(index) for index in range(count)]

    def _start(self, index: int) -> _Slot:
        actor = self._kind.remote(self._job, index, *self._arrays)
        self._started = time.monotonic()
        return _Slot(actor=actor, answer=actor.events.remote())

    def give(self, worker: int, tasks: Sequence[Task]) -> None:
        """See ``Workers``."""
        self._slots[worker].actor.hear.remote(tasks)

    def stop(self, worker: int, number: int) -> None:
        """See ``Workers``."""
        self._slots[worker].actor.hear.remote(Stop(number=number))

    def events(self, seconds: float) -> list[tuple[int, Event]]:
        """See ``Workers``."""
        index = {slot.answer: at for at, slot in enumerate(self._slots)}
        answers, _ = self._ray.wait(list(index), num_returns=1, timeout=seconds)
        if answers:
            answers, _ = self._ray.wait(list(index), num_returns=len(index), timeout=0)
        found: list[tuple[int, Event]] = []
        for answer in answers:
            at = index[answer]
            slot = self._slots[at]
            try:
                told: list[Event] = self._ray.get(answer)
            except self._ray.exceptions.RayError as error:
                found.append((at, self._died(slot, error)))
                self._slots[at] = self._start(at)
                continue
            slot.answer = slot.actor.events.remote()
            for event in told:
                if isinstance(event, Ready):
                    slot.node = event.node
                found.append((at, event))
        return found

    def _died(self, slot: _Slot, error: Exception) -> Died:
        """What became of a worker; frees what it takes of its machine."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(slot.actor)
        lost = self._lost_machine(slot.node)
        if lost:
            self._lost[lost] += 1
        return Died(how=f": {str(error).strip().splitlines()[-1].strip()}", node=lost)

    def _lost_machine(self, node: str) -> str:
        """The name of a machine if it is lost; Ray tells of the worker a moment sooner."""
        until = time.monotonic() + LOST_SECONDS
        while True:
            machine = {node["NodeID"]: node for node in self._ray.nodes()}.get(node)
            if machine is None:
                return ""
            if not machine["Alive"]:
                return str(machine["NodeManagerHostname"])
            if time.monotonic() >= until:
                return ""
            time.sleep(0.2)

    def notices(self) -> list[str]:
        """Which machines were lost, and how many workers wait for a CPU."""
        lines = [
            f"the machine {name} was lost with {counted(count, 'worker')}; what was trained there "
            "goes on elsewhere, and others take its place where there is room"
            for name, count in self._lost.items()
        ]
        self._lost.clear()
        waiting = sum(not slot.node for slot in self._slots)
        if waiting != self._waiting and time.monotonic() - self._started >= PLACING_SECONDS:
            self._waiting = waiting
            if waiting:
                of = f"{waiting} of {len(self._slots)}"
                lines.append(f"workers that start or wait for a free CPU: {of}")
        return lines

    def close(self) -> None:
        """See ``Workers``; waits for Ray to say that all are dead."""
        for slot in self._slots:
            with contextlib.suppress(self._ray.exceptions.RayError):
                self._ray.kill(slot.actor)
        left = [slot.answer for slot in self._slots]
        self._ray.wait(left, num_returns=len(left), timeout=5.0)
