"""How networks are computed, as opposed to what they are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """Precision and kernels of a training; part of what its figures depend on to the last bit."""

    bfloat16: bool = False  # convolutions and matrix products
    fused: bool = True  # compiled kernels on a CPU, where they can be had
    compile: bool = False  # torch.compile; not with fused kernels
    stacked: bool = False  # seeds of one architecture as one network; not with fused kernels
    channels_last: bool = True  # memory order of maps; the other one not with fused kernels

    def __str__(self) -> str:
        """For instance ``bfloat16, fused``."""
        words = ["bfloat16" if self.bfloat16 else "float32"]
        words += ["fused"] * self.fused + ["compiled"] * self.compile
        words += ["stacked"] * self.stacked + ["channels first"] * (not self.channels_last)
        return ", ".join(words)

    @classmethod
    def parse(cls, text: str) -> Arithmetic:
        """The value whose text stands somewhere in another."""
        return cls(
            bfloat16="bfloat16" in text,
            fused="fused" in text,
            compile="compiled" in text,
            stacked="stacked" in text,
            channels_last="channels first" not in text,
        )


FLOAT32 = Arithmetic()
