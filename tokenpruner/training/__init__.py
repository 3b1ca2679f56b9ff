"""Training of methods that learn: soft masks or routes in place of dropped tokens, and the losses that go with them.

    model.atp = ATPModules((4, 14, 24))
    with soften(model, ATP(), model.atp) as masks:
        loss = model(**batch).loss + ATPLoss()(masks.kept)
    model.atp.save("folder"); prune(model, ATP(weights="folder"))

FTP: a schedule is searched (`search_schedule`), a router trained for it, and the schedule searched again with it.

    router = FTPRouter(search_schedule(schedule_loss(model, batches), n_layers, keep_ratio=0.7))
    with soften(model, FTP(), router) as routes:
        loss = distillation(model(**batch).logits, whole_logits, mask) + FTPLoss()(routes.kept)
    router.save("folder"); prune(model, FTP(weights="folder"))
    loss = schedule_loss(model, batches, FTP(weights="folder"))
    router.schedule = search_schedule(loss, n_layers, keep_ratio=0.7, start=router.schedule)

Flows: the router learns from the whole model's own answers, and FLOPs get the price that meets a budget.

    found = agreements(model, batches, Flows(("full", "2:0.25", "2:0.11+20:skip")))
    train_router(found, FlowTraining(budget=0.6)).save("folder"); prune(model, Flows(weights="folder"))

Methods that do not learn need nothing of this: a model trains through `prune()` as it runs.
"""

from tokenpruner.methods.atp import ATPModules
from tokenpruner.methods.flows import FlowRouter
from tokenpruner.methods.ftp import FTPRouter
from tokenpruner.training.atp_losses import ATPLoss, Kept
from tokenpruner.training.flow_agreement import Agreement, agreements
from tokenpruner.training.flow_training import FlowTraining, train_router
from tokenpruner.training.ftp_losses import FTPLoss, Routed, distillation
from tokenpruner.training.schedule_search import schedule_loss, search_schedule
from tokenpruner.training.soften import soften

__all__ = [
    "ATPLoss",
    "ATPModules",
    "Agreement",
    "FTPLoss",
    "FTPRouter",
    "FlowRouter",
    "FlowTraining",
    "Kept",
    "Routed",
    "agreements",
    "distillation",
    "schedule_loss",
    "search_schedule",
    "soften",
    "train_router",
]
