"""Checks of the sync or async object that an adapter received, and reading a context from either."""

from typing import Any

from chatmemory import AsyncSession, AsyncTenant, ConfigurationError, Context, ContextTooSmallError, Session, Tenant


def check_tenant(tenant: object, adapter: str) -> None:
    """Check that an adapter received a Tenant or an AsyncTenant.

    Raises:
        ConfigurationError: It received something else.
    """
    if not isinstance(tenant, (Tenant, AsyncTenant)):
        raise ConfigurationError(
            f"{adapter} needs a Tenant or an AsyncTenant, as returned by memory.tenant(id), "
            f"not a {type(tenant).__name__}."
        )


def sync_tenant(tenant: Tenant | AsyncTenant, adapter: str) -> Tenant:
    """Return the tenant if its methods are sync.

    Raises:
        ConfigurationError: It is an AsyncTenant.
    """
    if isinstance(tenant, Tenant):
        return tenant
    raise ConfigurationError(
        f"{adapter} has the tenant of an AsyncChatMemory: use its async methods, or pass the tenant of a ChatMemory."
    )


def read_context(session: Session, max_tokens: int | None, **options: Any) -> Context:
    """Read the context of a turn that is stored only when it is over.

    If the newest message exceeds the budget even after truncation, as a call with long arguments may, it is omitted:
    otherwise no turn could follow it.

    Raises:
        ContextTooSmallError: The session's first system message exceeds the budget.
    """
    try:
        return session.context(max_tokens, **options)
    except ContextTooSmallError:
        return session.context(max_tokens, **{**options, "on_oversize": "omit"})


async def aread_context(session: AsyncSession, max_tokens: int | None, **options: Any) -> Context:
    """Read the same context from an AsyncSession."""
    try:
        return await session.context(max_tokens, **options)
    except ContextTooSmallError:
        return await session.context(max_tokens, **{**options, "on_oversize": "omit"})
