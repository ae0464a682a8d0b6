"""One score of many: of the views of a window, of the windows of a video."""

import numpy as np

_LEAST = 1e-12  # of a probability whose logarithm is taken


def average(scores: np.ndarray, quantity: str, several: bool = False) -> np.ndarray:
    """Averages "probabilities" or "log_probabilities", `(n, classes)`, to float64 `(classes,)`.

    Of logarithms: the geometric mean, scaled so that it sums to 1. It has the order of the mean
    logarithms. Where a video may have `several` labels, each class and its absence sum to 1.
    """
    exact = scores.astype(np.float64)
    if quantity == "probabilities":
        return exact.mean(axis=0)
    if several:
        exact = exact.clip(_LEAST, 1 - _LEAST)
        return 1 / (1 + np.exp(np.log((1 - exact) / exact).mean(axis=0)))
    logs = np.log(np.maximum(exact, _LEAST)).mean(axis=0)
    means = np.exp(logs - logs.max())
    return means / means.sum()
