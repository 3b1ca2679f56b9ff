"""`contextpruner serve`: a pruner behind HTTP, with the rerank dialects of TEI, Cohere and Jina.

A request goes through `gate` (limits, keys, log), `app` and `dialects` (forms of question and answer), `service`
(checks, shadow mode) and `batching`, where the requests of a moment are labelled together.
"""

from prunekernels.extras import require

# said once here, so that the files of this folder import what they need as usual
for _module in ("fastapi", "uvicorn", "prometheus_client"):
    require(_module, "serve")
