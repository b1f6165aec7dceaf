"""OpenVINO's Python package, imported without what reports to its makers.

``import openvino`` tells a server of its makers that it was imported, and keeps a number for this user in the home folder, where
the package ``openvino_telemetry`` is found, which comes with every wheel. Without it OpenVINO takes a stand-in of its own that
does nothing. Knows nothing of bundles.
"""

import sys
from typing import Any

REPORTER = "openvino_telemetry"


def load() -> Any:
    """Import OpenVINO, its reporter held back unless this process has it already.

    Raises:
        ImportError: OpenVINO is not installed, or cannot be imported.
    """
    hidden: dict[str, Any] = sys.modules
    ours = REPORTER not in hidden
    if ours:
        hidden[REPORTER] = None  # as Python has it: an import of this name fails
    try:
        import openvino
    finally:
        if ours:
            del hidden[REPORTER]
    return openvino
