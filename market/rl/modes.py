"""The three training modes, and all that makes them differ.

To add one, give it a name in `TrainingMode` and a row in `MODES`.

In every mode the surrogates of PPO and APPO clip one probability ratio per agent, and SAC has one temperature per
agent: the ratio of a joint action leaves the band around one after a step or two when N is large (MAPPO: Yu et al.
2022, arXiv:2103.01955; for one actor with many numbers: Han and Sung 2019, arXiv:1905.02363).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TrainingMode(StrEnum):
    """Who learns from what: C(entralised)/D(ecentralised) T(raining), C/D E(xecution); see `MODES`."""

    CTCE = "ctce"
    CTDE = "ctde"
    DTDE = "dtde"


@dataclass(frozen=True)
class Mode:
    """What each agent sees, and which reward it learns from.

    joint_actor: one network maps all observations to all actions; otherwise each agent has its own actor, which reads
        its own observation and nothing else.
    central_critic: one value of the community, learned from all observations and used in training only, and each agent
        learns from the mean reward of the population; otherwise it has its own critic on its own observation, and
        learns from its own reward.
    """

    joint_actor: bool
    central_critic: bool


MODES: dict[TrainingMode, Mode] = {
    TrainingMode.CTCE: Mode(joint_actor=True, central_critic=True),
    TrainingMode.CTDE: Mode(joint_actor=False, central_critic=True),
    TrainingMode.DTDE: Mode(joint_actor=False, central_critic=False),
}
