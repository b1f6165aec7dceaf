"""The shared vocabulary of vireid; importing it costs nothing, and keeps ONNX Runtime from reporting to its makers.

From 1.29 on its wheels write down a number for this machine and send what was run and how fast, unless they are told not to
before they are imported. Who sets the variable decides: ``ORT_DISABLE_TELEMETRY=0`` lets it.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251 - written, not read: no setting of ours
