"""A simulated host for tests of the gate: what a sample would have cost, without processes, and with seeded noise."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.arms import Arm
from bench.calibrate_replay import as_record
from bench.plan import Sample

Noise = Callable[[int], float]  # of the sample's place in the run, in the logarithm


class Host:
    """Measures by a formula: a cost for each side, times the noise of the moment."""

    def __init__(self, cost: Callable[[Sample, Arm], float], noise: Noise, seed: int = 1):
        self.cost, self.noise, self.taken = cost, noise, 0
        self.chance = np.random.default_rng(seed)

    def __call__(self, sample: Sample, arm: Arm) -> dict:
        self.taken += 1
        cpu = self.cost(sample, arm) * math.exp(self.noise(self.taken))
        return as_record(sample, cpu, 15.0 * math.exp(0.05 * self.chance.standard_normal()))


def costs(a: float, b: float, control: float = 3.0) -> Callable[[Sample, Arm], float]:
    return lambda sample, _arm: {"A": a, "B": b, "control": control}[sample.arm]


def independent(seed: int, spread: float = 0.13) -> Noise:
    """As this project's first host was: processes differ by 13 %, whatever came before."""
    chance = np.random.default_rng(seed)
    return lambda _place: spread * float(chance.standard_normal())


def rough(seed: int) -> Noise:
    """Heavy tails (Student's t, 3 degrees of freedom), memory (0.7 from sample to sample), a drift of 0.1 % each."""
    chance, state = np.random.default_rng(seed), [0.0]

    def noise(place: int) -> float:
        state[0] = 0.7 * state[0] + 0.06 * float(chance.standard_t(3))
        return state[0] + 0.001 * place

    return noise


def cost_in(path: Path) -> float:
    """What a tiny repository's server says it costs."""
    return float(path.read_text().split("cost=")[1].split()[0])
