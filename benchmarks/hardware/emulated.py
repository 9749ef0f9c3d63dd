"""Instructions and bytes of an export's C on a Cortex-M4 and a Cortex-M7, emulated by QEMU.

    python search/export.py --micro --output exports/winner
    python benchmarks/hardware/emulated.py exports/winner/micro

Compiles the C of a folder for both cores, classifies its first image on an emulated board, checks
the label, and counts the instructions that this takes: QEMU then executes one in a nanosecond of
its clock. How many cycles an instruction takes on a real core it does not know. Needs Debian's
gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

CORES = {
    "Cortex-M4": ("mps2-an386", ["-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16"]),
    "Cortex-M7": ("mps2-an500", ["-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16"]),
}
KINDS = ("float32", "int8")
LEVELS = ("-O2", "-O3")
CLOCK = 25_000_000  # ticks of both boards' SysTick in a second: 40 instructions each
PROGRAMS = ("arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm")
SECONDS = 120.0

MAIN = """
#include <stdint.h>
#include <stdio.h>
#include "model_{kind}.h"

static const unsigned char image[] = {{{pixels}}};
extern uint32_t _estack, _sidata, _sdata, _edata, _sbss, _ebss;
extern void initialise_monitor_handles(void), _exit(int);

int main(void) {{
  volatile uint32_t *tick = (uint32_t *)0xE000E010;
  float logits[{classes}];
  tick[1] = 0xFFFFFF, tick[2] = 0, tick[0] = 5;
  const uint32_t before = tick[2];
  const int label = model_{kind}_classify(image, logits);
  const uint32_t after = tick[2];
  if (tick[0] >> 16 & 1) printf("the count is too long for the board's clock\\n");
  printf("label %d ticks %lu\\n", label, (unsigned long)((before - after) & 0xFFFFFF));
  return 0;
}}

void start(void) {{
  *(volatile uint32_t *)0xE000ED88 |= 0xF << 20; /* the floating-point unit */
  __asm__ volatile("dsb\\nisb");
  uint32_t *from = &_sidata, *to = &_sdata;
  while (to < &_edata) *to++ = *from++;
  for (to = &_sbss; to < &_ebss;) *to++ = 0;
  initialise_monitor_handles();
  main();
  fflush(stdout);
  _exit(0);
}}

static void hang(void) {{
  for (;;) {{
  }}
}}

__attribute__((section(".vectors"), used))
void *const vectors[16] = {{&_estack, start, hang, hang}};
"""
LAYOUT = """
MEMORY {
  FLASH (rx) : ORIGIN = 0x00000000, LENGTH = 4M
  RAM (rwx) : ORIGIN = 0x20000000, LENGTH = 4M
}
_estack = 0x20400000;
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) KEEP(*(.init)) *(.eh_frame) } > FLASH
  .ARM.exidx : { *(.ARM.exidx*) } > FLASH
  .data : { . = ALIGN(8); _sdata = .; *(.data*) . = ALIGN(8); _edata = .; } > RAM AT > FLASH
  _sidata = LOADADDR(.data);
  .bss : { . = ALIGN(8); _sbss = .; *(.bss*) *(COMMON) . = ALIGN(8); _ebss = .; end = .; } > RAM
}
"""


def measure(folder: Path, kind: str, core: str, level: str) -> tuple[int, int, dict[str, int]]:
    """The label of the first image, the instructions that it took, and the sections' bytes.

    Args:
        folder: Holds the C and the images, as an export writes them.
        kind: float32 or int8.
        core: Of ``CORES``.
        level: Of optimisation.
    """
    board, flags = CORES[core]
    header = (folder / f"model_{kind}.h").read_text(encoding="utf-8")
    pixels, classes = (
        int(re.findall(rf"_{name} (\d+)", header)[0]) for name in ("PIXELS", "CLASSES")
    )
    image = (folder / "images.bin").read_bytes()[:pixels]
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        text = MAIN.format(kind=kind, classes=classes, pixels=", ".join(map(str, image)))
        (made / "main.c").write_text(text, encoding="utf-8")
        (made / "layout.ld").write_text(LAYOUT, encoding="utf-8")
        source = folder / f"model_{kind}.c"
        compile_ = ["arm-none-eabi-gcc", *flags, "-mthumb", "-mfloat-abi=hard", level, "-std=c99"]
        _run(*compile_, "-c", str(source), "-o", str(made / "model.o"))
        sizes = _run("arm-none-eabi-size", "-A", str(made / "model.o"))
        link = ["-std=gnu11", f"-I{folder}", "-T", str(made / "layout.ld"), "--specs=rdimon.specs"]
        link += ["-nostartfiles", "-lc", "-lm", "-lrdimon"]
        program = str(made / "program.elf")
        _run(*compile_, str(made / "main.c"), str(made / "model.o"), *link, "-o", program)
        machine = ["qemu-system-arm", "-M", board, "-nographic", "-icount", "shift=0"]
        machine += ["-semihosting-config", "enable=on,target=native", "-kernel", program]
        printed = _run(*machine)
        if "too long" in printed:
            raise SystemExit("the network takes more instructions than the board's clock can count")
        label, ticks = map(int, re.findall(r"label (\d+) ticks (\d+)", printed)[0])
    found = dict(re.findall(r"^(\.\w+)\s+(\d+)", sizes, flags=re.MULTILINE))
    return label, ticks * (1_000_000_000 // CLOCK), {name: int(of) for name, of in found.items()}


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    if done.returncode:
        raise SystemExit(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout


def rows(folder: Path) -> Iterator[str]:
    """A line for each core, form and level."""
    for core in CORES:
        for kind in KINDS:
            expected = int((folder / f"labels_{kind}.txt").read_text(encoding="utf-8").split()[0])
            for level in LEVELS:
                label, instructions, sizes = measure(folder, kind, core, level)
                right = "" if label == expected else f", label {label} instead of {expected}"
                yield (
                    f"| {core} | {kind} | {level} | {instructions:,}{right} | {sizes['.text']:,} "
                    f"| {sizes['.rodata']:,} | {sizes['.bss']:,} |"
                )


def main() -> int:
    """Print a table; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="micro, in the folder of an export --micro")
    folder = parser.parse_args().folder
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing or not (folder / "model_int8.c").exists():
        wrong = f"{', '.join(missing)} not found" if missing else f"{folder} holds no model_int8.c"
        print(
            f"error: {wrong}. Run python benchmarks/hardware/emulated.py --help.", file=sys.stderr
        )
        return 2
    print("| core | form | level | instructions of an image | code | constants | RAM |")
    print("|---|---|---|---:|---:|---:|---:|")
    for row in rows(folder):
        print(row, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
