"""Whether this processor sums products of bytes in 32 bits, or pairwise in 16, where they may overflow. Knows no graph.

ONNX Runtime can round its way around the overflow, which takes three times as long, and does so wherever it is asked to: also
where nothing overflows. So it is asked only where the processor does not say that it need not be.
"""

from functools import lru_cache
from pathlib import Path

CPU_WORDS = Path("/proc/cpuinfo")
# each multiplies bytes and adds to 32 bits in one step
WHOLE = {"avx_vnni", "avx512_vnni", "amx_int8"}
SETTING = "session.x64quantprecision"


@lru_cache(maxsize=1)
def settings() -> dict[str, str]:
    """Return what a session is to be told so that its sums of bytes are right here."""
    return {} if whole(CPU_WORDS) else {SETTING: "1"}


def whole(words: Path) -> bool:
    """Whether sums of bytes are whole; where nobody can tell, they are taken not to be.

    Args:
        words: what the system says of its processors.
    """
    try:
        lines = words.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    said = [
        set(line.partition(":")[2].split()) for line in lines if line.partition(":")[0].strip() == "flags"
    ]
    return bool(said) and all(one & WHOLE for one in said)
