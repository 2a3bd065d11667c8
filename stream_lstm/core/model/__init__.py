"""The model: LSTM cell, inputs, readout, specification and file format."""
