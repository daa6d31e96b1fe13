"""The checks of an examination, decided from the answers of Postgres, Redis and the tokenizer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from chatmemory.admin.records import Check
from chatmemory.messages.token_counts import ESTIMATE, Counter
from chatmemory.settings import Settings
from chatmemory.storage.schema.pins import NEEDED, USUAL

# The parts of a database's access rules, each with the text for a part that is in order.
SOUND = {
    "roles": "both exist, belong to this database alone, and cannot bypass row-level security",
    "row-level security": "forced on every table, with its policies",
    "grants": "as this library needs them",
    "functions": "all there, and run as the two roles",
}
ISOLATION = "tenant isolation"
SETTINGS = "settings"
# The checks that are skipped if a check fails.
DEPENDENTS = {"database": (SETTINGS, "schema", *SOUND, ISOLATION), "schema": (*SOUND, ISOLATION)}
DEPENDENTS |= dict.fromkeys(SOUND, (ISOLATION,))


class Yes(BaseModel):
    """The answer of a language model that is asked whether it is there."""

    answer: str


def with_unchecked(checks: Sequence[Check]) -> tuple[Check, ...]:
    """Add to each failed check the checks that depend on it and were not made."""
    made = {check.name for check in checks}
    return tuple(
        check
        if check.ok
        else replace(check, unchecked=tuple(name for name in DEPENDENTS.get(check.name, ()) if name not in made))
        for check in checks
    )


def settings_check(found: Mapping[str, str | None]) -> Check:
    """Check the server's defaults. Those that every transaction sets for itself are only reported.

    Args:
        found: The value of each setting in a new transaction; None: this version of Postgres has no such setting.
    """
    harmful = [
        f"{name} is {found[name]}: {effect}"
        for name, (value, effect) in NEEDED.items()
        if found.get(name) not in (None, value)
    ]
    replaced = [
        f"{name} is {found[name]}" for name, usual in USUAL.items() if (found.get(name) or "") not in {"", *usual}
    ]
    told = [*harmful, f"replaced in every transaction: {', '.join(replaced)}"] if replaced else harmful
    return Check(name=SETTINGS, ok=not harmful, detail="; ".join(told) or "as this library needs them")


def schema_check(missing: Sequence[str], version: int) -> Check:
    """Check that all numbered files of the schema were applied."""
    lacks = f"lacks {', '.join(missing)}; run `chatmemory migrate`"
    return Check(
        name="schema", ok=not missing, detail=lacks if missing else f"version {version}, the one this library needs"
    )


def access_check(part: str, problems: str) -> Check:
    """Check that one part of the access rules is as the library declares it."""
    return Check(
        name=part, ok=not problems, detail=f"{problems}; run `chatmemory migrate`" if problems else SOUND[part]
    )


def isolation_check(own: int, foreign: int, nobody: int) -> Check:
    """Check that a tenant sees its own two rows, and another tenant or none sees no row."""
    seen = f"a tenant sees {own} of its 2 rows, another tenant {foreign} of them, a transaction without tenant {nobody}"
    return Check(name=ISOLATION, ok=own == 2 and foreign == 0 and nobody == 0, detail=seen)


def variables_check(misspelt: Sequence[str]) -> Check:
    """Check that every variable that looks like a setting is one."""
    return Check(name="environment", ok=not misspelt, detail=" ".join(misspelt))


def vectors_check(has_vectors: bool) -> Check:
    """Check that vectors of an embedder can be stored."""
    advice = "cannot be stored: install pgvector 0.7 or newer and run `chatmemory migrate`"
    return Check(name="vectors", ok=has_vectors, detail="pgvector stores them" if has_vectors else advice)


def redis_check(address: str, works: bool, failure: str | None, missing: Sequence[str]) -> Check:
    """Check that Redis runs scripts that write, and lets its user do all that is needed.

    Args:
        address: The address of Redis.
        works: Whether a script that writes was run.
        failure: The reason if not.
        missing: The rights that the user lacks, as ACL rules.
    """
    if missing:
        detail = f"{address} refuses its user what this library needs: give it {' '.join(missing)} by ACL SETUSER"
    elif not works:
        detail = f"{address} does not work: {failure}; check CHATMEMORY_REDIS_URL"
    else:
        detail = "answers, runs scripts and accepts writes"
    return Check(name="redis", ok=works and not missing, detail=detail)


def token_fallbacks(counter: Counter, settings: Settings) -> Iterable[str]:
    """Yield the reasons why tokens are not counted as the model counts them."""
    if counter is ESTIMATE:
        yield "The vocabulary of the model's encoding cannot be loaded: tokens are estimated."
    elif not counter.exact:
        yield f"tiktoken does not know the model {settings.model!r}: it counts as {counter.name}."


def parked_fallbacks(parked: int) -> Iterable[str]:
    """Yield a notice if sessions are parked."""
    if parked:
        noun = "1 session" if parked == 1 else f"{parked:,} sessions"
        yield f"{noun} parked: learning failed too often; `chatmemory worker --retry-parked` tries again."


def spent_today(total: int, tenant_id: str, settings: Settings) -> dict[str, Any]:
    """Return a tenant's spend of today and its cap."""
    cap = settings.llm_hard_cap_tokens
    of_cap = f" of {cap:,}" if cap is not None else ""
    return {"spent today": f"{total:,}{of_cap} tokens by tenant {tenant_id!r}"}


def without_vectors(count: int, tenant_id: str) -> dict[str, Any]:
    """Return how many of a tenant's memories have no vector of the embedding model, and what gives them one."""
    advice = f"; `chatmemory reembed --tenant {tenant_id}` makes them" if count else ""
    return {"memories without vectors": f"{count:,} of tenant {tenant_id!r}{advice}"}
