"""Model of the Python interface: reads model files."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from stream_lstm.core.model import file as model_file
from stream_lstm.errors import ModelError


class Model:
    """A trained model.

    Attributes:
        id: name and digest of its file; two models with the same id predict the same.
        features: names of an event's numbers.
        targets: names of the predicted numbers.
        labels: of a model that tells the probability of labels.
        horizon: numbers of events ahead that are predicted.
        lstm: specification and weights, as the engine takes them.
    """

    def __init__(self, content: bytes, *, source: str = "model") -> None:
        self.lstm = model_file.from_bytes(content, source=source)
        spec = self.lstm.spec
        self.id = self.lstm.id
        self.features, self.targets = tuple(spec.features), tuple(spec.targets)
        self.labels, self.horizon = tuple(spec.labels), tuple(spec.horizon)

    @classmethod
    def default(cls) -> Model:
        """The model that is shipped: one number an event, trained for sensors of any kind."""
        content = resources.files("stream_lstm.models").joinpath("default.safetensors").read_bytes()
        return cls(content, source="the default model")

    @classmethod
    def load(cls, path: str | Path) -> Model:
        """Read a model file, as `stream-lstm convert` and `train` write it.

        Raises:
            ModelError: the file cannot be read, or is not a model of ours.
        """
        try:
            return cls(Path(path).read_bytes(), source=str(path))
        except OSError as error:
            raise ModelError(str(path), f"cannot be read: {error.strerror}") from None

    def __repr__(self) -> str:
        spec = self.lstm.spec
        out = ", ".join(self.labels or self.targets)
        return f"<Model {self.id}: {', '.join(self.features)} -> {out}, {spec.layers} x {spec.units} units>"
