"""State on disk: a journal of what came in, a checkpoint of what is remembered. Knows bytes, not LSTMs."""
