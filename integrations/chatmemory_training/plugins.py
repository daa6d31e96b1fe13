"""Plugins of a training session: objects with any of the hooks."""

import logging
from collections.abc import Iterable
from typing import Any

from chatmemory import InvalidInputError

LOG = logging.getLogger("chatmemory_training")
HOOKS = ("on_session_start", "on_metrics", "on_session_end")


class PluginManager:
    """Calls the hooks of plugins, in the order of the plugins; one that fails is logged, and training continues.

    A plugin has any of on_session_start(session), on_metrics(session, values, step) and on_session_end(session).

    Args:
        plugins: The plugins.

    Raises:
        InvalidInputError: A plugin has none of the hooks.
    """

    def __init__(self, plugins: Iterable[Any] | None = None) -> None:
        self.plugins: list[Any] = []
        for plugin in plugins or ():
            self.register(plugin)

    def register(self, plugin: Any) -> None:
        """Add a plugin.

        Raises:
            InvalidInputError: It has none of the hooks.
        """
        if not any(callable(getattr(plugin, hook, None)) for hook in HOOKS):
            raise InvalidInputError(f"A plugin needs one of {', '.join(HOOKS)}; {type(plugin).__name__} has none.")
        self.plugins.append(plugin)

    def call(self, hook: str, *arguments: object) -> None:
        """Call a hook of all plugins that have it."""
        for plugin in self.plugins:
            method = getattr(plugin, hook, None)
            if callable(method):
                try:
                    method(*arguments)
                except Exception as error:  # noqa: BLE001  # a plugin's failure must not stop training
                    name = type(plugin).__name__
                    LOG.warning("%s of the plugin %s failed (%s)", hook, name, type(error).__name__)
