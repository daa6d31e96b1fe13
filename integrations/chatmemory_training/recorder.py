"""Recording a run of anything, as scikit-learn is used: with record_run(…) as run."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chatmemory import Tenant
from chatmemory_training.recording import Recording
from chatmemory_training.stopping import OnTerminate, how_it_ended
from chatmemory_training.values import plain


@contextmanager
def record_run(
    tenant: Tenant,
    name: str | None = None,
    *,
    model: Any = None,
    dataset: str | None = None,
    kind: str = "training",
    details: Mapping[str, Any] | None = None,
    user_id: object = None,
    share_result: bool = False,
    spool_dir: Path | str | None = None,
) -> Iterator[Recording]:
    """Record what happens inside as one run: its numbers, its results, and how it ended.

    Args:
        tenant: Where it is recorded.
        name: The run's; None: a new one.
        model: What is trained or tested: a scikit-learn estimator, whose parameters are kept, or anything's name.
        dataset: On what.
        kind: training or testing.
        details: What else is known of it.
        user_id: Whose run it is; None: who runs this process.
        share_result: Whether its result is remembered for the whole tenant, and not for its user alone.
        spool_dir: Below it waits what the database does not have yet; None: CHATMEMORY_LOG_DIR, or the user's state.

    Yields:
        The run: run.log({"loss": 0.1}), run.results(accuracy=0.9), run.update(artifacts="model.joblib").
    """
    run = Recording(tenant, name, kind=kind, user_id=user_id, share_result=share_result, spool_dir=spool_dir)
    run.begin({**describe(model), "dataset_name": dataset, **(details or {})})
    error: BaseException | None = None
    try:
        with OnTerminate():
            yield run
    except BaseException as raised:
        error = raised
        raise
    finally:
        status, why = how_it_ended(type(error) if error else None, error)
        if status == "failed" and error is not None:
            why = "".join(traceback.format_exception(error))
        run.end(status, why)


def describe(model: Any) -> dict[str, Any]:
    """What is known of a model: its name, and the parameters of an estimator."""
    if model is None:
        return {}
    if isinstance(model, (str, int)):
        return {"model_id": model}
    found: dict[str, Any] = {"model_id": type(model).__name__}
    parameters = getattr(model, "get_params", None)
    if callable(parameters):
        known = {name: plain(value) for name, value in parameters(deep=False).items() if value is not None}
        named = ("learning_rate", "learning_rate_init", "batch_size")
        found |= {
            name.removesuffix("_init"): known[name] for name in named if isinstance(known.get(name), (int, float))
        }
        found["params"] = known
    return found
