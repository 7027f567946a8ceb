"""How far a number measured on few rows can be trusted."""

import math
from statistics import NormalDist


def wilson_interval(successes: int, n: int, confidence: float) -> tuple[float, float]:
    """Return the Wilson score interval for a proportion of `successes` out of `n`.

    Wilson, E. B. (1927), "Probable inference, the law of succession, and statistical
    inference", Journal of the American Statistical Association 22, 209-212.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    proportion = successes / n
    center = proportion + z**2 / (2 * n)
    half_width = z * math.sqrt(proportion * (1 - proportion) / n + z**2 / (4 * n**2))
    low = (center - half_width) / (1 + z**2 / n)
    high = (center + half_width) / (1 + z**2 / n)
    return max(0.0, low), min(1.0, high)
