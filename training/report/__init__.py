"""The report of a run as one HTML file: what ran, its curves and labels, what its network finds and how it sees.

``write`` is the door. Needs the extra ``evaluation``, which training brings.
"""

from training.report.write import write

__all__ = ["write"]
