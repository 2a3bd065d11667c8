"""Prometheus metrics: counters that the pipeline changes, and their export at a scrape."""
