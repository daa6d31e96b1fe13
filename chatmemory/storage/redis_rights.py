"""The rights that a user of Redis needs, and how each is tried."""

import re

from chatmemory.storage.redis_keys import PROBE, digest, script

KEYS = "~cm:*"
# Every command that is sent or that a script runs, with arguments that do no harm.
COMMANDS: dict[str, tuple[str | int, ...]] = {
    "eval": (script("probe"), 1, PROBE, ""),
    "evalsha": (digest("probe"), 1, PROBE, ""),
    "info": ("server",),
    "time": (),
    "hset": (PROBE, "field", ""),
    "hsetnx": (PROBE, "field", ""),
    "hget": (PROBE, "field"),
    "hmget": (PROBE, "field"),
    "hstrlen": (PROBE, "field"),
    "hdel": (PROBE, "field"),
    "pexpire": (PROBE, 1000),
    "pttl": (PROBE,),
    "del": (PROBE,),
}


def missing_right(refusal: str) -> str:
    """Return the right that a refusal of Redis speaks of, as an ACL rule: a command, or our keys."""
    command = re.search(r"to run the '([\w|]+)'", refusal)
    return f"+{command[1]}" if command else KEYS
