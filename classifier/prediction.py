"""What a network says of prepared rows."""

import numpy as np
import numpy.typing as npt
import torch

from classifier.model import MLP


@torch.no_grad()
def predict_probabilities(
    network: MLP, features: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Return class probabilities, shape (n, n_classes), of features, shape (n, n_features)."""
    # The number of threads decides how sums are rounded.
    torch.set_num_threads(1)
    network.eval()
    parts = network.parts(torch.from_numpy(features))
    logits = torch.cat([network(part) for part in parts]).double()
    probabilities: npt.NDArray[np.float64] = torch.softmax(logits, dim=1).numpy()
    return probabilities
