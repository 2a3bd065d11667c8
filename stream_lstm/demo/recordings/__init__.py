"""Recordings of the Numenta Anomaly Benchmark (MIT licence, LICENSE.txt): `timestamp,value` a line."""
