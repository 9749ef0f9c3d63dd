"""Compiled loops of a CPU, made by numba and LLVM."""
