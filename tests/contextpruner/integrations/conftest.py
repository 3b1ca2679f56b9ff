"""Nothing is reported to anybody: read by haystack when it is imported."""

import os

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
