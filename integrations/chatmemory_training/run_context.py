"""record_run(): a context manager that records one run."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

from chatmemory import Tenant
from chatmemory_training.json_values import to_json_value
from chatmemory_training.run_recording import Recording
from chatmemory_training.run_reporter import LOST_AFTER
from chatmemory_training.signals import SigtermHandler, end_status

_around: ContextVar[tuple[str, Recording] | None] = ContextVar("recording", default=None)


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
    resume: bool | str = False,
    ranks: Literal["first", "all"] = "first",
    lost_after: int = LOST_AFTER,
) -> Iterator[Recording]:
    """Record the body of the with statement as one run: metrics, results and end status.

    Args:
        tenant: The tenant that records the run.
        name: The run's name; None: a generated one.
        model: A scikit-learn estimator, whose parameters are recorded, or the model's name.
        dataset: The dataset's name.
        kind: training or testing.
        details: Further details of the run.
        user_id: The run's user; None: the user that runs this process.
        share_result: Whether the result is remembered for the whole tenant instead of for the user alone.
        spool_dir: Directory for entries that the database does not have yet; None: CHATMEMORY_LOG_DIR, or the user's
            state directory.
        resume: Whether to go on with the newest run of this name, or the id of the run to go on with.
        ranks: Of the processes of a distributed training, the "first" records; "all": the others add to its run.
        lost_after: Seconds after which the run counts as lost if its process gives no sign of life.

    Yields:
        The recording: run.log({"loss": 0.1}), run.results(accuracy=0.9), run.update(artifacts="model.joblib").
    """
    run = Recording(
        tenant, name, kind=kind, user_id=user_id, share_result=share_result, spool_dir=spool_dir,
        resume=resume, ranks=ranks, lost_after=lost_after,
    )  # fmt: skip
    run.begin({**describe_model(model), "dataset_name": dataset, **(details or {})})
    before = _around.set((tenant.id, run))
    error: BaseException | None = None
    try:
        with SigtermHandler():
            yield run
    except BaseException as raised:
        error = raised
        raise
    finally:
        _around.reset(before)
        end_with(run, error)


def recording_around(tenant: Tenant) -> Recording | None:
    """Return the recording of the innermost record_run() around the caller, if it is of this tenant."""
    around = _around.get()
    return around[1] if around is not None and around[0] == tenant.id else None


def end_with(run: Recording, error: BaseException | None) -> None:
    """End a run as the exception that left it says."""
    status, reason = end_status(type(error) if error else None, error)
    if status == "failed" and error is not None:
        reason = "".join(traceback.format_exception(error))
    run.end(status, reason)


def describe_model(model: Any) -> dict[str, Any]:
    """Return a model's name, and an estimator's parameters, as details."""
    if model is None:
        return {}
    if isinstance(model, (str, int)):
        return {"model_id": model}
    details: dict[str, Any] = {"model_id": type(model).__name__}
    parameters = getattr(model, "get_params", None)
    if callable(parameters):
        values = {name: to_json_value(value) for name, value in parameters(deep=False).items() if value is not None}
        declared = ("learning_rate", "learning_rate_init", "batch_size")
        details |= {
            name.removesuffix("_init"): values[name] for name in declared if isinstance(values.get(name), (int, float))
        }
        details["params"] = values
    return details
