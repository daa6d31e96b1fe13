from typing import Any

import pytest

from chatmemory import ChatMemory, Tenant
from chatmemory_training import SessionManagerService


@pytest.fixture
def tenant(memory: ChatMemory) -> Tenant:
    """A tenant of a database of the test's own."""
    return memory.tenant("acme")


@pytest.fixture
def service(tenant: Tenant) -> SessionManagerService:
    """The service on that tenant."""
    return SessionManagerService(tenant)


def given(answer: dict[str, Any] | None) -> dict[str, Any]:
    """An answer that must be there."""
    assert answer is not None
    return answer
