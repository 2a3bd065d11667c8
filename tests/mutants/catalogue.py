"""The mutants: what is changed in the sources, and which test must notice.

A change replaces a text that stands exactly once in its file; `python -m tests.mutants` fails if it does not.
"""

from __future__ import annotations

from tests.mutants.mutant import SIM, WHOLE, Change, Mutant

FILES = "store/files.py"
DATABASE = "store/database.py"
JOURNAL = "store/journal.py"
ENTRY = "store/entry.py"
WRITER = "service/state/writer.py"
RECOVERY = "service/state/recovery.py"
RESIDENCY = "service/state/residency.py"
INGEST = "service/pipeline/ingest.py"
PIPELINE = "service/pipeline/pipeline.py"
RUNTIME = "service/runtime.py"
OUTBOUND = "service/mqtt/outbound.py"
INBOUND = "service/mqtt/inbound.py"
INFLIGHT = "service/mqtt/inflight.py"

SYNCHRONOUS = "{'FULL' if fsync else 'NORMAL'}"
ENTRIES = """    for entry in database.entries(first - 1):
        if (features"""
FINISH = """        if batch.committed is not None:
            await batch.committed
        await self._broker.deliver(batch.number, batch.publications, batch.arrivals, fresh=batch.fresh)
"""
SETTLED = """        connection.ping()
        last = connection.pings_sent
        while connection.pings_answered < last:
            if self.connection is not connection:
                return False
            await self._progress.wait()
        self.acked_through"""
ACKED = "            acked_through=self._broker.acked_through,\n        )"

MUTANTS = (
    # The disk.
    Mutant("synchronous OFF", "no commit is synced", SIM, (Change(FILES, SYNCHRONOUS, "OFF"),)),
    Mutant("synchronous NORMAL", "only checkpoints are synced", SIM, (Change(FILES, SYNCHRONOUS, "NORMAL"),)),
    Mutant(
        "checksum not compared",
        "a damaged journal entry is replayed",
        "tests/store/test_entry.py",
        (Change(ENTRY, "short or _CHECKSUM.unpack_from(blob)[0] != xxhash", "short and 0 != xxhash"),),
    ),
    Mutant(
        "damaged log accepted",
        "commits behind damage in the write-ahead log are dropped without an error",
        "tests/store/test_wal.py",
        (Change(DATABASE, "            wal.verify_wal(path, synced=fsync)\n", "            pass\n"),),
    ),
    Mutant(
        "gap in the journal accepted",
        "a missing entry is skipped",
        "tests/store/test_journal.py",
        (Change(JOURNAL, "if expected is not None and row.number != expected:", "if False:"),),
    ),
    # The order of commit, publication and acknowledgement.
    Mutant(
        "publish ahead of commit",
        "predictions leave before their events are on disk",
        SIM,
        (
            Change(
                PIPELINE,
                FINISH,
                """        await self._broker.deliver(batch.number, batch.publications, [], fresh=False)
        if batch.committed is not None:
            await batch.committed
        await self._broker.deliver(batch.number, [], batch.arrivals, fresh=batch.fresh)
""",
            ),
        ),
    ),
    Mutant(
        "acknowledge ahead of commit",
        "the broker forgets messages that are not on disk",
        SIM,
        (
            Change(
                PIPELINE,
                FINISH,
                """        await self._broker.deliver(batch.number - 1, [], batch.arrivals, fresh=False)
        if batch.committed is not None:
            await batch.committed
        await self._broker.deliver(batch.number, batch.publications, [], fresh=batch.fresh)
""",
            ),
        ),
    ),
    Mutant(
        "duplicates not acknowledged",
        "the broker keeps messages that were recognised as duplicates",
        SIM,
        (
            Change(
                PIPELINE,
                "return PendingBatch(stages.state_writer.number, None, [], 0, arrivals, fresh=False)",
                "return PendingBatch(stages.state_writer.number, None, [], 0, [], fresh=False)",
            ),
        ),
    ),
    # Deduplication.
    Mutant(
        "dedup off",
        "redelivered messages count as new",
        SIM,
        (Change(INGEST, "self._dedup.is_open and self._dedup.is_duplicate(*digests)", "False"),),
    ),
    Mutant(
        "window not opened",
        "messages that a new connection brings again count as new",
        SIM,
        (
            Change(
                INGEST, "            self._dedup.open(acked_through)\n", "            self._dedup.close()\n"
            ),
        ),
    ),
    Mutant(
        "window not remembered",
        "only messages from before the start can be duplicates",
        SIM,
        (Change(INGEST, "self._dedup.remember(zip(", "list(zip("),),
    ),
    Mutant(
        "window restored empty",
        "messages from before the start count as new",
        SIM,
        (Change(RECOVERY, "dedup=DedupWindow(map(tuple, messages.tolist())),", "dedup=DedupWindow(),"),),
    ),
    Mutant(
        "window trimmed away",
        "trimming keeps no digests of the last messages",
        SIM,
        (Change(JOURNAL, "floor = self.last_entry if first is None else first", "floor = self.last_entry"),),
    ),
    Mutant(
        "settled always 0",
        "no entry says what the broker has as acknowledged: equal readings are taken for duplicates",
        SIM,
        (
            Change(PIPELINE, ACKED, "            acked_through=0,\n        )"),
            Change(
                JOURNAL, "self.acked_through = max(self.acked_through, min(progress.", "0 and (min(progress."
            ),
        ),
    ),
    Mutant(
        "settled ahead",
        "an entry says that its own messages are acknowledged",
        SIM,
        (Change(PIPELINE, ACKED, "            acked_through=number,\n        )"),),
    ),
    Mutant(
        "settled by duplicates",
        "acknowledged duplicates prove that everything was sent again",
        SIM,
        (Change(PIPELINE, "[], 0, arrivals, fresh=False)", "[], 0, arrivals, fresh=True)"),),
    ),
    Mutant(
        "window not settled",
        "an equal reading on a quiet topic is a duplicate for as long as the connection lasts",
        SIM,
        (Change(INGEST, "        self._dedup.settle(acked_through)\n", ""),),
    ),
    # Records, checkpoints and the journal.
    Mutant(
        "record written before confirmation",
        "predictions that are not confirmed cannot be made again",
        SIM,
        (Change(WRITER, "                await confirm(int(applied.max(initial=0)))\n", ""),),
    ),
    Mutant(
        "journal cut before confirmation",
        "publications without a record, of rejected messages, cannot be made again",
        SIM,
        (Change(WRITER, "        await confirm(horizon)\n", ""),),
    ),
    Mutant(
        "horizon taken late",
        "entries that came while records were written are not replayed",
        SIM,
        (
            Change(
                WRITER,
                "        while await self._run(self._trim, horizon):",
                "        horizon = self.number\n        while await self._run(self._trim, horizon):",
            ),
        ),
    ),
    Mutant(
        "replay from horizon + 1",
        "the first entry after the checkpoint is not replayed",
        SIM,
        (Change(RECOVERY, ENTRIES, ENTRIES.replace("first - 1", "first")),),
    ),
    Mutant(
        "entry applied twice",
        "replay applies the entry that a record reflects already: seq is one too high",
        SIM,
        (
            Change(
                RECOVERY,
                "(self.registry.applied[rows] < entry.number)",
                "(self.registry.applied[rows] <= entry.number)",
            ),
        ),
    ),
    Mutant(
        "not published again",
        "predictions from before the start that may not have left are not published again",
        SIM,
        (Change(RECOVERY, "        if entry.number > database.published_through:\n", "        if False:\n"),),
    ),
    Mutant(
        "published ahead",
        "an entry says that its own predictions are confirmed",
        SIM,
        (Change(PIPELINE, "published_through=self._broker.confirmed,", "published_through=number,"),),
    ),
    # Residency.
    Mutant(
        "eviction without a record",
        "a stream leaves memory before its record is written",
        SIM,
        (
            Change(
                WRITER,
                "                await self._write(rows, confirm)\n                break\n",
                "                break\n",
            ),
            Change(
                WRITER, "leaving = rows[self._registry.is_written(rows)].tolist()", "leaving = rows.tolist()"
            ),
        ),
    ),
    Mutant(
        "forgotten before its record is written",
        "a stream is forgotten while its last predictions are not confirmed",
        SIM,
        (Change(RESIDENCY, " or not self._registry.is_written(row):", ":"),),
    ),
    Mutant(
        "number given twice",
        "the number of a forgotten stream is given to another after a restart",
        SIM,
        (
            Change(
                DATABASE,
                '            meta.write(self._connection, ("next_stream", self.next_stream_id))\n',
                "",
            ),
        ),
    ),
    Mutant(
        "unknown after a full disk",
        "streams that a full disk did not forget count as unknown",
        SIM,
        (Change(RESIDENCY, "                    self.on_disk += len(gone)  # they stay there\n", ""),),
    ),
    # The connection.
    Mutant(
        "clean always",
        "every stop says that the broker will send nothing again",
        WHOLE,
        (Change(RUNTIME, "close(cleanly=self._cleanly)", "close(cleanly=True)"),),
    ),
    Mutant(
        "clean without the ping",
        "a stop is clean although the broker may not have the last acknowledgements",
        WHOLE,
        (Change(OUTBOUND, SETTLED, "        self.acked_through"),),
    ),
    Mutant(
        "clean without duplicates",
        "a stop does not wait until the acknowledgements of duplicates have arrived",
        WHOLE,
        (
            Change(
                OUTBOUND,
                "        connection.ping()\n        last = connection.pings_sent\n",
                "        if self.acked_through >= self.last_fresh:\n            return True\n"
                "        connection.ping()\n        last = connection.pings_sent\n",
            ),
        ),
    ),
    Mutant(
        "clean without asking what is owed",
        "a stop is clean although an earlier run's messages may come again",
        WHOLE,
        (
            Change(
                OUTBOUND, "        return self.acked_through >= self.last_fresh\n", "        return True\n"
            ),
        ),
    ),
    Mutant(
        "confirmed on write",
        "predictions count as delivered when they are written, without a PINGRESP",
        WHOLE,
        (
            Change(
                OUTBOUND,
                "        connection.send(piece + self._inbound.acknowledge(arrivals))\n",
                "        connection.send(piece + self._inbound.acknowledge(arrivals))\n"
                "        self.window.confirm(number)\n",
            ),
        ),
    ),
    Mutant(
        "acknowledged on write",
        "messages count as acknowledged when that is written, without a PINGRESP",
        WHOLE,
        (
            Change(
                OUTBOUND,
                "            self._acknowledged = number\n",
                "            self._acknowledged = self.acked_through = number\n",
            ),
        ),
    ),
    Mutant(
        "not written again",
        "unconfirmed publications are not written again after a reconnect",
        WHOLE,
        (Change(INFLIGHT, "        self._unsent = len(self._deliveries)\n", "        self._unsent = 0\n"),),
    ),
    Mutant(
        "not written again at QoS 1",
        "unacknowledged publications are not written again after a reconnect",
        WHOLE,
        (
            Change(
                INFLIGHT,
                "        self._waiting.extendleft(reversed(self._in_flight.values()))\n",
                "        for lost in self._in_flight.values():\n            lost.delivery.unconfirmed -= 1\n",
            ),
        ),
    ),
    Mutant(
        "old packet ids acknowledged",
        "messages of an earlier connection are acknowledged by their old packet ids",
        WHOLE,
        (Change(INBOUND, "            if arrival.connection == self.number:\n", "            if True:\n"),),
    ),
    Mutant(
        "settled across connections",
        "a batch that began on an earlier connection proves that everything was sent again",
        WHOLE,
        (
            Change(
                OUTBOUND, "        if fresh and self._inbound.all_present(arrivals):\n", "        if fresh:\n"
            ),
        ),
    ),
    Mutant(
        "eviction stops reading",
        "an eviction waits for a confirmation behind messages that only its batch would take",
        WHOLE,
        (
            Change(
                OUTBOUND,
                "        with self._inbound.keep_reading(after_seconds=ANSWER_WAIT_SECONDS):\n"
                "            while self.window.confirmed < number:\n",
                "        if True:\n            while self.window.confirmed < number:\n",
            ),
        ),
    ),
    Mutant(
        "ack lost at a reconnect is forgotten",
        "messages dropped because the inbox was full are acknowledged with those behind them",
        WHOLE,
        (
            Change(
                INBOUND,
                "        self._dropping = self._dropping or lost < len(messages)\n",
                "        self._dropping = False\n",
            ),
        ),
    ),
)
