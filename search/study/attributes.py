"""The user attributes of trials and studies: names, types, who writes and who reads each.

Anyone who opens a study can edit the attributes of its running trials and of the study, in the
dashboard for instance. So each is read through this table alone: what is unusable reads as if it
were not there, and costs at most its own trial. Nothing else in the program names one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from search.common.values import (
    flag,
    integer,
    items,
    mapping,
    natural,
    number,
    positive,
    seconds,
    share,
    string,
    text,
    texts,
)

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

T = TypeVar("T")


@dataclass(frozen=True)
class Attribute(Generic[T]):
    """One user attribute: its name, and what makes a usable value of it or None."""

    name: str
    kind: Callable[[object], T]

    def of(self, owner: FrozenTrial | Trial | Study) -> T:
        """Its value in a trial or a study."""
        return self.kind(owner.user_attrs.get(self.name))

    def set(self, owner: Trial | Study, value: Any) -> None:
        """Write it."""
        owner.set_user_attr(self.name, value)


# Of a trial, written when a candidate is counted (study.recording, finals.retraining); read by
# every view and report.
ARCHITECTURE = Attribute("architecture", text)  # one line for people
PARAMETERS = Attribute("parameters", positive)  # trainable
MACS = Attribute("macs", positive)  # multiply-accumulates of one image
PEAK_BYTES = Attribute("peak_activation_bytes", positive)  # float32, one image
FLASH_BYTES = Attribute("flash_bytes", positive)  # constants of an int8 network
CANDIDATE = Attribute("candidate", string)  # JSON, by which the space gives it again
LAYERS = Attribute("layers", items)  # rows of its layer table, where the JSON does not tell
RECIPE = Attribute("recipe", mapping)  # likewise
MODULES = Attribute("modules", mapping)  # likewise: kinds, and rates of dropout
OVER_BUDGET = Attribute("over_budget", flag)
# Of a trial, written when its training begins (objective, finals.retraining); read by reproduce,
# export and reports.
SEED = Attribute("seed", natural)
SEED_OF = Attribute("seed_of", natural)  # the first trial of the same candidate, if not itself
DEVICE = Attribute("device", text)  # with its kind and arithmetic
COMMIT = Attribute("commit", text)
VERSIONS = Attribute("versions", mapping)  # of Python and libraries, by name
TRAINED_ON = Attribute("trained_on", mapping)  # fingerprint, train_images, epochs
ADJUSTED = Attribute("adjusted", texts)  # what is trained otherwise than the recipe asks, in words
RESUMED = Attribute("resumed_after_epoch", natural)  # the last one that an earlier worker finished
# Of a trial, written when it ends (study.recording, study.shared, finals.retraining); read by
# every view and report.
REASON = Attribute("reason", text)  # why it was pruned or failed
TRACEBACK = Attribute("traceback", string)
SECONDS = Attribute("seconds", seconds)  # of its training
EPOCHS = Attribute("epochs", positive)  # that it was trained for
BEST_EPOCH = Attribute("best_epoch", positive)  # by validation accuracy; its value is the last's
BEST_ACCURACY = Attribute("best_accuracy", share)
VALIDATION_LOSS = Attribute("validation_loss", number)  # after the last epoch, in nats
BALANCED_ACCURACY = Attribute("balanced_accuracy", share)  # validation, after the last epoch
# Of a trial of the shortlist or the finalists, written by finals.retraining when it ends; read by
# reporting.finalists and reporting.shortlist.
TRAINING_LOSS = Attribute("training_loss", number)  # of the last epoch
TEST_ACCURACY = Attribute("test_accuracy", number)
TEST_CORRECT = Attribute("test_correct", integer)  # images
TEST_LOSS = Attribute("test_loss", number)
TEST_BALANCED_ACCURACY = Attribute("test_balanced_accuracy", share)
# Written when it is queued (study.differences, finals.studies, finals.user_candidates); read by
# who works the queue off, and by reports.
LABEL = Attribute("label", string)
USER_CANDIDATE = Attribute("handed_in", string)  # the candidate as JSON, in place of parameters
FINALIST = Attribute("finalist", mapping)  # which training of the shortlist or finalists it is
KIND = Attribute("kind", text)  # shortlist, finalist or reference
RANK = Attribute("rank", positive)  # on the search's leaderboard
SEARCH_TRIAL = Attribute("search_trial", natural)  # the number of the trial that is retrained
# Written and read by who hands trials out (study.shared).
PARENT = Attribute("parent", string)  # the process that asked for it, and tells how it ended
WORKER = Attribute("worker", string)  # the process that trains it
DEATHS = Attribute("worker_deaths", mapping)  # count, and the epoch after which they were
RETRIED = Attribute("retried", flag)  # of older studies: a copy of it was trained again
# Written where a study goes on with another space, or with what others know (study.transfer); read
# by reports and by what takes these studies up again.
LEFT_OUT = Attribute("left_out", flag)  # its space has it no more
REPLACED = Attribute("replaced", string)  # of a study that is kept: whether another one is whole
DRAWN = Attribute("drawn", mapping)  # parameters of another study's trial
KNOWS = Attribute("knows", texts)  # of a study: the other studies that it learns from
ORIGIN = Attribute("from", mapping)  # storage, study and trial of another study
# Of a study: written by study.differences and finals.studies; read by every command.
SETTINGS = Attribute("settings", mapping)
CHANGES = Attribute("continued_with_other_settings", items)  # a list of lines for each time
IDENTITY = Attribute("id", text)  # by which it is known again wherever it is moved or copied
MICRO = Attribute("micro", mapping)  # what export --micro measured, by the trial's number
CHOSEN = Attribute("chosen", texts)  # of the finalists' study: candidates, as validation has them
OPENINGS = Attribute("test set openings", items)  # of the finalists' study: when, and how often
