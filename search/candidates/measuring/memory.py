"""The memory that a run's activations need at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from search.candidates.measuring.trace import Step


def peak_values(
    steps: Sequence[Step], sizes: Mapping[int, int], image: int, results: Sequence[int]
) -> int:
    """The most numbers that are alive at one time, for one image.

    Operations run in the order of the record. Each one's output takes fresh memory, which is free
    again after the last operation that reads it; the image's is too. An operation that works value
    by value takes the place of an input of the same size that nothing needs afterwards. A further
    output that nobody reads is never written: the positions of a pooling's maxima, for instance.

    Args:
        steps: What was done.
        sizes: Numbers in each activation.
        image: The activation that goes in.
        results: Those that have to be there at the end.
    """
    last = {number: at for at, step in enumerate(steps) for number in step.reads + step.writes}
    last |= dict.fromkeys(results, len(steps))
    alive = {image}
    peak = held = sizes[image]
    for at, step in enumerate(steps):
        written = [n for i, n in enumerate(step.writes) if i == 0 or last[n] > at]
        for number in written[:1] if step.in_place else ():
            for read in step.reads:
                if read in alive and last[read] == at and sizes[read] == sizes[number]:
                    alive.remove(read)
                    held -= sizes[read]
                    break
        held += sum(sizes[number] for number in written)
        alive.update(written)
        peak = max(peak, held)
        over = {number for number in (*step.reads, *written) if last[number] == at} & alive
        held -= sum(sizes[number] for number in over)
        alive -= over
    return peak
