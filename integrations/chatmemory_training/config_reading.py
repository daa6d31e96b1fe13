"""Reading of a training script's config, which may be mappings, objects or a mix of them."""

from collections.abc import Mapping
from typing import Any


def config_value(config: Any, path: str) -> Any:
    """Return the value at a dotted path of attributes or keys; None if any part of the path is missing."""
    for name in path.split("."):
        config = config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)
        if config is None:
            return None
    return config


def is_enabled(config: Any, *paths: str) -> bool:
    """Return whether one of these paths is True or 1."""
    return any(config_value(config, path) is True or config_value(config, path) == 1 for path in paths)
