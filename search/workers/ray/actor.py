"""What runs on a machine of the cluster: one worker, which the search gives tasks and asks."""

from __future__ import annotations

import dataclasses
import pickle
import queue
import threading
import traceback
from contextlib import suppress

from search.common.allocator import keep_freed_memory
from search.common.process_id import process_id
from search.data.cache import Array
from search.data.origin import Bytes
from search.workers.messages import Broken, Event, Ready
from search.workers.worker import Inbox, Message, serve


class SearchWorker:
    """Becomes a Ray actor; its process is shown as ``ray::SearchWorker``.

    Args:
        job: What makes its training, and the data without their arrays; pickled, so that what
            cannot be imported here is told by ``events``.
        index: The worker's.
        images: The training file's, as a view of this machine's object store.
        labels: Likewise.
    """

    def __init__(self, job: bytes, index: int, images: Bytes, labels: Array) -> None:
        import ray

        self._job, self._index, self._arrays = job, index, (images, labels)
        self._node = ray.get_runtime_context().get_node_id()
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._told: queue.SimpleQueue[Event] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        import torch

        torch.set_num_threads(1)
        keep_freed_memory()
        try:
            make_training, source = pickle.loads(self._job)
            source = dataclasses.replace(source, arrays=self._arrays)
            training = make_training(self._index, source)
        except Exception:
            self._told.put(Broken(traceback=traceback.format_exc()))
            return
        ready = Ready(name=process_id(), node=self._node)
        serve(Inbox(self._receive), self._told.put, training, ready)

    def _receive(self, wait: bool) -> Message | None:
        with suppress(queue.Empty):
            return self._inbox.get(block=wait)
        return None

    def hear(self, message: Message) -> None:
        """Take what the search says."""
        self._inbox.put(message)

    def events(self) -> list[Event]:
        """What there is to tell; waits for the first."""
        told = [self._told.get()]
        with suppress(queue.Empty):
            while True:
                told.append(self._told.get_nowait())
        return told
