"""Training of methods that learn: soft masks in place of dropped tokens, and the losses that go with them.

    model.atp = ATPModules((4, 14, 24))
    with soften(model, ATP(), model.atp) as masks:
        loss = model(**batch).loss + ATPLoss()(masks.kept)
    model.atp.save("folder"); prune(model, ATP(weights="folder"))

Methods that do not learn need nothing of this: a model trains through `prune()` as it runs.
"""

from tokenpruner.methods.atp import ATPModules
from tokenpruner.training.atp_losses import ATPLoss, Kept
from tokenpruner.training.soft_masks import soften

__all__ = ["ATPLoss", "ATPModules", "Kept", "soften"]
