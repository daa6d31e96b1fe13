"""Which half of chatmemory an adapter was given, and what to say where the other one is needed."""

from typing import Any

from chatmemory import AsyncSession, AsyncTenant, ConfigurationError, Context, ContextTooSmallError, Session, Tenant


def check_tenant(tenant: object, what: str) -> None:
    """Refuse what is no tenant.

    Raises:
        ConfigurationError: It is neither a Tenant nor an AsyncTenant.
    """
    if not isinstance(tenant, (Tenant, AsyncTenant)):
        raise ConfigurationError(
            f"{what} needs a Tenant or an AsyncTenant, as memory.tenant(id) gives it, not a {type(tenant).__name__}."
        )


def sync_tenant(tenant: Tenant | AsyncTenant, what: str) -> Tenant:
    """The tenant, where it can be used without waiting.

    Raises:
        ConfigurationError: It is an AsyncTenant.
    """
    if isinstance(tenant, Tenant):
        return tenant
    raise ConfigurationError(
        f"{what} was given the tenant of an AsyncChatMemory: use its async methods, or give it that of a ChatMemory."
    )


def past_of(session: Session, max_tokens: int | None, **how: Any) -> Context:
    """What was said before, for a turn that is only stored when it is over.

    A newest message that is too large even when it is cut, such as a call with long arguments, is left out: else no
    turn could ever follow it.

    Raises:
        ContextTooSmallError: The system message that the session begins with exceeds the budget.
    """
    try:
        return session.context(max_tokens, **how)
    except ContextTooSmallError:
        return session.context(max_tokens, **{**how, "on_oversize": "omit"})


async def apast_of(session: AsyncSession, max_tokens: int | None, **how: Any) -> Context:
    """The same with an AsyncSession."""
    try:
        return await session.context(max_tokens, **how)
    except ContextTooSmallError:
        return await session.context(max_tokens, **{**how, "on_oversize": "omit"})
