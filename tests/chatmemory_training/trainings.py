"""Real trainings of a line, run by tests: LIBRARY, URL, FOLDER, and what to do."""

import os
import sys
import time
from pathlib import Path
from typing import Any

from chatmemory import ChatMemory, Settings, Tenant


def pace(what: str) -> None:
    """Say that a step is done; then wait, raise or go on, as the test wants."""
    print("step", flush=True)
    if what == "endless":
        time.sleep(0.05)
    if what == "raise":
        raise ValueError("broken")


def huggingface(tenant: Tenant, folder: Path, what: str) -> None:
    """Train with Hugging Face's Trainer."""
    import torch
    from transformers import PretrainedConfig, Trainer, TrainingArguments

    from chatmemory_training.huggingface import ChatMemoryCallback

    class Model(torch.nn.Module):  # type: ignore[misc]  # torch may be missing
        def __init__(self) -> None:
            super().__init__()
            self.line = torch.nn.Linear(1, 1)
            self.config = PretrainedConfig(hidden_size=1)

        def forward(self, x: Any = None, labels: Any = None) -> dict[str, Any]:
            if self.training:
                pace(what)
            out = self.line(x)
            return {"loss": ((out - labels) ** 2).mean(), "logits": out}

    data: Any = [{"x": torch.tensor([i / 8]), "labels": torch.tensor([2 * i / 8])} for i in range(16)]
    args = TrainingArguments(
        output_dir=str(folder / "out"), num_train_epochs=10_000 if what == "endless" else 3, learning_rate=0.01,
        logging_steps=1, per_device_train_batch_size=8, save_steps=2, report_to=[], use_cpu=True, disable_tqdm=True,
        warmup_steps=1,
    )  # fmt: skip
    callback = ChatMemoryCallback(tenant, "line", dataset="lines", user_id="ann")
    trainer: Any = Trainer(model=Model(), args=args, train_dataset=data, eval_dataset=data, callbacks=[callback])
    trainer.train(resume_from_checkpoint=str(folder / "out/checkpoint-4") if what == "resume" else None)
    if what == "test":
        print("metrics", trainer.evaluate()["eval_loss"])


def lightning(tenant: Tenant, folder: Path, what: str) -> None:
    """Train with Lightning."""
    import torch
    from lightning.pytorch import LightningModule, Trainer

    from chatmemory_training.lightning import ChatMemoryLogger

    class Line(LightningModule):  # type: ignore[misc]  # likewise
        def __init__(self, lr: float) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.line = torch.nn.Linear(1, 1)

        def training_step(self, batch: Any, index: int) -> Any:
            pace(what)
            loss = ((self.line(batch) - 2 * batch) ** 2).mean()
            self.log("loss", loss)
            return loss

        def test_step(self, batch: Any, index: int) -> None:
            """Lightning calls it for each batch of a test."""
            self.log("test_loss", ((self.line(batch) - 2 * batch) ** 2).mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    data: Any = torch.utils.data.DataLoader(torch.arange(16.0).reshape(16, 1) / 8, batch_size=8)
    logger = ChatMemoryLogger(tenant, "line", dataset="lines", user_id="ann", save_dir=folder / "logs")
    quiet: Any = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    epochs = 10_000 if what == "endless" else 3
    trainer = Trainer(max_epochs=epochs, logger=logger, log_every_n_steps=1, **quiet)
    checkpoint = next(iter((folder / "logs").rglob("*.ckpt")), None) if what == "resume" else None
    trainer.fit(Line(0.01), data, ckpt_path=checkpoint, **({"weights_only": False} if checkpoint else {}))
    if what == "test":
        trainer.test(dataloaders=data, verbose=False)


def keras(tenant: Tenant, folder: Path, what: str) -> None:
    """Train with Keras."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import numpy as np

    from chatmemory_training import record_run
    from chatmemory_training.keras import ChatMemoryCallback

    x = np.arange(16.0).reshape(16, 1) / 8
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)], name="line")
    model.compile(keras.optimizers.SGD(0.01), loss="mse")
    epochs = 10_000 if what == "endless" else 3
    pacing = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: pace(what))
    recorder = ChatMemoryCallback(tenant, dataset="lines", user_id="ann")
    first = 2 if what == "resume" else 0

    def fit() -> None:
        model.fit(
            x, 2 * x, epochs=epochs, batch_size=8, verbose=0, callbacks=[recorder, pacing], initial_epoch=first
        )  # fmt: skip

    if what == "test":
        with record_run(tenant, "line", user_id="ann") as run:
            fit()
            run.results(test_loss=model.evaluate(x, 2 * x, verbose=0))
    else:
        fit()


def ddp(tenant: Tenant, folder: Path, what: str) -> None:
    """Train in two processes, as torchrun starts them."""
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    from chatmemory_training import record_run

    dist.init_process_group("gloo")
    rank = dist.get_rank()
    if what == "restart" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
        (folder / f"first-{rank}").touch()
    model = DistributedDataParallel(torch.nn.Linear(1, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with record_run(tenant, "line", user_id="ann", ranks="first" if what == "first" else "all") as run:
        for step in range(3):
            loss = (model(torch.tensor([[rank + 1.0]])) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            run.log({"loss": loss}, step)
        run.results(samples=3)
        dist.barrier()
        if what == "restart" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            raise ValueError("broken")
    dist.destroy_process_group()


if __name__ == "__main__":
    library, url, folder, what = sys.argv[1:]
    with ChatMemory.open(url, settings=Settings(cleanup_inactive_sessions=False)) as memory:
        globals()[library](memory.tenant("acme"), Path(folder), what)
