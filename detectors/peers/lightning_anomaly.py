"""Lightning's Trainer(detect_anomaly=True) around the run, with manual optimisation.

training_step is one `advance` of the subject's run. The alarm is the RuntimeError of anomaly mode. Its
grad_norm only gives numbers to log and says nothing of them.
"""

import math

import torch
from torch import Generator
from torch.utils.data import DataLoader, TensorDataset

from bugzoo import Verdict, detector
from bugzoo.model import Peer
from bugzoo.subject import Subject
from detectors._training import STEPS
from detectors.peers._driving import shown, together, untouched

PEER = Peer(
    "lightning",
    "2.6.6",
    "The Trainer of Lightning, with its detect_anomaly.",
    packages=(
        "lightning==2.6.6",
        "lightning-utilities==0.15.3",
        "pytorch-lightning==2.6.6",
        "torchmetrics==1.9.0",
        "pyyaml==6.0.3",
        "tqdm==4.67.3",
    ),
    imports=("lightning.pytorch",),
)


@detector(
    needs="training",
    claims="trajectory",
    cost=f"{STEPS} steps with a NaN check after every node, and a Trainer",
    blind_to="every gradient that is finite; memory; side effects",
    thresholds={"NaN": "exact"},
    peer=PEER,
)
def lightning_anomaly(subject: Subject, gen: Generator) -> Verdict:
    import logging

    import lightning.pytorch as tool

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    run = subject.start(gen)

    class Module(tool.LightningModule):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = False
            self.body = together(run)

        def configure_optimizers(self):
            return list(run.optimizers)

        def training_step(self, batch, index):
            run.advance()

    with untouched(gen):
        trainer = tool.Trainer(
            accelerator="cpu",
            detect_anomaly=True,
            max_epochs=1,
            limit_train_batches=STEPS,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        try:
            trainer.fit(Module(), DataLoader(TensorDataset(torch.zeros(STEPS))))
        except RuntimeError as error:
            if "returned nan values" not in str(error):
                raise
            return Verdict("alarm", math.inf, f"1 NaN or more, expected 0: {shown(str(error))}")
    return Verdict("clear", 0.0, f"0 NaN in {STEPS} steps")
