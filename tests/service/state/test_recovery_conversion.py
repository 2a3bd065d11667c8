"""Recovery of a state file of version 0.1: its streams go on where they were.

`numpy_engine.db.gz` was written by that release, killed after 440 entries, with a checkpoint after 400;
`numpy_engine_after.npz` has its predictions for the 20 events of each stream that followed.
"""

from __future__ import annotations

import gzip
from contextlib import closing
from pathlib import Path

import numpy as np

from stream_lstm.core.codec.encoder import Encoder
from stream_lstm.events import Batch
from stream_lstm.service.assembly import former_layouts, identity, load_model
from stream_lstm.service.publications import PublicationBuilder
from stream_lstm.service.settings import PublishSettings
from stream_lstm.service.state.recovery import recover
from stream_lstm.store.database import Database

DATA = Path(__file__).resolve().parents[2] / "store" / "data"
STREAMS = 4


def test_a_killed_service_goes_on_with_the_new_engine(tmp_path: Path) -> None:
    path, model = tmp_path / "s.db", load_model(None)
    path.write_bytes(gzip.decompress((DATA / "numpy_engine.db.gz").read_bytes()))
    builder = PublicationBuilder(PublishSettings(), Encoder(model.id, model.spec), status_topic="status")
    with closing(Database.open(path, identity(model), former=former_layouts(model))) as database:
        assert database.converted == STREAMS
        recovered = recover(database, model, builder, streams_max=10, now=1.7e9)
        database.validate()
    recovered.memories.validate()
    assert (recovered.number, recovered.replayed, len(recovered.resend)) == (440, 160, 10)
    with np.load(DATA / "numpy_engine_after.npz") as known:
        times, values = known["times"].ravel(), known["values"].reshape(-1, 1)
        rows = np.tile(recovered.memories.rows([f"machine/{n}:temperature" for n in range(STREAMS)]), 20)
        found = recovered.engine.apply(Batch.timed(rows.astype(np.intp), times, values))
        for name in ("seq", "alert", "kind", "missed"):
            assert np.array_equal(getattr(found, name).ravel(), known[name]), name
        for name in ("forecast", "half_width", "anomaly"):
            column = getattr(found, name)
            first = column[:, 0, 0] if column.ndim == 3 else column
            np.testing.assert_allclose(first, known[name], rtol=1e-3, atol=1e-3)
