"""LSTM predictions for sensor streams, one memory per stream: an MQTT service, and a Python interface.

`stream_lstm.Forecaster` is the Python interface (`docs/python.md`). To read the source, start at
`stream_lstm.core.model.cell` (the four gates), then `stream_lstm.core.engine.push`, what an event does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.2.0"

if TYPE_CHECKING:
    from stream_lstm.forecast.forecaster import Forecaster
    from stream_lstm.forecast.model import Model
    from stream_lstm.forecast.prediction import Gates, Prediction

__all__ = ["Forecaster", "Gates", "Model", "Prediction", "__version__"]


def __getattr__(name: str) -> object:
    """Import the Python interface when it is first used: the command line needs nothing of it."""
    if name in __all__:
        from stream_lstm.forecast import forecaster

        return getattr(forecaster, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Also what is not imported yet, so that notebooks complete it."""
    return sorted({*globals(), *__all__})
