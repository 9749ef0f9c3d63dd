"""A space: a file with ``suggest``, and what it draws for some images and limits."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import json
import sys
import traceback
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FixedTrial

from search.architecture.candidate import LayeredCandidate
from search.architecture.refitting import Refitted, refit
from search.candidates.costs import WrongOutput
from search.common.errors import UserError
from search.common.typed_json import loads
from search.training.recipe import Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

    from search.architecture.limits import Limits
    from search.candidates.candidate import AnyCandidate
    from search.candidates.costs import Costs
    from search.data.problem import Problem

ROOT = Path(__file__).resolve().parents[2]  # of the program
DEFAULT_SPACE = ROOT / "space.py"
LARGEST = 1_000_000  # bytes of a file


@dataclass(frozen=True, kw_only=True)
class SpaceFile:
    """A space's file as it was when the command began: every process runs this text.

    So what a search draws does not change when the file is edited meanwhile, and workers on other
    machines need no copy. Of modules that it imports from its own folder they do.
    """

    name: str  # the path from the program's folder, or in full where it lies elsewhere
    source: str
    digest: str  # of the text and of the modules beside it that it imports
    same_as: frozenset[str] = frozenset()  # digests whose networks a study knows to be this one's

    @property
    def path(self) -> Path:
        """Where it was read."""
        return ROOT / self.name

    def suggest(self, trial: BaseTrial, problem: Problem, limits: Limits) -> AnyCandidate:
        """What the file's function returns, whatever it is.

        Raises:
            UserError: If it raises; says where. ``optuna.TrialPruned`` goes through.
        """
        with self.errors():
            drawn: AnyCandidate = _module(self).suggest(trial, problem, limits)
        return drawn

    @property
    def defaults(self) -> dict[str, Any]:
        """What trials count to have had of parameters that came later: ``DEFAULTS`` in the file.

        Raises:
            UserError: If it is no mapping of names.
        """
        found = getattr(_module(self), "DEFAULTS", {})
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
            raise self.error("DEFAULTS must be a dict of parameters by name", 1)
        return dict(found)

    @contextmanager
    def errors(self, line: int | None = None) -> Iterator[None]:
        """Turn what the space's code raises into one line with file and line.

        Args:
            line: That is named where none of the file's was at work; None: that of ``suggest``.
        """
        try:
            yield
        except (UserError, optuna.TrialPruned):
            raise
        except (Exception, SystemExit) as error:
            line = _line_of(error, self.path) or line or self.line
            raise self.error(f"{type(error).__name__}: {error}", line) from error

    def error(self, what: str, line: int) -> UserError:
        """An error of the space at a line of its file."""
        return UserError(f"{self.name}:{line}: {what}", "Fix the space, or name another: --space")

    @property
    def line(self) -> int:
        """Where ``suggest`` begins."""
        code = inspect.unwrap(_module(self).suggest)
        return getattr(getattr(code, "__code__", None), "co_firstlineno", 1)


def read_space(file: Path = DEFAULT_SPACE) -> SpaceFile:
    """Read a space's file and run it once.

    Raises:
        UserError: If it cannot be read, is no Python, raises, or has no function ``suggest``.
    """
    hint = "Name a Python file with the function suggest(trial, problem, limits)"
    path = file.expanduser().resolve()
    name = str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for without end
            raise UserError(f"the space {file} is not a file", hint)
        with path.open("rb") as opened:
            content = opened.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UserError(f"the space {file} is longer than {LARGEST:,} bytes", hint)
        source = content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"the space {file} cannot be read: {reason}", hint) from None
    space = SpaceFile(name=name, source=source, digest="")
    found = _module(space)
    if not callable(getattr(found, "suggest", None)):
        raise UserError(f"the space {file} has no function suggest", hint)
    digest = hashlib.sha256(source.encode())
    for beside in _beside(path, source):
        digest.update(beside.read_bytes())
    return SpaceFile(name=name, source=source, digest=digest.hexdigest()[:12])


def _beside(path: Path, source: str) -> list[Path]:
    """The files of modules in a space's folder that it imports, directly or by way of others."""
    found: set[Path] = set()
    texts = [source]
    while texts:
        imported = set()
        for node in ast.walk(ast.parse(texts.pop())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
        for name, module in list(sys.modules.items()):
            file = Path(getattr(module, "__file__", None) or "/")
            if name.partition(".")[0] not in imported or file in found or file.suffix != ".py":
                continue
            if file.is_relative_to(path.parent) and not _is_ours(file) and file.is_file():
                found.add(file)
                texts.append(file.read_text(encoding="utf-8", errors="replace"))
    return sorted(found)


def _module(space: SpaceFile) -> Any:
    return _run(space.name, space.source)


@functools.lru_cache(maxsize=16)
def _run(name: str, source: str) -> types.ModuleType:
    """The module that a space's text makes; each text is run once in a process."""
    space = SpaceFile(name=name, source=source, digest="")
    path = space.path
    module = types.ModuleType(f"space_{hashlib.sha256(source.encode()).hexdigest()[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # as an import does: dataclasses look there
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
        line = line or _line_of(error, path) or 1
        what = error.msg if isinstance(error, SyntaxError) else error
        raise space.error(f"{type(error).__name__}: {what}", line) from error
    return module


def _line_of(error: BaseException, path: Path) -> int | None:
    """The line of a file that an error came from, the innermost one; None if from elsewhere."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return lines[-1] if lines else None


def _is_ours(path: Path) -> bool:
    """Whether a file is this program's: the digest of its code is recorded by itself."""
    inside = path.relative_to(ROOT).parts if path.is_relative_to(ROOT) else ()
    return inside[:1] in (("search",), (".venv",)) or inside == ("objective.py",)


@dataclass(frozen=True, kw_only=True)
class Space:
    """What a space draws for some images and limits."""

    file: SpaceFile
    problem: Problem
    limits: Limits

    def suggest(self, trial: BaseTrial) -> AnyCandidate:
        """Draw a candidate from a trial.

        Raises:
            UserError: If the space raises, or returns no candidate; says where.
        """
        drawn = self.file.suggest(trial, self.problem, self.limits)
        lacks = [name for name in ("build", "name", "recipe") if not hasattr(drawn, name)]
        if lacks:
            raise self.file.error(
                f"suggest returned {_shortly(drawn)}, which has no {lacks[0]}: "
                "a search.candidates.candidate.Candidate is needed",
                self.file.line,
            )
        for name, kind, fits in (
            ("build", "a function", callable(drawn.build)),
            ("name", "a text", isinstance(drawn.name, str)),
            ("recipe", "a Recipe", isinstance(drawn.recipe, Recipe)),
        ):
            if not fits:
                value = _shortly(getattr(drawn, name))
                raise self.file.error(
                    f"a candidate's {name} must be {kind}, but got {value}", self.file.line
                )
        return drawn

    def costs(self, candidate: AnyCandidate) -> Costs:
        """What a candidate costs: by its own formula where it has one, else measured.

        Raises:
            UserError: If its network cannot be built or run, or does not give a logit for each of
                the classes; says where.
        """
        build = inspect.unwrap(getattr(candidate.build, "func", candidate.build))
        line = getattr(getattr(build, "__code__", None), "co_firstlineno", self.file.line)
        with self.file.errors(line):
            by_formula = getattr(candidate, "costs", None)
            try:
                if by_formula is not None:
                    _check_shape(candidate, self.problem)
                    return _of_classes(by_formula(), self.problem.classes)
                from search.candidates.measuring import measure  # imports torch

                costs = measure(candidate.build, self.problem.input_shape, self.problem.classes)
                if costs.parameters == 0:
                    raise WrongOutput("the network has no parameter that could be trained")
                return costs
            except WrongOutput as error:
                raise self.file.error(str(error), line) from None

    def write(self, candidate: AnyCandidate, params: dict[str, Any]) -> str:
        """A candidate as one line of JSON, for ``read``.

        Any but one of layers is written as the parameters that it was drawn from.
        """
        if isinstance(candidate, LayeredCandidate):
            return candidate.to_json()
        drawn_from = {"file": self.file.name, "digest": self.file.digest}
        return json.dumps({"space": drawn_from, "params": params})

    def read(self, text: str) -> AnyCandidate:
        """The candidate that ``write`` wrote.

        Raises:
            ValueError: If the text is no candidate; says what is wrong with it.
            UserError: If the candidate was drawn from another space.
        """
        data = loads(text)
        if not isinstance(data, dict) or "params" not in data:
            return LayeredCandidate.from_json(text)
        space, params = data.get("space"), data["params"]
        if not isinstance(space, dict) or not isinstance(params, dict):
            raise ValueError('a drawn candidate has objects "space" and "params"')
        if space.get("digest") not in {self.file.digest, *self.file.same_as}:
            raise UserError(
                f"the candidate was drawn from the space {space.get('file')} "
                f"({space.get('digest')}), but {self.file.name} is another one or was changed "
                f"({self.file.digest})",
                "Name that file, as it was, with --space",
            )
        fitted = self.refit(params)
        if fitted.candidate is None or fitted.outside:
            return self.suggest(FixedTrial(params))  # says what is wrong
        return fitted.candidate

    def refit(self, params: Mapping[str, Any]) -> Refitted:
        """What the space makes of parameters that another or an older one drew.

        Raises:
            UserError: If a default that the file names is outside its range.
        """
        try:
            return refit(params, self.file.defaults, self.suggest)
        except ValueError as error:
            raise self.file.error(f"DEFAULTS: {error}", 1) from None


def _check_shape(candidate: AnyCandidate, problem: Problem) -> None:
    """Refuse layers that are counted for images of another shape."""
    if isinstance(candidate, LayeredCandidate) and candidate.input_shape != problem.input_shape:
        raise WrongOutput(
            f"the candidate is for images of {list(candidate.input_shape)}, but {problem.name} has "
            f"{list(problem.input_shape)} (channels, height, width): give input_shape"
        )


def _of_classes(costs: Costs, classes: int) -> Costs:
    outputs = costs.layers[-1].output_shape if costs.layers else ()
    if outputs != (classes,):
        raise WrongOutput(
            f"the network's output is {list(outputs)} for an image, but the data have "
            f"{classes} classes"
        )
    return costs


def _shortly(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
