"""What runs on a machine of the cluster: one worker, which the search can ask to stop."""

from __future__ import annotations

import dataclasses
import pickle
import threading
import traceback

from search.engine.allocator import keep_freed_memory
from search.engine.dataset import Bytes
from search.engine.owners import owner_name
from search.engine.workers import Job, work


class SearchWorker:
    """Becomes a Ray actor; its process is shown as ``ray::SearchWorker``.

    Args:
        job: Pickled, so that what cannot be imported here is told by ``work``.
        index: The worker's.
        images: The training file's, as a view of this machine's object store.
        labels: Likewise.
    """

    def __init__(self, job: bytes, index: int, images: Bytes, labels: Bytes) -> None:
        self._job = job
        self._index = index
        self._arrays = (images, labels)
        self._stop = threading.Event()

    def introduce(self) -> tuple[str, str]:
        """The owner of this worker's trials, and Ray's name of the machine."""
        import ray

        return owner_name(), ray.get_runtime_context().get_node_id()

    def work(self) -> tuple[int, str]:
        """Work until nothing is left to do; the worker's result, or the traceback of an error."""
        import torch

        torch.set_num_threads(1)
        keep_freed_memory()
        try:
            job: Job = pickle.loads(self._job)
            source = dataclasses.replace(job.source, arrays=self._arrays)
            job = dataclasses.replace(job, source=source)
            return work(job, self._index, self._stop.is_set), ""
        except Exception:
            return 1, traceback.format_exc()

    def stop(self) -> None:
        """Have the running trial end now."""
        self._stop.set()
