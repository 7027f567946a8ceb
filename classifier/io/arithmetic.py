"""On which processors numbers come out the same: chosen before the libraries that ask are loaded.

NumPy, SciPy, OpenBLAS, PyTorch and MKL choose by the make and the generation of the processor how
they add up, and so how they round. They look for these variables once, when they are loaded.
"""

import os
import platform
from pathlib import Path

from classifier.io.yaml_text import from_yaml

ALWAYS = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Haswell",
}
"""What costs little: NumPy's loops and OpenBLAS's products, as a processor with AVX2 makes them."""

OF_NETWORKS = {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE"}
"""The same for PyTorch, whose large products take up to four times as long.

`MKL_CBWR=AVX2` is not enough: small products, exp and log then differ between Intel and AMD. Of
what training uses, the root of a float32 alone still does: the fused optimizers take it in another
way.
"""


def choose_arithmetic() -> None:
    """Set the variables of this process and of those that it starts, as params.yaml has it.

    That is `train.same_bytes`; what else is wrong with params.yaml is for others to say. On another
    kind of processor than x86-64 with AVX2, nothing is set.
    """
    if not has_avx2():
        return
    os.environ.update(ALWAYS | OF_NETWORKS)
    if _only_here():
        # Also where a process of another folder, such as that of `verify`, has started this one.
        for name in OF_NETWORKS:
            del os.environ[name]


def has_avx2() -> bool:
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return False
    try:
        return " avx2 " in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux: all such computers of the last ten years have it
        return True


def _only_here() -> bool:
    try:
        train = from_yaml(Path("params.yaml").read_text(encoding="utf-8"))["train"]
        return bool(train["same_bytes"] == "here")
    except (OSError, KeyError, TypeError, ValueError):
        return False
