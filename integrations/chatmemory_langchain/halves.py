"""Which half of chatmemory an adapter was given, and what to say where the other one is needed."""

from chatmemory import AsyncTenant, ConfigurationError, Tenant


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
