"""Seeding of every installed random number generator, for reproducible runs."""

import random
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def seed_everything(seed: int) -> None:
    """Seed random, and numpy and torch where they are installed."""
    random.seed(seed)
    for name, seed_it in (("numpy", _seed_numpy), ("torch", _seed_torch)):
        if find_spec(name) is not None:
            seed_it(import_module(name), seed)


def _seed_numpy(numpy: Any, seed: int) -> None:
    numpy.random.seed(seed % 2**32)


def _seed_torch(torch: Any, seed: int) -> None:
    torch.manual_seed(seed)  # CPU and GPUs
