from chatmemory.storage.breaker import Breaker


def test_a_failure_stops_the_trying_until_a_probe_has_succeeded() -> None:
    """Closed, open from a failure on, one probe each pause, closed again by its success."""
    breaker = Breaker(pause=1.0)
    assert str(breaker.state) == "closed"
    assert not breaker.probe_is_due(now=0.0)
    breaker.failed(now=10.0)
    assert str(breaker.state) == "open"
    assert not breaker.probe_is_due(now=10.9)
    assert breaker.probe_is_due(now=11.0)
    assert not breaker.probe_is_due(now=11.5), "somebody probes already"
    assert breaker.probe_is_due(now=12.0), "that one was never heard of again"
    breaker.failed(now=12.5)
    assert not breaker.probe_is_due(now=13.4)
    breaker.succeeded()
    assert str(breaker.state) == "closed"
