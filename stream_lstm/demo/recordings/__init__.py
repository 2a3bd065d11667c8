"""Recordings of the Numenta Anomaly Benchmark (MIT licence, LICENSE.txt), a `timestamp,value` per line."""
