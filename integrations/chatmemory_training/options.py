"""Reading what may stand in a training script's config, whatever it is made of."""

from collections.abc import Mapping
from typing import Any


def option(config: Any, path: str) -> Any:
    """What stands under a dotted path of attributes or keys; None: nothing, on the way or at its end."""
    for name in path.split("."):
        config = config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
        if config is None:
            return None
    return config


def is_on(config: Any, *paths: str) -> bool:
    """Whether one of these is set."""
    return any(option(config, path) is True or option(config, path) == 1 for path in paths)
