"""LSTM-AE: a recurrent autoencoder that rebuilds a window from its last row back to its first."""

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from lmmoe import kinds, training
from lmmoe.detectors import register
from lmmoe.detectors.base import Floats
from lmmoe.detectors.neural import Neural
from lmmoe.networks.dense import dense, draw


class EncoderDecoder(nn.Module):
    """Two LSTMs and a linear layer. Axes: b batch, c channels, w window, d hidden units.

    The encoder reads the window; the decoder starts from its last state and gives the rows in
    reverse order. Section 2.1 of the paper: row w comes straight from the encoder's state, row i
    from the decoder's after it has read row i + 1.
    """

    def __init__(
        self, channels: int, hidden: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.encoder = _lstm(channels, hidden, generator)
        self.decoder = _lstm(channels, hidden, generator)
        self.out = dense(hidden, channels, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Rebuild windows ``(b, c, w)`` as in training: the decoder reads the true rows."""
        rows = x.permute(2, 0, 1)  # (w, b, c)
        _, state = self.encoder(rows)
        earlier, _ = self.decoder(rows.flip(0)[:-1], state)
        backwards = self.out(torch.cat([state[0], earlier]))
        return backwards.flip(0).permute(1, 2, 0)

    def last(self, x: Tensor) -> Tensor:
        """Rebuild the last rows of windows ``(b, c, w)``, for which no decoder runs: ``(b, c)``."""
        _, (hidden, _) = self.encoder(x.permute(2, 0, 1))
        return self.out(hidden[0])


def _lstm(channels: int, hidden: int, generator: torch.Generator | None) -> nn.LSTM:
    """Torch's layer, drawn by its own rule; one thread runs it twice as fast as steps in Python."""
    layer = nn.LSTM(channels, hidden, device="meta").to_empty(device="cpu")  # draws nothing
    for weights in layer.parameters():
        draw(weights, hidden, generator)
    return layer


@register("LSTM-AE", window=30, epochs=30)
class LSTMAE(Neural):
    """EncDec-AD: a window is rebuilt backwards, from what an encoder remembers of it.

    Source: Malhotra et al., "LSTM-based Encoder-Decoder for Multi-sensor Anomaly Detection" (2016).
    Score of a row: the mean over channels of its squared error as the last row of its window, in
    z-scores. The paper (section 2.2) takes the Mahalanobis distance of the absolute errors, with
    mean and covariance from held-out rows; that is left out, since channels that hardly vary there
    leave the covariance nearly without an inverse. Training feeds the decoder the true rows
    (section 2.1); in use the paper feeds it its own output: the same for the last row.

    ``hidden`` units; in training a window every ``stride`` rows. ``patience`` counts epochs without
    a lower loss on the held-out rows or, where nothing is held out, in training. Under this name
    window (30), units, stride, epochs (30) and patience are the study's; it names neither batch nor
    learning rate: these are LightMMoE's. Other settings: `Neural`'s.
    """

    name = "LSTM-AE"
    horizon = 0

    def __init__(self, *, hidden: int = 64, stride: int = 5, **others: object) -> None:
        super().__init__(**others)
        self.hidden, self.stride = hidden, stride
        kinds.whole(2, window=self.window)  # the decoder needs a row to give
        kinds.whole(hidden=hidden, stride=stride)
        self.watch = "held out" if self.held_out else "training"

    def _build(self, channels: int, generator: torch.Generator | None = None) -> EncoderDecoder:
        return EncoderDecoder(channels, self.hidden, generator)

    def _learner(
        self, network: EncoderDecoder, inputs: Tensor, generator: torch.Generator
    ) -> training.Learner:
        def loss(windows: Tensor, target: Tensor) -> Tensor:
            return mse_loss(network(windows), windows)

        return training.Descent(network, loss, training.adam(network, self.learning_rate))

    @torch.inference_mode()
    def _late_channel_scores(self, rows: Floats) -> Floats:
        parts = self._windows(rows).split(training.BATCH)
        errors = [(self.network.last(part) - part[:, :, -1]).square() for part in parts]
        return torch.cat(errors).cpu().double().numpy()
